"""What becomes of each property of Debezium's PostgreSQL connector: those without a counterpart. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Absent:
    """A property that is not taken over.

    Args:
        name: of the property; `*` stands for whatever follows.
        why: what is lost, or why nothing is.
        default: Debezium's, with which nothing is lost; None: nothing ever is.
    """

    name: str
    why: str
    default: str | None = None

    def lost(self, value: str) -> bool:
        """Whether something is lost without this value."""
        return self.default is not None and value.strip().lower() != self.default

    def means(self, name: str) -> bool:
        """Whether a property is this one."""
        return name.startswith(self.name[:-1]) if self.name.endswith("*") else name == self.name


_ALWAYS = "\0"
"""No value: whatever is given is lost."""

_TOPIC_NAMES = "io.confluent.kafka.serializers.subject.topicnamestrategy"
_NO_SIGNALS = "`cdc snapshot` reads tables again while the stream goes on, and shows how far it is"
_NO_LINEAGE = "there is no OpenLineage here"
_SIZES = "`batch` bounds what is in memory, and needs no tuning for latency"

LACKING = (
    Absent("converters", "columns are written as their types are; there are no converters of one's own", ""),
    Absent(
        "post.processors", "there are no post processors; unchanged values are read anew with `unchanged: reselect`", ""
    ),
    Absent(
        "header.converter",
        "headers are written by the format of values",
        "org.apache.kafka.connect.storage.simpleheaderconverter",
    ),
    *(
        Absent(f"{kind}.converter.{name}", why, default)
        for kind in ("key", "value")
        for name, why, default in (
            (f"{kind}.subject.name.strategy", "subjects are `{topic}-key` and `{topic}-value`", _TOPIC_NAMES),
            ("decimal.format", "`decimal` of the connector is precise (base64), string or double", "base64"),
            ("auto.register.schemas", "schemas that the registry does not have are registered", "true"),
            ("basic.auth.credentials.source", "`schema_registry` has `username` and `password`", "user_info"),
            (
                "schema.registry.ssl.*",
                "`schema_registry` has `ssl_ca`, `ssl_certificate` and `ssl_key`, in PEM",
                _ALWAYS,
            ),
            ("*", "nothing else of how the format writes can be chosen", _ALWAYS),
        )
    ),
    Absent("database.sslpassword", "give a key without a pass phrase, readable by the bridge only", _ALWAYS),
    Absent("database.sslfactory", "libpq makes the connections; `parameters` has its settings for TLS", ""),
    Absent("database.initial.statements", "put settings on the role: ALTER ROLE … SET …", ""),
    Absent("database.connection.factory.class", "libpq makes the connections", ""),
    Absent("driver.*", "libpq makes the connections; `parameters` has its settings", _ALWAYS),
    Absent("slot.drop.on.stop", "a slot stays until you drop it: without it changes are lost", "false"),
    Absent("slot.failover", "the slot is made without FAILOVER", "false"),
    Absent("slot.stream.params", "pgoutput is asked for what the bridge needs", ""),
    Absent("replica.identity.autoset.values", "run ALTER TABLE … REPLICA IDENTITY yourself", ""),
    Absent("flush.lsn.source", "what is stored is always confirmed to the server", "true"),
    Absent("lsn.flush.mode", "what is stored is always confirmed to the server", "connector"),
    Absent("xmin.fetch.interval.ms", "`source.xmin` stays null", "0"),
    Absent("table.ignore.builtin", "tables of PostgreSQL's own schemas are never captured", "true"),
    Absent("snapshot.mode.custom.name", "there are no snapshots of one's own making", ""),
    Absent("snapshot.mode.configuration.based.*", "`snapshot` is initial, never or only", _ALWAYS),
    Absent("snapshot.query.mode", "rows are read by COPY; `snapshot_select` chooses them", "select_all"),
    Absent("snapshot.query.mode.custom.name", "rows are read by COPY; `snapshot_select` chooses them", ""),
    Absent("snapshot.locking.mode.custom.name", "each range takes its own short lock", ""),
    Absent("snapshot.tables.order.by.row.count", "tables are read in the order of `tables`, then of names", "disabled"),
    Absent("snapshot.delay.ms", "a snapshot begins at once", "0"),
    Absent("streaming.delay.ms", "the stream begins at once", "0"),
    Absent("signal.data.collection", _NO_SIGNALS, ""),
    Absent("signal.enabled.channels", _NO_SIGNALS, "source"),
    Absent("signal.kafka.*", _NO_SIGNALS, _ALWAYS),
    Absent("signal.file", _NO_SIGNALS, ""),
    Absent("notification.*", "`cdc status` and the metrics say what goes on", _ALWAYS),
    Absent("read.only", _NO_SIGNALS, "false"),
    Absent("skip.messages.without.change", "an update is published even if no published column changed", "false"),
    Absent("event.processing.failure.handling.mode", "what cannot be published stops its table, and is told", "fail"),
    Absent("event.converting.failure.handling.mode", "what cannot be published stops its table, and is told", "warn"),
    Absent("transaction.metadata.factory", "ids of transactions are as PostgreSQL's connector has them", _ALWAYS),
    Absent("sourceinfo.struct.maker", "`source` is as PostgreSQL's connector has it", _ALWAYS),
    Absent(
        "topic.naming.strategy",
        "topics are named as by SchemaTopicNamingStrategy",
        "io.debezium.schema.schematopicnamingstrategy",
    ),
    Absent("source.struct.version", "`source` is as Debezium 3 has it", "v2"),
    Absent("sanitize.field.names", "it is field.name.adjustment.mode=avro now, here `field_names: avro`", "false"),
    Absent("topic.regex", "topics are named as by SchemaTopicNamingStrategy", ""),
    Absent("topic.replacement", "topics are named as by SchemaTopicNamingStrategy", ""),
    Absent("topic.key.*", "topics are named as by SchemaTopicNamingStrategy", _ALWAYS),
    Absent("topic.delimiter", "topics are named with dots", "."),
    Absent("topic.transaction", "the topic of transactions is `{name}.transaction`", "transaction"),
    Absent("topic.heartbeat.name", "`heartbeat.topic_prefix` and the bridge's name make the topic's", ""),
    Absent("heartbeat.action.query", "nothing is written to the source; an idle one's WAL is freed without it", ""),
    Absent("custom.metric.tags", "metrics have the connector's name only", ""),
    Absent("openlineage.*", _NO_LINEAGE, _ALWAYS),
    Absent("guardrail.collections.max", "the number of tables has no limit", "0"),
    Absent("guardrail.collections.limit.action", "the number of tables has no limit", "warn"),
    Absent("errors.tolerance", "nothing is left out because of an error", "none"),
    Absent("topic.creation.enable", "topics that are not there are made", "true"),
    Absent("topic.creation.groups", "write entries under `topics:`, by names and patterns", ""),
    Absent("topic.creation.*", "write it under `topics:` or make the topics yourself", _ALWAYS),
    Absent("producer.override.*", "`kafka.properties` takes librdkafka's properties that are safe", _ALWAYS),
    Absent("admin.override.*", "`kafka.properties` takes librdkafka's properties that are safe", _ALWAYS),
)
"""Something is lost without them; more particular ones stand before those with `*`."""

NEEDLESS = (
    Absent("include.schema.comments", "Debezium's PostgreSQL connector reads no comments"),
    Absent("tasks.max", "one process reads a slot, as one task does"),
    Absent("tasks.max.enforce", "one process reads a slot, as one task does"),
    Absent("exactly.once.support", "events are always published exactly once"),
    Absent("transaction.boundary", "events are always published exactly once"),
    Absent("transaction.boundary.interval.ms", "events are always published exactly once"),
    Absent("offsets.storage.topic", "positions are on `{name}.cdc.offsets`"),
    Absent("offset.storage*", "positions are on `{name}.cdc.offsets`"),
    Absent("offset.flush.*", "positions are on `{name}.cdc.offsets`"),
    Absent("config.action.reload", "passwords in files and from commands are read at every connection"),
    Absent("errors.*", "what may pass is tried again for as long as it takes"),
    Absent("retriable.restart.connector.wait.ms", "what may pass is tried again for as long as it takes"),
    Absent("custom.retriable.exception", "what may pass is tried again for as long as it takes"),
    Absent("slot.max.retries", "what may pass is tried again for as long as it takes"),
    Absent("slot.retry.delay.ms", "what may pass is tried again for as long as it takes"),
    Absent("slot.seek.to.known.offset.on.start", "slot and stored position are compared at every start"),
    Absent("offset.mismatch.strategy", "slot and stored position are compared at every start; a gap is told"),
    Absent("create.slot.command.timeout", "a slot is waited for"),
    Absent("lsn.flush.timeout.ms", "confirming waits for nothing"),
    Absent("lsn.flush.timeout.action", "confirming waits for nothing"),
    Absent("status.update.interval.ms", "what is stored is confirmed at once"),
    Absent("database.tcpKeepAlive", "a server that is gone is noticed: `session_timeout`"),
    Absent("database.query.timeout.ms", "a server that is gone is noticed: `session_timeout`"),
    Absent("database.connection.timeout.ms", "a server that is gone is noticed: `session_timeout`"),
    Absent("connection.validation.timeout.ms", "a server that is gone is noticed: `session_timeout`"),
    Absent("executor.shutdown.timeout.ms", "stopping waits for the batch that is being published"),
    Absent("schema.refresh.mode", "schemas are what pgoutput sends before rows"),
    Absent("schema.history.internal*", "PostgreSQL's connector has no history of schemas"),
    Absent("database.history*", "PostgreSQL's connector has no history of schemas"),
    Absent("include.schema.changes", "PostgreSQL's connector has no topic of schema changes"),
    Absent("snapshot.isolation.mode", "all rows are as of one exported snapshot"),
    Absent("snapshot.locking.mode", "each range takes its own short lock"),
    Absent("snapshot.lock.timeout.ms", "each range takes its own short lock"),
    Absent("snapshot.fetch.size", "rows come by COPY as they are read"),
    Absent("snapshot.max.threads.multiplier", "`snapshot_range` is how large a piece is"),
    Absent("legacy.snapshot.max.threads", "`snapshot_range` is how large a piece is"),
    Absent("snapshot.scan.all.columns.force", "columns are read as they are captured"),
    Absent("query.fetch.size", "rows come by COPY as they are read"),
    Absent("incremental.snapshot.*", _NO_SIGNALS),
    Absent("signal.poll.interval.ms", _NO_SIGNALS),
    Absent("max.batch.size", _SIZES),
    Absent("max.queue.size", _SIZES),
    Absent("max.queue.size.in.bytes", _SIZES),
    Absent("queue.provider.type", _SIZES),
    Absent("poll.interval.ms", "changes are not polled for"),
    Absent("topic.cache.size", "nothing is cached by topic"),
    Absent("internal.*", "it is of Debezium's own inside"),
    Absent("log.position.check.enable", "slot and stored position are compared at every start"),
    Absent("advanced.metrics.enable", "the metrics are always there"),
    Absent("statistics.metrics.enabled", "the metrics are always there"),
    Absent("custom.sanitize.pattern", "values and secrets are in no log"),
)
"""Nothing is lost without them."""

OLDER = {
    "database.server.name": "topic.prefix",
    "schema.whitelist": "schema.include.list",
    "schema.blacklist": "schema.exclude.list",
    "table.whitelist": "table.include.list",
    "table.blacklist": "table.exclude.list",
    "column.whitelist": "column.include.list",
    "column.blacklist": "column.exclude.list",
    "slot.drop_on_stop": "slot.drop.on.stop",
    "event.deserialization.failure.handling.mode": "event.processing.failure.handling.mode",
    "toasted.value.placeholder": "unavailable.value.placeholder",
}
"""Names in Debezium 1 → what they have been since."""
