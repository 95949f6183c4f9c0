"""What becomes of each property of Debezium's PostgreSQL connector: one rule a property. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cdc.debezium.values import BadValue, boolean, expressions, listed, pattern, whole, word


@dataclass(slots=True)
class Draft:
    """What rules fill: sections of our document.

    Args:
        connector, database, topics: sections; `topics` is its `defaults`.
        table: options of the one entry under `tables:`.
    """

    connector: dict[str, Any] = field(default_factory=dict)
    database: dict[str, Any] = field(default_factory=dict)
    topics: dict[str, Any] = field(default_factory=dict)
    table: dict[str, Any] = field(default_factory=dict)

    def columns(self, option: str) -> dict[str, Any]:
        """The mapping of an option of columns."""
        found: dict[str, Any] = self.table.setdefault(option, {})
        return found


Take = Callable[..., None]
"""Fills a draft with a property's value; what its name holds comes behind. Raises BadValue."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of one property.

    Args:
        name: of the property, or an expression where it holds parameters.
        note: our setting, or why there is none.
        take: takes the value over; None: it is not.
        lacking: whether something is lost without it; else it is needless here.
        default: Debezium's; with it nothing is lost.
    """

    name: str
    note: str
    take: Take | None = None
    lacking: bool = False
    default: str | None = None


def rule_of(name: str) -> tuple[Rule | None, tuple[str, ...]]:
    """The rule of a property, and what its name holds."""
    if name in RULES:
        return RULES[name], ()
    for rule in NAMED:
        if found := re.fullmatch(rule.name, name):
            return rule, found.groups()
    return None, ()


def _words(setting: str, words: dict[str, Any]) -> Take:
    def take(draft: Draft, value: str) -> None:
        draft.connector[setting] = words[word(value, words)]

    return take


def _same(setting: str, *words: str) -> Take:
    return _words(setting, {one: one for one in words})


def _flag(setting: str) -> Take:
    def take(draft: Draft, value: str) -> None:
        draft.connector[setting] = boolean(value)

    return take


def _text(setting: str) -> Take:
    def take(draft: Draft, value: str) -> None:
        draft.connector[setting] = value.strip()

    return take


def _plugin(draft: Draft, value: str) -> None:
    if value.strip().lower() != "pgoutput":
        raise BadValue("only pgoutput is read here; the slot is made anew with it")


def _skipped(draft: Draft, value: str) -> None:
    operations = listed(value.lower())
    if operations == ["none"]:
        operations = []
    if any(operation not in ("c", "u", "d", "t") for operation in operations):
        raise BadValue("must be none, or of c, u, d, t")
    draft.connector["skipped_operations"] = operations
    draft.connector["truncates"] = "skip" if "t" in operations else "fan_out"


def _heartbeat_interval(draft: Draft, value: str) -> None:
    if milliseconds := whole(value):
        draft.connector.setdefault("heartbeat", {})["interval"] = f"{milliseconds}ms"


def _heartbeat_prefix(draft: Draft, value: str) -> None:
    draft.connector.setdefault("heartbeat", {})["topic_prefix"] = value.strip()


def _messages(key: str) -> Take:
    def take(draft: Draft, value: str) -> None:
        draft.connector["messages"] = {key: [pattern(one) for one in expressions(value)]}

    return take


def _unknown_types(draft: Draft, value: str) -> None:
    draft.connector["unknown_types"] = "bytes" if boolean(value) else "skip"


def _schemas(draft: Draft, value: str) -> None:
    draft.connector["format"] = "debezium-json-schemas" if boolean(value) else "debezium-json"


def _columns(key: str) -> Take:
    def take(draft: Draft, value: str) -> None:
        draft.columns("columns")[key] = [pattern(one) for one in expressions(value)]

    return take


def _propagate(draft: Draft, value: str) -> None:
    draft.connector["propagate_source_type"] = [pattern(one) for one in expressions(value)]


def _mask(draft: Draft, value: str, length: str) -> None:
    for one in expressions(value):
        draft.columns("mask")[pattern(one)] = {"constant": "*" * int(length)}


def _truncate(draft: Draft, value: str, length: str) -> None:
    for one in expressions(value):
        draft.columns("truncate")[pattern(one)] = int(length)


def _hash(draft: Draft, value: str, version: str | None, algorithm: str, salt: str) -> None:
    for one in expressions(value):
        draft.columns("mask")[pattern(one)] = {"hash": algorithm, "salt": salt, "version": 2 if version else 1}


def _message_key(draft: Draft, value: str) -> None:
    keys: list[str] = []
    for entry in filter(None, map(str.strip, value.split(";"))):
        table, colon, columns = entry.partition(":")
        if not colon or not columns.strip():
            raise BadValue("must be table:column,column, several separated by semicolons")
        keys += [pattern(f"{table}.{column}") for column in listed(columns)]
    draft.table["message_key"] = keys


_PLACED = "stands in the database's URL"

RULES = {
    rule.name: rule
    for rule in (
        Rule("topic.prefix", "`name`", lambda draft, value: None),
        Rule("database.hostname", _PLACED, lambda draft, value: None),
        Rule("database.port", _PLACED, lambda draft, value: None),
        Rule("database.user", _PLACED, lambda draft, value: None),
        Rule("database.dbname", _PLACED, lambda draft, value: None),
        Rule("plugin.name", "pgoutput only", _plugin),
        Rule("slot.name", "`slot`", _text("slot")),
        Rule("publication.name", "`publication`", _text("publication")),
        Rule(
            "snapshot.mode",
            "`snapshot`",
            _words("snapshot", {"initial": "initial", "no_data": "never", "initial_only": "only"}),
        ),
        Rule("decimal.handling.mode", "`decimal`", _same("decimal", "precise", "double", "string"), default="precise"),
        Rule(
            "time.precision.mode",
            "`time_precision`",
            _same(
                "time_precision",
                "adaptive",
                "adaptive_time_microseconds",
                "connect",
                "isostring",
                "microseconds",
                "nanoseconds",
            ),
        ),
        Rule("binary.handling.mode", "`binary`", _same("binary", "bytes", "base64", "base64-url-safe", "hex")),
        Rule("interval.handling.mode", "`interval`", _same("interval", "numeric", "string")),
        Rule("hstore.handling.mode", "`hstore`", _same("hstore", "json", "map")),
        Rule(
            "money.fraction.digits",
            "`money_fraction_digits`",
            lambda draft, value: draft.connector.update(money_fraction_digits=whole(value)),
        ),
        Rule("include.unknown.datatypes", "`unknown_types`", _unknown_types),
        Rule("extended.headers.enabled", "`context_headers`", _flag("context_headers")),
        Rule("tombstones.on.delete", "`tombstones`", _flag("tombstones")),
        Rule("skipped.operations", "`skipped_operations`, `truncates`", _skipped),
        Rule("schema.name.adjustment.mode", "`schema_names`", _same("schema_names", "none", "avro", "avro_unicode")),
        Rule("field.name.adjustment.mode", "`field_names`", _same("field_names", "none", "avro", "avro_unicode")),
        Rule("include.schema.comments", "`schema_comments`", _flag("schema_comments")),
        Rule("column.propagate.source.type", "`propagate_source_type`", _propagate),
        Rule("provide.transaction.metadata", "`transaction_metadata`", _flag("transaction_metadata")),
        Rule("heartbeat.interval.ms", "`heartbeat.interval`", _heartbeat_interval),
        Rule("topic.heartbeat.prefix", "`heartbeat.topic_prefix`", _heartbeat_prefix),
        Rule("message.prefix.include.list", "`messages.include`", _messages("include")),
        Rule("message.prefix.exclude.list", "`messages.exclude`", _messages("exclude")),
        Rule("column.include.list", "`columns.include`", _columns("include")),
        Rule("column.exclude.list", "`columns.exclude`", _columns("exclude")),
        Rule("message.key.columns", "`message_key`", _message_key),
        Rule("schema.include.list", "`tables`", lambda draft, value: None),
        Rule("schema.exclude.list", "`tables`", lambda draft, value: None),
        Rule("table.include.list", "`tables`", lambda draft, value: None),
        Rule("table.exclude.list", "`tables`", lambda draft, value: None),
        Rule(
            "publication.autocreate.mode",
            "`publication_tables`",
            _words("publication_tables", {"all_tables": "all", "filtered": "captured"}),
        ),
        Rule("publish.via.partition.root", "`publish_via_root`", _flag("publish_via_root")),
        Rule("unavailable.value.placeholder", "`unchanged_placeholder`", _text("unchanged_placeholder")),
        Rule("value.converter.schemas.enable", "`format`", _schemas),
        Rule("key.converter.schemas.enable", "`format`", _schemas),
    )
}
"""Properties with a fixed name."""

NAMED = (
    Rule(r"column\.mask\.with\.(\d+)\.chars", "`mask`", _mask),
    Rule(r"column\.truncate\.to\.(\d+)\.chars", "`truncate`", _truncate),
    Rule(r"column\.mask\.hash\.(v2\.)?([^.]+)\.with\.salt\.(.+)", "`mask`", _hash),
)
"""Those whose name holds parameters."""
