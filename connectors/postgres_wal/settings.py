"""The YAML section of a `postgres_wal` connector. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from cdc import databases, names, patterns
from cdc.formats import contract
from cdc.formats.handling import (
    DEBEZIUM_DEFAULTS,
    Adjustment,
    Binaries,
    Decimals,
    Handling,
    Hstores,
    Intervals,
    Style,
    TimePrecision,
    UnknownTypes,
    context_headers,
)
from cdc.settings import ConnectorSettings, Duration, Pattern, Settings, Size, Wrong
from cdc.table_settings import ListToo, listed_tables
from cdc.transforms.settings import Step

from .options import BatchSettings, HeartbeatSettings, MessageSettings, RetainedWalSettings, StartFrom, TableOptions

Partitions: TypeAlias = Literal["roots", "leaves", "both"]

_NAMED = re.compile(r"\{(\w*)\}")
PLAIN = Style()

_MARKED_NOWHERE = ("is told in the member cdc, and cdc_member is false", "unchanged: reselect")


class PostgresWalSettings(ConnectorSettings):
    """A connector that reads PostgreSQL's write-ahead log by logical replication."""

    type: Literal["postgres_wal"] = "postgres_wal"
    """The kind of connector."""
    database: str
    """A name under `databases:`."""
    tables: Annotated[dict[Pattern, TableOptions], BeforeValidator(listed_tables), Field(min_length=1), ListToo()]
    """Names (`public.orders`), patterns (`sales.*`, `public.audit_?`) and regular expressions between slashes
    (`/sales\\.ord.*/`), as a list or as a mapping to options; the most specific entry that matches a table wins."""
    snapshot: Literal["initial", "never", "only"] = "initial"
    """`initial` (rows first, then the stream), `never`, or `only`."""
    snapshot_tables: list[Pattern] | None = None
    """Only the rows of these of the tables are read; the stream has all of them."""
    snapshot_readers: Annotated[int, Field(ge=1, le=32)] = 4
    """Parallel COPY connections."""
    snapshot_range: Size = 64 * 1024 * 1024
    """A table is read in pieces of so many bytes of its heap; after a crash finished ones are not read again."""
    slot: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,63}$")] | None = None
    """Name of the replication slot, if not derived from the bridge's and the connector's name."""
    publication: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """Name of the publication, if not derived likewise."""
    start_from: StartFrom | None = None
    """Where a Debezium connector stopped, whose `slot` and `publication` are gone on with; for the first start only."""
    create: bool = True
    """Make the publication when it is missing, and add tables to it. The slot is always made."""
    mask_key: SecretStr | None = None
    """The key of `mask: hmac`."""
    mask_key_file: str | None = None
    """File that holds the key of `mask: hmac`."""
    compatibility: Literal["debezium"] | None = None
    """`debezium`: what is not set is as Debezium has it by default; docs/debezium.md lists the differences."""
    format: str = "debezium-json"
    """Of keys and values, one that is installed: `debezium-json`; `debezium-json-schemas`, the same with Kafka
    Connect's schemas in every record; `json`, flattened rows; `avro`, with a schema registry. See docs/formats.md."""
    decimal: Decimals = "string"
    """Numerics as `string` (exact), `double`, or `precise` (Connect Decimal, base64)."""
    time_precision: TimePrecision = "adaptive"
    """Dates and times as Debezium's `time.precision.mode` has them."""
    binary: Binaries = "bytes"
    """bytea as `bytes` (base64 in JSON), or as a string: `base64`, `base64-url-safe`, `hex`."""
    interval: Intervals = "numeric"
    """Intervals as `numeric` microseconds (a month is 30.4375 days) or as an ISO 8601 `string`."""
    hstore: Hstores = "json"
    """hstore as a `json` string or a `map`."""
    money_fraction_digits: Annotated[int, Field(ge=0, le=32767)] = 2
    """Digits of `money` behind the point."""
    unknown_types: UnknownTypes = "text"
    """Types of which Debezium knows nothing: their `text`, its `bytes`, or `skip` such columns."""
    quirks: bool = False
    """Do what Debezium hardly means, too; docs/debezium.md lists it."""
    cdc_member: bool = True
    """Whether values have the member `cdc` (position, unchanged columns)."""
    context_headers: bool = False
    """Whether events have Debezium's headers `__debezium.context.*`."""
    tombstones: bool = True
    """Whether a delete is followed by a record without value."""
    skipped_operations: list[Literal["c", "u", "d", "t"]] = Field(default_factory=list)
    """Operations that are not published: c (insert), u (update), d (delete), t (truncate)."""
    schema_names: Adjustment = "none"
    """How names of schemas that Avro would refuse are changed."""
    field_names: Adjustment = "none"
    """How names of columns that Avro would refuse are changed."""
    propagate_source_type: list[str] = Field(default_factory=list)
    """Columns (`schema.table.column`, patterns) whose schema tells their source type, length and scale."""
    propagate_types: list[str] = Field(default_factory=list)
    """The same by type (`schema.table.type`, patterns)."""
    transaction_metadata: bool = False
    """Whether events say which transaction they are of, and `{name}.transaction` gets its begin and end."""
    messages: MessageSettings | None = None
    """What `pg_logical_emit_message` writes goes to `{name}.message`. Not set: it does not."""
    heartbeat: HeartbeatSettings | None = None
    """Publish a heartbeat now and then. Not set: none."""
    unchanged: Literal["reselect", "mark", "placeholder"] | None = None
    """Default of the tables' `unchanged`."""
    unchanged_placeholder: str = "__debezium_unavailable_value"
    """What `placeholder` puts for values that are not known."""
    publication_tables: Literal["captured", "all"] = "captured"
    """The publication that is made has the captured tables, or `all` (needs a superuser)."""
    publish_via_root: bool = True
    """Changes of partitions are those of the table that is partitioned; else each has a topic of its own, and
    `tables` must name the partitions."""
    snapshot_markers: bool = False
    """`source.snapshot` says which row is the first and the last of a table and of all: one table is read
    after the other then, in one piece."""
    truncates: Literal["skip", "fan_out"] = "skip"
    """Default of the tables' `truncates`."""
    timestamp: Literal["commit", "append"] | None = None
    """Default of the tables' `timestamp`."""
    transforms: list[Step] = Field(default_factory=list)
    """Default of the tables' `transforms`."""
    schema_changes: Literal["follow", "additive", "stop"] = "follow"
    """Default of the tables' `schema_changes`."""
    batch: BatchSettings = BatchSettings()
    """When a batch closes."""
    idle_interval: Duration = 10.0
    """How often an idle source's position is stored and confirmed."""
    session_timeout: Duration = 10.0
    """After this long without a sign of life the server frees our lock."""
    retained_wal: RetainedWalSettings = RetainedWalSettings()
    """What to do about WAL that the server keeps because of the connector."""

    @model_validator(mode="before")
    @classmethod
    def _profile(cls, section: Any) -> Any:
        if isinstance(section, dict) and section.get("compatibility") == "debezium":
            return {**DEBEZIUM_DEFAULTS, **section}
        return section

    @property
    def partitions(self) -> Partitions:
        """Whether partitions are captured, or the tables that are partitioned, or both.

        Debezium has no events of a table whose partitions have them, but reads its rows in a snapshot.
        """
        return "roots" if self.publish_via_root else "both" if self.quirks else "leaves"

    @property
    def publishes_every_change(self) -> bool:
        """Whether the stream says all that happens to a row."""
        return not {"c", "u", "d"} & set(self.skipped_operations)

    @property
    def handling(self) -> Handling:
        """How values are written."""
        return Handling(
            self.decimal,
            self.time_precision,
            self.binary,
            self.interval,
            self.hstore,
            self.money_fraction_digits,
            self.unknown_types,
            self.quirks,
        )

    def style(self, bridge: str, unchanged: str | None = None, own_format: str | None = None) -> Style:
        """How events of a table are written around their values.

        Args:
            bridge: its name.
            unchanged: what the table's own `unchanged` asks.
            own_format: the table's own `format`. What the settings say goes before what a format wants.
        """
        style = Style(
            with_cdc=self.cdc_member,
            tombstones=self.tombstones,
            context_headers=context_headers(bridge) if self.context_headers else (),
            placeholder=self.unchanged_placeholder if (unchanged or self.unchanged) == "placeholder" else None,
            skipped=frozenset(self.skipped_operations),
            schema_names=self.schema_names,
            field_names=self.field_names,
            propagated=tuple(self.propagate_source_type),
            propagated_types=tuple(self.propagate_types),
        )
        written = own_format or self.format
        wanted = contract.formats()[written].style
        own = {name: value for name, value in wanted.items() if getattr(style, name) == getattr(PLAIN, name)}
        return replace(style, format=written, **own)

    def formats(self) -> Set[str]:
        return {self.format, *(options.format for options in self.tables.values() if options.format is not None)}

    def goes_on(self) -> bool:
        return self.start_from is not None

    def captured(self) -> Sequence[str]:
        return list(self.tables)

    def other_topics(self, bridge: str) -> Sequence[str]:
        return [
            topic
            for topic, wanted in (
                (names.message_topic(bridge), self.messages is not None),
                (names.transaction_topic(bridge), self.transaction_metadata),
                (self.heartbeat.topic(bridge) if self.heartbeat else "", self.heartbeat is not None),
            )
            if wanted
        ]

    def wrongs(self, settings: Settings, name: str) -> Iterator[Wrong]:
        for table, options in self.tables.items():
            if "." not in table and not patterns.is_pattern(table):
                yield Wrong(("tables", table), "must be schema.table", f"such as public.{table}")
            yield from self._column_wrongs(table, options)
            yield from self._topic_wrongs(table, options)
            yield from self._transform_wrongs(settings, table, options)
            if options.unchanged == "mark" and not self.cdc_member:
                yield Wrong(("tables", table, "unchanged"), *_MARKED_NOWHERE)
            if options.format is not None:
                yield from contract.wrongs_of(settings, options.format, ("tables", table, "format"))
        if self.unchanged == "mark" and not self.cdc_member:
            yield Wrong(("unchanged",), *_MARKED_NOWHERE)
        yield from self._snapshot_wrongs()
        yield from self._truncate_wrongs()
        yield from contract.wrongs_of(settings, self.format, ("format",))
        for setting in ("propagate_source_type", "propagate_types"):
            for pattern in getattr(self, setting):
                if wrong := patterns.wrong_expression(pattern):
                    yield Wrong((setting,), wrong, "see docs/settings.md")
        yield from self._shared(settings, name)

    def _column_wrongs(self, table: str, options: TableOptions) -> Iterator[Wrong]:
        for setting, pattern in options.expressions():
            if wrong := patterns.wrong_expression(pattern):
                yield Wrong(("tables", table, setting), f"{pattern} {wrong}", "see docs/settings.md")
        excluded = options.columns.exclude or []
        for column, mask in options.mask.items():
            if mask == "hmac" and self.mask_key is None:
                yield Wrong(("tables", table, "mask", column), "needs a key", "add mask_key_file to the connector")
            if column in options.truncate:
                message = "is masked already, truncating has no effect"
                yield Wrong(("tables", table, "truncate", column), message, "remove one of them")
        for column in options.message_key or []:
            if column in excluded:
                message = f"holds {column}, which columns.exclude leaves out"
                yield Wrong(("tables", table, "message_key"), message, "remove it from one of them")
        if options.where is not None and self.publication_tables == "all":
            message = "is a row filter, and a publication for all tables has none"
            yield Wrong(("tables", table, "where"), message, "publication_tables: captured")
        if options.where is not None and self.start_from is not None:
            message = "is a row filter, by which Debezium's events were not chosen"
            yield Wrong(("tables", table, "where"), message, "add it when start_from is gone, and heal")
        if options.snapshot_select is not None and options.snapshot_where is not None:
            message = "has no effect: snapshot_select says which rows are read"
            yield Wrong(("tables", table, "snapshot_where"), message, "put it into the query")
        for kind, columns in (("mask", options.mask), ("truncate", options.truncate)):
            for column in columns:
                if column in excluded:
                    yield Wrong(("tables", table, kind, column), "is left out by columns.exclude", "remove one of them")

    def _snapshot_wrongs(self) -> Iterator[Wrong]:
        if self.snapshot_markers and "snapshot_readers" in self.model_fields_set:
            message = "has no effect with snapshot_markers: one table is read after the other"
            yield Wrong(("snapshot_readers",), message, "remove it, or snapshot_markers: false")
        if self.snapshot == "never" and self.snapshot_tables is not None:
            yield Wrong(("snapshot_tables",), "has no effect with snapshot: never", "remove one of them")

    def _truncate_wrongs(self) -> Iterator[Wrong]:
        if "t" not in self.skipped_operations:
            return
        asked = [("tables", table, "truncates") for table, one in self.tables.items() if one.truncates == "fan_out"]
        for place in [*([("truncates",)] if self.truncates == "fan_out" else []), *asked]:
            yield Wrong(place, "has no effect: skipped_operations has t", "remove t there")

    def _topic_wrongs(self, table: str, options: TableOptions) -> Iterator[Wrong]:
        if options.topic is None:
            return
        known = {"name", "schema", "table"} | patterns.group_names(table)
        for name in _NAMED.findall(options.topic):
            if name not in known:
                message = f"names {{{name}}}, which is none of {', '.join(sorted(known))}"
                yield Wrong(("tables", table, "topic"), message)
                return
        if not self.shares_topic(table):
            return
        if (options.truncates or self.truncates) == "fan_out":
            message = "of one table would empty all that share its topic"
            yield Wrong(("tables", table, "truncates"), message, "truncates: skip")
        first = next(entry for entry, other in self.tables.items() if other.topic == options.topic)
        if self.steps(self.tables[first]) != self.steps(options):
            message = f"is that of {first} too, whose transforms are others"
            yield Wrong(("tables", table, "topic"), message, "give both the same transforms")

    def _transform_wrongs(self, settings: Settings, table: str, options: TableOptions) -> Iterator[Wrong]:
        routed = any(step.route is not None for step in self.steps(options))
        if options.outbox is not None and options.transforms:
            yield Wrong(("tables", table, "transforms"), "has no effect on an outbox table", "remove it")
            return
        topics = self._routed_to(options)
        for topic in topics if options.outbox is not None else ():
            if "compact" in (settings.topic(topic).cleanup_policy or "compact"):
                message = f"messages of one key would replace each other: {topic} is compacted"
                suggestion = f'topics: {{"{topic}": {{cleanup_policy: delete}}}}'
                yield Wrong(("tables", table, "outbox"), message, suggestion)
        written = options.format or self.format
        known = contract.formats().get(written)
        if (options.outbox is not None or self.steps(options)) and known is not None and not known.takes_transforms:
            message = f"format {written} has no transforms and no outbox"
            yield Wrong(("tables", table), message, "format: debezium-json for this table")
        if routed and (options.truncates or self.truncates) == "fan_out":
            message = "cannot be published where topics follow from rows: a truncate has none"
            yield Wrong(("tables", table, "truncates"), message, "truncates: skip")

    def event_topics(self, bridge: str) -> Sequence[str]:
        routed = [topic for options in self.tables.values() for topic in self._routed_to(options)]
        return list(dict.fromkeys([*self._of_tables(bridge), *routed]))

    def own_topics(self, bridge: str) -> Sequence[str]:
        # Where topics follow from rows, they may be anybody's; so may all that a pattern without a beginning matches.
        return [topic for topic in self._of_tables(bridge) if not topic.startswith("*")]

    def topic_of(self, bridge: str, entry: str, schema: str, table: str) -> str:
        """The topic of a table that an entry under `tables:` captures; `bridge` is the bridge's name."""
        template = self.tables[entry].topic
        if template is None:
            return names.event_topic(bridge, schema, table)
        known = {"name": bridge, "schema": schema, "table": table, **patterns.groups(entry, f"{schema}.{table}")}
        return names.legal_topic(_NAMED.sub(lambda found: known.get(found[1], ""), template))

    def topic_of_table(self, bridge: str, schema: str, table: str) -> str:
        """The topic of a captured table; `bridge` is the bridge's name."""
        entry = patterns.most_specific(self.tables, f"{schema}.{table}")
        assert entry is not None, "it is captured"
        return self.topic_of(bridge, entry, schema, table)

    def shares_topic(self, entry: str) -> bool:
        """Whether tables of an entry may share a topic with each other or with others."""
        template = self.tables[entry].topic
        if template is None:
            return False
        many = patterns.is_pattern(entry) and not {"schema", "table"} <= {*_NAMED.findall(template)}
        return many or sum(options.topic == template for options in self.tables.values()) > 1

    def _of_tables(self, bridge: str) -> list[str]:
        """The topics that tables have by their names."""
        return [
            self._topic_of_entry(bridge, entry, options)
            for entry, options in self.tables.items()
            if options.outbox is None
        ]

    def _topic_of_entry(self, bridge: str, entry: str, options: TableOptions) -> str:
        if options.topic is None:
            return names.topic_of_entry(bridge, entry)
        schema, _, table = entry.partition(".")
        if not patterns.is_pattern(entry):
            return self.topic_of(bridge, entry, schema, table)
        return _NAMED.sub(lambda found: bridge if found[1] == "name" else "*", options.topic)

    def _routed_to(self, options: TableOptions) -> list[str]:
        templates = [step.route.topic for step in self.steps(options) if step.route is not None]
        if options.outbox is not None:
            templates.append(options.outbox.topic)
        return [_NAMED.sub("*", template) for template in templates]

    def steps(self, options: TableOptions) -> list[Step]:
        """The transforms of a table; an outbox has none."""
        if options.outbox is not None:
            return []
        return self.transforms if options.transforms is None else options.transforms

    def _shared(self, settings: Settings, name: str) -> Iterator[Wrong]:
        """A slot belongs to one connector of a server, a publication to one of a database."""
        own = settings.databases.get(self.database)
        for other_name, other in settings.connectors.items():
            if other_name == name:
                return  # the later of two says so
            if own is None or not isinstance(other, PostgresWalSettings) or other.database not in settings.databases:
                continue
            theirs = settings.databases[other.database]
            slot = self.slot_name(settings, name)
            if databases.server(own) == databases.server(theirs) and slot == other.slot_name(settings, other_name):
                yield Wrong(("slot",), f"slot {slot} belongs to connector {other_name} already", "give another name")
            publication = self.publication_name(settings, name)
            if own == theirs and publication == other.publication_name(settings, other_name):
                message = f"publication {publication} belongs to connector {other_name} already"
                yield Wrong(("publication",), message, "give another name")

    def slot_name(self, settings: Settings, name: str) -> str:
        """The slot of the connector `name` that has this section."""
        return self.slot or names.slot_name(settings.name, name)

    def publication_name(self, settings: Settings, name: str) -> str:
        """The publication of the connector `name` that has this section."""
        return self.publication or names.publication_name(settings.name, name)
