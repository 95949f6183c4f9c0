"""Which tables are captured, and whose rows snapshots read: properties together → entries of `tables:`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from cdc.debezium.values import BadValue, expressions, listed, pattern

_OVERRIDES = "snapshot.select.statement.overrides"

ALL = "*.*"


def captured(config: Mapping[str, str]) -> list[str]:
    """Expressions of captured tables, in the order in which a snapshot reads them; none for all tables.

    A list that includes wins over one that excludes (`Selectors.TableSelectionPredicateBuilder`), and both together
    are refused (`RelationalDatabaseConnectorConfig.validateTableExcludeList`).

    Raises:
        BadValue: a list is wrong, or there is one too many.
    """
    for kind in ("schema", "table", "column"):
        if _given(config, f"{kind}.include.list") and _given(config, f"{kind}.exclude.list"):
            raise BadValue(f"{kind}.include.list and {kind}.exclude.list exclude each other")
    ahead = ""
    if included := _joined(config, "schema.include.list"):
        ahead = rf"(?=(?:{included})\.)"
    elif excluded := _joined(config, "schema.exclude.list"):
        ahead = rf"(?!(?:{excluded})\.)"
    if excluded := _joined(config, "table.exclude.list"):
        ahead += rf"(?!(?:{excluded})\Z)"
    if _given(config, "table.include.list"):
        tables = expressions(config["table.include.list"])
        return [_behind(ahead, one) for one in tables]
    return [f"{ahead}.*"] if ahead else []


def entries(config: Mapping[str, str], options: Mapping[str, Any], remarks: list[str]) -> dict[str, dict[str, Any]]:
    """The entries of `tables:`, each with its options; equal ones are one object, which the YAML holds once.

    Args:
        config: the connector's properties.
        options: of every table.
        remarks: gets what is not as it was.

    Raises:
        BadValue: as `captured`; or a statement of a snapshot is more than rows to choose.
    """
    tables = captured(config)
    read = _joined(config, "snapshot.include.collection.list")
    shared, unread = dict(options), {**deepcopy(dict(options)), "snapshot_where": "false"}
    found: dict[str, dict[str, Any]] = {}
    for table in tables or [ALL]:
        if not read:
            found[pattern(table) if tables else ALL] = shared
            continue
        expression = table if tables else ".*"
        found[pattern(_behind(rf"(?=(?:{read})\Z)", expression))] = shared
        found[pattern(_behind(rf"(?!(?:{read})\Z)", expression))] = unread
    for table, predicate in _chosen(config, remarks):
        found[table] = {**deepcopy(dict(options)), "snapshot_where": predicate}
    return found


def _chosen(config: Mapping[str, str], remarks: list[str]) -> Iterator[tuple[str, str]]:
    """Tables of which snapshots read chosen rows, and which."""
    for table in listed(config.get(_OVERRIDES, "")):
        statement = config.get(f"{_OVERRIDES}.{table}")
        if statement is None:
            remarks.append(f"{_OVERRIDES} names {table}, and no statement stands for it")
            continue
        name = re.escape(table).replace(r"\.", r'"?\."?')
        found = re.fullmatch(
            rf'\s*select\s+\*\s+from\s+"?{name}"?\s+where\s+(.+?)(\s+order\s+by\s+[^()]+)?\s*;?\s*',
            statement,
            re.IGNORECASE | re.DOTALL,
        )
        if not found:
            raise BadValue(f"only SELECT * FROM {table} WHERE … has a counterpart: `snapshot_where`")
        if found[2]:
            remarks.append(f"{_OVERRIDES}.{table}: rows are read as they lie in the table; its ORDER BY is not kept")
        yield table, found[1]


def _given(config: Mapping[str, str], name: str) -> str:
    return config.get(name, "").strip()


def _joined(config: Mapping[str, str], name: str) -> str:
    return "|".join(expressions(config[name])) if _given(config, name) else ""


def _behind(ahead: str, expression: str) -> str:
    return f"{ahead}(?:{expression})" if ahead and "|" in expression else f"{ahead}{expression}"
