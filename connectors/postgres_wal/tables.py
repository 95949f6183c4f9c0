"""Captured tables as they are encoded: each Relation message becomes a plan and an encoder. Reads the catalog."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, TypeAlias

from cdc import __version__
from cdc.config.consistency import keyless_on_compacted, truncates_on_compacted
from cdc.errors import ConfigError, Problem
from cdc.event import EventTopic
from cdc.formats.contract import formats
from cdc.formats.postgres.described import described
from cdc.formats.postgres.encode_cy import RowEncoder
from cdc.formats.postgres.plan import Facts, SourceInfo, TablePlan, plan_table, unknown_columns
from cdc.formats.postgres.relation import Relation
from cdc.formats.postgres.types import TypeInfo, type_text
from cdc.patterns import most_specific
from cdc.schemas import Column, TableSchema
from cdc.settings import Settings
from cdc.transforms.chain import Chain

from .catalog import PRIMARY_KEYS_QUERY, Session, Table, comments, describe_columns, load_types, reading
from .drift import Col, Form, Policy
from .options import TableOptions
from .settings import PostgresWalSettings
from .transforms import Chains

When: TypeAlias = Literal["always", "key_change", "never"]

_WHEN: dict[str, When] = {"reselect": "always", "mark": "key_change", "placeholder": "never"}
"""What `unchanged` asks for. A new key begins with all its values, or nobody could complete it."""


@dataclass(slots=True)
class PlannedTable:
    """A relation ready to be encoded.

    Args:
        plan, encoder: what its columns need, and what does it.
        another_encoder: makes one for another thread.
        relation: as the stream described it.
        reselect: when unchanged TOAST values are read from the table.
        fan_out: whether TRUNCATE is published.
        append: whether records carry the broker's time instead of the commit's.
        begun: the transaction that the encoder's constant parts are for.
        announced: whether topic and schema were given to the publisher in this run.
        unread: whether rows of it are still to be read; then events must be whole.
        touched: gets the keys of what is published, while its rows are read beside the stream.
        waits: whether nothing of it is published, as a snapshot that comes holds it all.
        chain: its transforms; None without.
        generated: generated columns, which only a snapshot has.
        shares: whether its topic may have events of other tables.
        policy, form: what is done when its columns change, and what they are; no form where all is followed.
        numbers: of columns in the catalogue, by name; those too that it has forgotten.
        comment, comments: of the table, and of columns by name.
    """

    plan: TablePlan
    encoder: RowEncoder
    another_encoder: Callable[[], RowEncoder]
    relation: Relation
    reselect: When
    fan_out: bool
    append: bool
    begun: object = None
    announced: bool = False
    unread: bool = False
    touched: set[bytes | None] | None = None
    waits: bool = False
    chain: Chain | None = None
    generated: frozenset[str] = frozenset()
    shares: bool = False
    policy: Policy = "follow"
    form: Form | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)
    comment: str | None = None
    comments: Mapping[str, str] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        return f"{self.relation.schema}.{self.relation.name}"

    @property
    def by_key(self) -> bool:
        """Whether a row can be told by its event's key, and read by it."""
        return self.reselect != "never"

    def reselects(self, *, inserted: bool) -> bool:
        """Whether the unchanged values of the row just encoded are read; a changed key begins with all its values.

        An INSERT lacks values only where the row is not new: an update made a row filter hold for it.
        """
        if self.unread and self.by_key:
            return True  # its other values may be read by nobody: the row is published already, or has moved
        return self.reselect == "always" or (self.reselect == "key_change" and (self.encoder.moved or inserted))

    @property
    def event_topic(self) -> EventTopic:
        distinct = self.by_key and not self.shares and not (self.chain is not None and self.chain.leaves)
        return EventTopic(
            self.plan.topic, self.full_name, tuple(self.plan.key), distinct, format=self.plan.style.format
        )

    @property
    def _columns(self) -> Sequence[Column]:
        named = [(self.relation.columns[column.index].name, column.description) for column in self.plan.columns]
        return [replace(one, attnum=self.numbers.get(name, 0), comment=self.comments.get(name)) for name, one in named]

    @property
    def column_names(self) -> Sequence[str]:
        """All columns of the stream, published or not."""
        return [column.name for column in self.relation.columns]

    @property
    def numbered(self) -> Form | None:
        """`form`, with the numbers that are known."""
        if self.form is None:
            return None
        columns = {
            name: one._replace(attnum=self.numbers.get(name, 0))
            for name, one in self.form.columns.items()
            if name not in self.generated
        }
        return replace(self.form, columns=columns)

    def schema(self, position: str) -> TableSchema:
        """The description for the schemas topic, valid from `position` (a `cdc.pos`) on; as events show the table."""
        schema = replace(
            self.plan.schema(position),
            columns=tuple(self._columns),
            comment=self.comment,
            oid=self.relation.oid,
        )
        return schema if self.chain is None else self.chain.describe(schema)

    @property
    def streamed_schema(self) -> bytes:
        """The description, without a position, as the stream's rows have it: without generated columns."""
        schema = self.schema("")
        columns = tuple(column for column in schema.columns if column.name not in self.generated)
        return replace(schema, columns=columns).to_bytes()


@dataclass(slots=True)
class Planner:
    """Plans relations with the settings and what the catalog says of their types and keys.

    Args:
        settings: all settings (topics' policies, the bridge's name).
        name, section: the connector's.
        connection: a catalog session, used by one thread at a time.
        subject: what to call the connector in errors.
    """

    settings: Settings
    name: str
    section: PostgresWalSettings
    connection: Session
    subject: str
    types: dict[int, TypeInfo] = field(default_factory=dict)
    chains: Chains = field(init=False)

    def __post_init__(self) -> None:
        self.chains = Chains(self.settings, self.name, self.section)

    @property
    def source(self) -> SourceInfo:
        """What events say of their source."""
        return SourceInfo(name=self.settings.name, database=self.connection.info.dbname, version=__version__)

    def plan(self, relation: Relation) -> PlannedTable | None:
        """The relation as it is encoded; None when it is not captured.

        Raises: ConfigError: a keyless table whose topic is compacted.
        """
        full_name = f"{relation.schema}.{relation.name}"
        entry = most_specific(self.section.tables, full_name)
        if entry is None:
            return None
        options = self.section.tables[entry]
        self._learn_types(relation)
        facts = describe_columns(self.connection, relation.oid, self.subject)
        topic = self.section.topic_of(self.settings.name, entry, relation.schema, relation.name)
        key = self._key(relation, options)
        policy = self.settings.topic(topic).cleanup_policy or "compact"
        messages = options.outbox is not None
        keyless = None if key or messages else keyless_on_compacted(self.settings, self.name, entry, full_name, topic)
        if keyless is not None:
            raise ConfigError([keyless])
        fan_out = (options.truncates or self.section.truncates) == "fan_out"
        refused = truncates_on_compacted(self.settings, self.name, entry, full_name, topic) if fan_out else None
        if refused is not None:
            raise ConfigError([refused])
        secret = self.section.mask_key
        plan = plan_table(
            relation,
            self.types,
            options=options,
            key_columns=key,
            topic=topic,
            source=self.source,
            handling=self.section.handling,
            style=self.section.style(self.settings.name, options.unchanged, options.format),
            mask_key=secret.get_secret_value().encode() if secret is not None else None,
            facts=facts,
        )
        asked = options.unchanged or self.section.unchanged
        unchanged: When = _WHEN[asked] if asked else "always" if "compact" in policy else "key_change"
        timestamp = options.timestamp or self.section.timestamp or ("append" if "delete" in policy else "commit")
        present = {column.name for column in relation.columns}
        on_change = options.schema_changes or self.section.schema_changes
        form = None if on_change == "follow" else self._form(relation, facts, key)
        comment, of_columns = comments(self.connection, relation.oid, self.subject)
        chain = self.chains.of(full_name)
        if chain is not None:
            _check_chain(plan, chain)
        writer = formats()[plan.style.format].writer
        written_by = None if writer is None else partial(writer, self.settings, described(plan))

        def encoder() -> RowEncoder:
            return RowEncoder(plan, None if written_by is None else written_by())

        return PlannedTable(
            plan=plan,
            encoder=encoder(),
            another_encoder=encoder,
            relation=relation,
            # By the primary key only: another message key may name several rows, and have no index.
            reselect="never" if not key or options.keys(full_name, key) else unchanged,
            fan_out=fan_out,
            append=timestamp == "append",
            chain=chain,
            shares=self.section.shares_topic(entry),
            policy=on_change,
            form=form,
            numbers={name: number for name, number in facts.attnums.items() if name in present},
            comment=comment,
            comments=of_columns,
        )

    def plan_all(self, tables: Sequence[Table]) -> list[PlannedTable]:
        """Plans for tables of the catalog. Raises: ConfigError with every problem found."""
        problems: list[Problem] = []
        planned: list[PlannedTable] = []
        for table in tables:
            problems += self._unknown_columns(table)
            try:
                one = self.plan(table.relation())
            except ConfigError as error:
                problems += error.problems
            else:
                if one is not None:
                    one.generated = table.generated
                    planned.append(one)
        if problems:
            raise ConfigError(problems)
        return planned

    def _unknown_columns(self, table: Table) -> list[Problem]:
        """A pattern's options may name columns that only some of its tables have; a table's own may not."""
        if table.full_name not in self.section.tables:
            return []
        path = ("connectors", self.name, "tables", table.full_name)
        return [
            self.settings.problem(path, problem.message, problem.suggestion)
            for problem in unknown_columns(table.relation(), table.options)
        ]

    def _key(self, relation: Relation, options: TableOptions) -> list[str]:
        """The columns of the event key: declared, or the primary key in its own order.

        The stream tells which columns identify a row as of that moment, the catalog only how it
        is now; so the catalog's order is taken where both agree.
        """
        declared = options.keys(f"{relation.schema}.{relation.name}", (column.name for column in relation.columns))
        if declared:
            return declared
        with reading(self.subject):
            row = self.connection.execute(PRIMARY_KEYS_QUERY, [[relation.oid]]).fetchone()
        primary: list[str] = list(row[1]) if row else []
        present = {column.name for column in relation.columns}
        flagged = [column.name for column in relation.columns if column.in_key]
        if relation.replica_identity == "d":
            return primary if set(primary) == set(flagged) else flagged
        if primary and set(primary) <= present:
            return primary
        return flagged if relation.replica_identity == "i" else []

    def _form(self, relation: Relation, facts: Facts, key: Sequence[str]) -> Form:
        """All columns of the stream, published or not: what the settings choose is no change of the table."""
        columns = {
            column.name: Col(
                type_text(column.type_oid, column.type_modifier, self.types),
                facts.attnums.get(column.name, 0),
                column.name not in facts.not_null,
            )
            for column in relation.columns
        }
        return Form(columns, tuple(key))

    def _learn_types(self, relation: Relation) -> None:
        unknown = {column.type_oid for column in relation.columns} - self.types.keys()
        if unknown:
            self.types.update(load_types(self.connection, unknown, self.subject))


def _check_chain(plan: TablePlan, chain: Chain) -> None:
    """Raises: ConfigError: transforms that do not fit the table."""
    chain.describe(plan.schema(""))
    for column in plan.columns:
        if column.name in chain.route_fields and not column.in_identity:
            raise ConfigError(
                [Problem(f"table {plan.table} is routed by column {column.name}, which its deletes do not have")],
                hint=f"ALTER TABLE {plan.table} REPLICA IDENTITY FULL, or route by a column of the key",
            )
