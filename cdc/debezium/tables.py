"""Which tables are captured, and whose rows snapshots read: properties together → entries of `tables:`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from cdc.debezium.java import OfTables, samples
from cdc.debezium.smts import Choice
from cdc.debezium.values import BadValue, expressions, listed, pattern
from cdc.patterns import matches

_OVERRIDES = "snapshot.select.statement.overrides"

ALL = "*.*"

_NAME = r"\w+\\?\.\w+"
"""An expression of one table."""

_ANY = ".*"
"""The same as an expression, which others can be put before."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the tables.

    Args:
        expression: that means them.
        options: of theirs.
        chosen: whether a choice is for them.
    """

    expression: str
    options: dict[str, Any]
    chosen: bool = False


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


def entries(
    config: Mapping[str, str], options: Mapping[str, Any], choices: Sequence[Choice], remarks: list[str]
) -> dict[str, dict[str, Any]]:
    """The entries of `tables:`, each with its options; equal ones are one object, which the YAML holds once.

    Args:
        config: the connector's properties.
        options: of every table.
        choices: options of some, in the order in which they are given.
        remarks: gets what is not as it was.

    Raises:
        BadValue: as `captured`.
    """
    tables = captured(config)
    if not tables and any(choice.tables for choice in choices):
        tables = [_ANY]
    parts = [Part(table, dict(options)) for table in tables or [ALL]]
    for number, choice in enumerate(choices):
        parts = _parted(parts, choice, f"g{number or ''}_", remarks)
    made: list[dict[str, Any]] = []
    found: dict[str, dict[str, Any]] = {}
    for part in parts:
        if part.options not in made:
            made.append(part.options)
        entry = ALL if part.expression == ALL else pattern(part.expression)
        found[entry] = made[made.index(part.options)]
    for table, statement in _read_instead(config, remarks):
        given = dict(options)
        for choice in choices:
            given = _one(given, choice, table)
        found[table] = {**deepcopy(given), "snapshot_select": statement}
    return found


def _parted(parts: list[Part], choice: Choice, groups: str, remarks: list[str]) -> list[Part]:
    """The parts, and those of them that a choice is for, which win over them as they say more.

    An entry has to mean a table: a part of which no name can be thought of is left out, if there are others.

    Args:
        groups: begins the names of groups.
        remarks: gets what is left out.
    """
    found: list[Part] = []
    chosen: list[Part] = []
    for part in parts:
        if choice.tables is None or re.fullmatch(_NAME, part.expression):
            found.append(replace(part, options=_one(part.options, choice, part.expression.replace("\\", ""))))
            continue
        found.append(part)
        more = dict(choice.options)
        if choice.topic:
            more["topic"] = choice.tables.topic(choice.topic, groups)
        if choice.negated:
            expression = _behind(rf"(?!(?-i:{choice.tables.expression.text})\Z)", part.expression)
        else:
            named = f"(?-i:{choice.tables.named(groups, choice.topic)})"
            expression = named if part.expression == _ANY else _behind(rf"(?={named}\Z)", part.expression)
        if part.chosen and _is_hidden(part.expression, expression, choice.tables):
            found.remove(part)
        chosen.append(Part(expression, _with(part.options, more), part.chosen))
    thinkable = [one for one in chosen if _is_thinkable(one.expression)] or chosen[:1]
    remarks += [
        f"{pattern(one.expression)} seems to mean no table: write it down with the options of the others, if it does"
        for one in chosen
        if one not in thinkable and not one.chosen
    ]
    return found + [replace(one, chosen=True) for one in thinkable]


def _is_thinkable(expression: str) -> bool:
    return any(matches(pattern(expression), name) for name in samples(expression))


def _is_hidden(expression: str, behind: str, chosen: OfTables) -> bool:
    """Whether an entry that says more means each table of which a name can be thought of for this one."""
    words = re.findall(r"\w+", chosen.expression.text)
    names = [name for name in samples(expression, words) if matches(pattern(expression), name)]
    return all(matches(pattern(behind), name) for name in names)


def _one(options: dict[str, Any], choice: Choice, table: str) -> dict[str, Any]:
    """Options of one table, if a choice is for it."""
    held = () if choice.tables is None else choice.tables.expression.groups(table)
    if (held is None) is not choice.negated:
        return options
    topic = {"topic": choice.tables.topic(choice.topic, held or ())} if choice.tables and choice.topic else {}
    return _with(options, {**choice.options, **topic})


def _with(options: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Options with more of them: an outbox has no topic and no steps, and flattened rows have no steps."""
    found = {**options, **more}
    if "outbox" in found:
        without = {"topic", "transforms", "truncates", "format"}
        return {name: value for name, value in found.items() if name not in without}
    if found.get("format") == "json":
        found.pop("transforms", None)
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
