"""Which tables are captured, and whose rows snapshots read: properties together → entries of `tables:`. Pure."""

from __future__ import annotations

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
        BadValue: as `captured`.
    """
    tables = captured(config)
    shared = dict(options)
    found = {pattern(table): shared for table in tables} or {ALL: shared}
    for table, statement in _read_instead(config, remarks):
        found[table] = {**deepcopy(dict(options)), "snapshot_select": statement}
    return found


def _read_instead(config: Mapping[str, str], remarks: list[str]) -> Iterator[tuple[str, str]]:
    """Tables instead of which snapshots read a statement's rows, and that."""
    for table in listed(config.get(_OVERRIDES, "")):
        statement = config.get(f"{_OVERRIDES}.{table}")
        if statement is None:
            remarks.append(f"{_OVERRIDES} names {table}, and no statement stands for it")
            continue
        yield table, statement.strip().removesuffix(";")


def _given(config: Mapping[str, str], name: str) -> str:
    return config.get(name, "").strip()


def _joined(config: Mapping[str, str], name: str) -> str:
    return "|".join(expressions(config[name])) if _given(config, name) else ""


def _behind(ahead: str, expression: str) -> str:
    return f"{ahead}(?:{expression})" if ahead and "|" in expression else f"{ahead}{expression}"
