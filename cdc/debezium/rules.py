"""What becomes of each property of Debezium's PostgreSQL connector: those that are taken over. Pure.

Names and values are those of 3.6: `PostgresConnectorConfig`, `RelationalDatabaseConnectorConfig`,
`CommonConnectorConfig`, `AbstractTopicNamingStrategy`, and Kafka Connect's own. `absent` has the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cdc.debezium.draft import Draft, Variable
from cdc.debezium.values import BadValue, boolean, expression, expressions, listed, pattern, whole, word
from cdc.formats.masks import ALGORITHMS

POSTGRES = "io.debezium.connector.postgresql.PostgresConnector"

Take = Callable[..., None]
"""Fills a draft with a property's value; what the property's name holds comes behind it. Raises BadValue."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of one property.

    Args:
        name: of the property, as documents write it.
        setting: ours.
        take: takes the value over.
        note: what else there is to say.
        expression: of names that hold parameters.
    """

    name: str
    setting: str
    take: Take
    note: str = ""
    expression: str | None = None


def _snapshot_tables(draft: Draft, value: str) -> None:
    chosen = [pattern(one) for one in expressions(value)]
    if draft.connector.get("snapshot") != "never":
        draft.connector["snapshot_tables"] = chosen


def _apart(draft: Draft, value: str) -> None:
    """Taken over together with others: see `translate`, `tables`, `converters` and `smts`."""


def _words(setting: str, words: Mapping[str, Any]) -> Take:
    def take(draft: Draft, value: str) -> None:
        draft.connector[setting] = words[word(value, words)]

    return take


def _same(setting: str, *words: str) -> Take:
    return _words(setting, {one: one for one in words})


def _flag(setting: str) -> Take:
    def take(draft: Draft, value: str) -> None:
        draft.connector[setting] = boolean(value)

    return take


def _number(setting: str) -> Take:
    def take(draft: Draft, value: str) -> None:
        draft.connector[setting] = whole(value)

    return take


def _patterns(section: Callable[[Draft], dict[str, Any]], key: str) -> Take:
    def take(draft: Draft, value: str) -> None:
        section(draft)[key] = [pattern(one) for one in expressions(value)]

    return take


def _parameter(name: str) -> Take:
    def take(draft: Draft, value: str) -> None:
        draft.parameters()[name] = value.strip()

    return take


def _topic(setting: str, read: Callable[[str], Any]) -> Take:
    def take(draft: Draft, value: str) -> None:
        draft.topics[setting] = read(value)

    return take


def _class(draft: Draft, value: str) -> None:
    if value.strip().rpartition(".")[2] not in ("PostgresConnector", "PostgreSqlConnector"):
        raise BadValue(f"must be {POSTGRES}; docs/sql-poll.md says how other databases are read")


def _password(draft: Draft, value: str) -> None:
    draft.database["password"] = Variable("${SOURCE_PASSWORD}")
    draft.remarks.append("database.password is not written down: set SOURCE_PASSWORD, or use password_file")


def _sslmode(draft: Draft, value: str) -> None:
    draft.parameters()["sslmode"] = word(value, ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"))


def _plugin(draft: Draft, value: str) -> None:
    if word(value, ("pgoutput", "decoderbufs")) != "pgoutput":
        draft.remarks.append("plugin.name: the slot is read with pgoutput; one of decoderbufs cannot be gone on with")


def _slot(draft: Draft, value: str) -> None:
    if not re.fullmatch(r"[a-z0-9_]{1,63}", value.strip()):
        raise BadValue("must be of a-z, 0-9 and '_', 63 at most")
    draft.connector["slot"] = value.strip()


def _publication(draft: Draft, value: str) -> None:
    draft.connector["publication"] = value.strip()


def _autocreate(draft: Draft, value: str) -> None:
    mode = word(value, ("all_tables", "disabled", "filtered", "no_tables"))
    if mode == "disabled":
        draft.connector["create"] = False
    elif mode == "no_tables":
        raise BadValue("a publication without tables is not made here; make it yourself, and use disabled")
    else:
        draft.connector["publication_tables"] = "all" if mode == "all_tables" else "captured"


_SNAPSHOTS = {
    "initial": ("initial", ""),
    "no_data": ("never", ""),
    "never": ("never", ""),
    "exported": ("initial", ""),
    "initial_only": ("only", ""),
    "always": ("initial", "tables are read at the first start only; `cdc snapshot` reads them again when you want"),
    "when_needed": ("initial", "a gap is told instead of being read over; `cdc heal` shows and mends it"),
}


def _snapshot(draft: Draft, value: str) -> None:
    mode = word(value, (*_SNAPSHOTS, "configuration_based", "custom"))
    if mode not in _SNAPSHOTS:
        raise BadValue(f"{mode} has no counterpart here; choose one of {', '.join(_SNAPSHOTS)}")
    draft.connector["snapshot"], remark = _SNAPSHOTS[mode]
    if remark:
        draft.remarks.append(f"snapshot.mode {mode}: {remark}")


def _readers(draft: Draft, value: str) -> None:
    threads = min(max(whole(value), 1), 32)
    if threads > 1:
        draft.remarks.append(
            "snapshot.max.threads: one table is read after the other, so that first and last rows can be marked; "
            f"snapshot_markers: false with snapshot_readers: {threads} reads in parallel, without the marks"
        )


def _skipped(draft: Draft, value: str) -> None:
    operations = listed(value.lower())
    if operations == ["none"]:
        operations = []
    if any(operation not in ("c", "u", "d", "t") for operation in operations):
        raise BadValue("must be none, or of c, u, d and t")
    draft.connector["skipped_operations"] = operations
    draft.connector["truncates"] = "skip" if "t" in operations else "fan_out"


def _heartbeat_interval(draft: Draft, value: str) -> None:
    if milliseconds := whole(value):
        draft.section("heartbeat")["interval"] = f"{milliseconds}ms"


def _heartbeat_prefix(draft: Draft, value: str) -> None:
    draft.section("heartbeat")["topic_prefix"] = value.strip()


def _unknown_types(draft: Draft, value: str) -> None:
    draft.connector["unknown_types"] = "bytes" if boolean(value) else "skip"


def _placeholder(draft: Draft, value: str) -> None:
    if value.startswith("hex:"):
        try:
            value = bytes.fromhex(value.removeprefix("hex:")).decode()
        except ValueError:
            raise BadValue("a placeholder in hexadecimal has to be text in UTF-8 here") from None
    draft.connector["unchanged_placeholder"] = value


def _mask(draft: Draft, value: str, length: str) -> None:
    for one in expressions(value):
        draft.columns("mask")[pattern(one)] = {"asterisks": int(length)}


def _hash(draft: Draft, value: str, version: str | None, algorithm: str, salt: str) -> None:
    if algorithm.upper() not in ALGORITHMS:
        raise BadValue(f"the algorithm must be one of {', '.join(ALGORITHMS)}")
    variable = draft.salt(salt)
    draft.remarks.append(
        f"column.mask.hash.{version or ''}{algorithm}: the salt is not written down: set {variable[2:-1]}"
    )
    for one in expressions(value):
        draft.columns("mask")[pattern(one)] = {"hash": algorithm, "salt": variable, "version": 2 if version else 1}


def _truncate(draft: Draft, value: str, length: str) -> None:
    for one in expressions(value):
        draft.columns("truncate")[pattern(one)] = int(length)


def _message_key(draft: Draft, value: str) -> None:
    keys: list[str] = []
    for entry in filter(None, map(str.strip, value.split(";"))):
        # Key.CustomKeyMapper.MSG_KEY_COLUMNS_PATTERN
        found = re.fullmatch(r"([^:]+):([^:,]+(?:,[^:,]+)*)", entry)
        if not found:
            raise BadValue("must be table:column,column, several separated by semicolons")
        keys += [pattern(expression(f"{found[1]}.{column}")) for column in listed(found[2])]
    if not keys:
        raise BadValue("must name columns")
    draft.table["message_key"] = keys


def _partitions(draft: Draft, value: str) -> None:
    if value.strip() == "-1":
        draft.remarks.append("topic.creation.default.partitions: 1 is written, as brokers have by default")
    else:
        draft.topics["partitions"] = whole(value)


def _retention(value: str) -> str:
    """-1, for ever, becomes a century."""
    return "36500d" if value.strip() == "-1" else f"{whole(value)}ms"


def _cleanup(value: str) -> str:
    return word(value.replace(" ", ""), ("compact", "delete", "compact,delete"))


_OF_TABLES = "`outbox`, `format`, `topic`, `transforms`"
_CONVERTERS = "Of JsonConverter and Confluent's AvroConverter, both alike."
_ADDRESS = "`databases.source.url`"
_TEMPORAL = ("adaptive", "adaptive_time_microseconds", "connect", "isostring", "microseconds", "nanoseconds")
_ADJUSTMENTS = ("none", "avro", "avro_unicode")

TAKEN = (
    Rule("name", "the connector's name", _apart),
    Rule("connector.class", "`type`", _class),
    Rule("topic.prefix", "`name`", _apart, "Of a-z, 0-9, '.', '_' and '-' here."),
    Rule("database.hostname", _ADDRESS, _apart),
    Rule("database.port", _ADDRESS, _apart),
    Rule("database.user", _ADDRESS, _apart),
    Rule("database.dbname", _ADDRESS, _apart),
    Rule("database.password", "`databases.source.password`", _password, "As `${SOURCE_PASSWORD}`."),
    Rule("database.sslmode", "`parameters.sslmode`", _sslmode),
    Rule("database.sslrootcert", "`parameters.sslrootcert`", _parameter("sslrootcert")),
    Rule("database.sslcert", "`parameters.sslcert`", _parameter("sslcert")),
    Rule("database.sslkey", "`parameters.sslkey`", _parameter("sslkey"), "In PEM; Java's is in DER."),
    Rule("plugin.name", "pgoutput", _plugin),
    Rule("slot.name", "`slot`", _slot),
    Rule("publication.name", "`publication`", _publication),
    Rule("publication.autocreate.mode", "`publication_tables`, `create`", _autocreate),
    Rule("publish.via.partition.root", "`publish_via_root`", _flag("publish_via_root")),
    Rule("schema.include.list", "`tables`", _apart),
    Rule("schema.exclude.list", "`tables`", _apart),
    Rule("table.include.list", "`tables`", _apart, "One entry each, in this order: so snapshots read them."),
    Rule("table.exclude.list", "`tables`", _apart),
    Rule("column.include.list", "`columns.include`", _patterns(lambda draft: draft.columns("columns"), "include")),
    Rule("column.exclude.list", "`columns.exclude`", _patterns(lambda draft: draft.columns("columns"), "exclude")),
    Rule("message.key.columns", "`message_key`", _message_key),
    Rule("column.mask.with.LENGTH.chars", "`mask`", _mask, expression=r"column\.mask\.with\.(\d+)\.chars"),
    Rule("column.truncate.to.LENGTH.chars", "`truncate`", _truncate, expression=r"column\.truncate\.to\.(\d+)\.chars"),
    Rule(
        "column.mask.hash.ALGORITHM.with.salt.SALT",
        "`mask`",
        _hash,
        "`column.mask.hash.v2.…` likewise. Salts as `${MASK_SALT_1}`, ….",
        expression=r"column\.mask\.hash\.(v2\.)?([^.]+)\.with\.salt\.(.+)",
    ),
    Rule("snapshot.mode", "`snapshot`", _snapshot),
    Rule("snapshot.max.threads", "`snapshot_readers`", _readers, "With `snapshot_markers: false` only."),
    Rule("snapshot.include.collection.list", "`snapshot_tables`", _snapshot_tables),
    Rule("snapshot.select.statement.overrides", "`snapshot_select`", _apart),
    Rule(
        "snapshot.select.statement.overrides.TABLE",
        "`snapshot_select`",
        lambda draft, value, table: None,
        expression=r"snapshot\.select\.statement\.overrides\.(.+)",
    ),
    Rule("decimal.handling.mode", "`decimal`", _same("decimal", "precise", "double", "string")),
    Rule("time.precision.mode", "`time_precision`", _same("time_precision", *_TEMPORAL)),
    Rule("binary.handling.mode", "`binary`", _same("binary", "bytes", "base64", "base64-url-safe", "hex")),
    Rule("interval.handling.mode", "`interval`", _same("interval", "numeric", "string")),
    Rule("hstore.handling.mode", "`hstore`", _same("hstore", "json", "map")),
    Rule("money.fraction.digits", "`money_fraction_digits`", _number("money_fraction_digits")),
    Rule("include.unknown.datatypes", "`unknown_types`", _unknown_types),
    Rule("unavailable.value.placeholder", "`unchanged_placeholder`", _placeholder, "In UTF-8, behind `hex:` too."),
    Rule("schema.name.adjustment.mode", "`schema_names`", _same("schema_names", *_ADJUSTMENTS)),
    Rule("field.name.adjustment.mode", "`field_names`", _same("field_names", *_ADJUSTMENTS)),
    Rule(
        "column.propagate.source.type",
        "`propagate_source_type`",
        _patterns(lambda draft: draft.connector, "propagate_source_type"),
    ),
    Rule(
        "datatype.propagate.source.type",
        "`propagate_types`",
        _patterns(lambda draft: draft.connector, "propagate_types"),
    ),
    Rule("skipped.operations", "`skipped_operations`, `truncates`", _skipped),
    Rule("tombstones.on.delete", "`tombstones`", _flag("tombstones")),
    Rule("extended.headers.enabled", "`context_headers`", _flag("context_headers")),
    Rule("provide.transaction.metadata", "`transaction_metadata`", _flag("transaction_metadata")),
    Rule(
        "message.prefix.include.list",
        "`messages.include`",
        _patterns(lambda draft: draft.section("messages"), "include"),
    ),
    Rule(
        "message.prefix.exclude.list",
        "`messages.exclude`",
        _patterns(lambda draft: draft.section("messages"), "exclude"),
    ),
    Rule("heartbeat.interval.ms", "`heartbeat.interval`", _heartbeat_interval),
    Rule("topic.heartbeat.prefix", "`heartbeat.topic_prefix`", _heartbeat_prefix),
    Rule("heartbeat.topics.prefix", "`heartbeat.topic_prefix`", _heartbeat_prefix, "The older name."),
    Rule("key.converter", "`format`", _apart, _CONVERTERS),
    Rule("value.converter", "`format`", _apart, _CONVERTERS),
    Rule("key.converter.schemas.enable", "`format`", _apart),
    Rule("value.converter.schemas.enable", "`format`", _apart),
    Rule("key.converter.schema.registry.url", "`schema_registry.url`", _apart),
    Rule("value.converter.schema.registry.url", "`schema_registry.url`", _apart),
    Rule(
        "value.converter.basic.auth.user.info",
        "`schema_registry.username`, `password`",
        lambda draft, value, *parts: None,
        "The key's likewise. The password as `${SCHEMA_REGISTRY_PASSWORD}`.",
        expression=r"(key|value)\.converter\.(schema\.registry\.)?basic\.auth\.user\.info",
    ),
    Rule("transforms", _OF_TABLES, _apart, "See below; what is not taken over is told."),
    Rule("transforms.NAME.…", _OF_TABLES, _apart, expression=r"transforms\..+"),
    Rule("predicates", "`tables`", _apart, "`TopicNameMatches`."),
    Rule("predicates.NAME.…", "`tables`", _apart, expression=r"predicates\..+"),
    Rule("topic.creation.default.partitions", "`topics.defaults.partitions`", _partitions),
    Rule(
        "topic.creation.default.replication.factor",
        "`topics.defaults.replication_factor`",
        _topic("replication_factor", lambda value: int(value) if value.strip() == "-1" else whole(value)),
    ),
    Rule(
        "topic.creation.default.cleanup.policy", "`topics.defaults.cleanup_policy`", _topic("cleanup_policy", _cleanup)
    ),
    Rule("topic.creation.default.retention.ms", "`topics.defaults.retention`", _topic("retention", _retention)),
    Rule(
        "topic.creation.default.delete.retention.ms",
        "`topics.defaults.delete_retention`",
        _topic("delete_retention", lambda value: f"{whole(value)}ms"),
    ),
    Rule(
        "topic.creation.default.min.insync.replicas",
        "`topics.defaults.min_insync_replicas`",
        _topic("min_insync_replicas", whole),
    ),
    Rule(
        "topic.creation.default.max.message.bytes",
        "`topics.defaults.max_message_bytes`",
        _topic("max_message_bytes", whole),
    ),
)
"""In the order of the documentation."""
