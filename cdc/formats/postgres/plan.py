"""What each column of a relation needs, decided once: published, masked, truncated, transcoded how. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import orjson

from cdc.errors import ConfigError, Problem
from cdc.formats.connect_schema import adjusted
from cdc.formats.debezium_json import SourceInfo, text
from cdc.formats.handling import Handling, Style
from cdc.formats.masks import Digest, hmac_digest
from cdc.patterns import matches
from cdc.schemas import Column
from cdc.table_settings import Asterisks, ColumnSettings, Constant, Hashed

from .cutting import cut_form, shortened
from .defaults import default_json
from .form import Form, Transcoder
from .forms import TEXT_FORM, form_of
from .placeholders import placeholder
from .plan_checks import check_identity, check_options, is_text, unknown_columns
from .planned import ColumnPlan, ConnectSchemas, TablePlan
from .relation import Relation, RelationColumn
from .source_type import UNLIMITED, SourceType, source_type
from .table_schema import connect_schemas
from .types import TypeInfo, target_type, type_text

__all__ = ["ColumnPlan", "Facts", "SourceInfo", "TablePlan", "plan_table", "unknown_columns"]

DEFAULT = Handling()
PLAIN = Style()


@dataclass(frozen=True, slots=True)
class Facts:
    """What the catalogue says of a table's columns, by name.

    Args:
        not_null: those that are NOT NULL; all others may be NULL.
        attnums: their numbers.
        defaults: the expressions of their defaults.
    """

    not_null: Collection[str] = ()
    attnums: Mapping[str, int] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)


NO_FACTS = Facts()


def plan_table(
    relation: Relation,
    types: Mapping[int, TypeInfo],
    *,
    options: ColumnSettings,
    key_columns: Sequence[str],
    topic: str,
    source: SourceInfo,
    handling: Handling = DEFAULT,
    mask_key: bytes | None,
    style: Style = PLAIN,
    facts: Facts = NO_FACTS,
) -> TablePlan:
    """Decide what each column needs.

    Args:
        relation: the table as its row messages show it.
        types: from `types_from_rows`, for every column's type.
        options: the table's settings.
        key_columns: primary key or message key; empty for a table without.
        topic: of the events.
        source: for the envelope.
        handling: how values are written.
        mask_key: of HMACs; needed where a column is masked so.
        style: how events are written around their values.
        facts: from the catalogue.

    Raises:
        ConfigError: settings ask what a column cannot give.
        Refused: deletes could not carry the event key, see `docs/types.md`, "Keys".
    """
    check_options(relation, types, options, key_columns, mask_key, quirks=handling.quirks)
    check_identity(relation, key_columns, quirks=handling.quirks)
    table = _Table(f"{relation.schema}.{relation.name}", types, options, handling, style, facts, mask_key)
    shown: list[ColumnPlan] = []
    of_keys: list[ColumnPlan] = []
    for index, column in enumerate(relation.columns):
        in_key = column.name in key_columns
        # Debezium's filters and masks are for rows alone: keys have their columns as they are.
        if options.publishes(table.name, column.name, () if handling.quirks else key_columns):
            planned = table.column(index, column, in_key=in_key)
            shown += [] if planned is None else [planned]
        plain = table.column(index, column, in_key=True, of_key=True) if in_key and handling.quirks else None
        if plain is not None and (not shown or shown[-1].index != index or shown[-1].form != plain.form):
            of_keys.append(plain)
    _check_labels(table.name, shown)
    columns = (*shown, *of_keys)
    places = {column.name: column for column in columns}
    return TablePlan(
        relation=relation,
        topic=topic,
        source=source,
        columns=columns,
        shown=len(shown),
        key=tuple(key_columns),
        digests=tuple(table.digests),
        style=style,
        schemas=connect_schemas(topic, style, shown, [places[name] for name in key_columns])
        if style.with_schemas
        else ConnectSchemas(),
        quirks=handling.quirks,
    )


@dataclass(slots=True)
class _Table:
    """What decides of a table's columns, and the masks that they need so far."""

    name: str
    types: Mapping[int, TypeInfo]
    options: ColumnSettings
    handling: Handling
    style: Style
    facts: Facts
    mask_key: bytes | None
    digests: list[Digest] = field(default_factory=list)

    def column(self, index: int, column: RelationColumn, *, in_key: bool, of_key: bool = False) -> ColumnPlan | None:
        """What one needs, None where its type is left out; `of_key` for one only of keys, which is not altered."""
        told = source_type(column, self.types)
        plain = form_of(column.type_oid, column.type_modifier, self.types, self.handling)
        if in_key and (plain is None or plain.transcoder is Transcoder.UNKNOWN):
            plain = TEXT_FORM  # rows must not share a key
        if plain is None:
            return None
        form, constant = (plain, None) if of_key else self._form(column, plain, told)
        nullable = column.name not in self.facts.not_null
        label = adjusted(column.name, self.style.field_names, of_field=True)
        masked = form is not plain and form.transcoder in (Transcoder.CONSTANT, Transcoder.DIGEST)
        if plain.transcoder is Transcoder.CONSTANT and not masked:
            constant = plain.zero.encode()
        description = self._description(column, label, form, nullable=nullable, masked=masked)
        unchanged = constant
        if self.style.placeholder is None:
            unchanged = None
        elif constant is None:
            unchanged = self._placeholder(form, description.type)
        if unchanged is not None:
            description = replace(description, placeholder=orjson.loads(unchanged))
        default = self._default(column, plain, nullable=nullable, masked=masked)
        null = default if self.handling.quirks and default is not None else b"null"
        zero = null if nullable or null != b"null" else form.zero.encode()
        if form.transcoder is Transcoder.CUT and not nullable and null != b"null":
            zero = shortened(null, form.argument)
        if constant is not None and isinstance(self.options.mask_of(self.name, column.name), Asterisks):
            null = zero = constant  # NULL is masked too
        return ColumnPlan(
            name=column.name,
            label=label,
            index=index,
            form=form,
            constant=constant,
            in_identity=column.in_key,
            description=description,
            null=null,
            zero=zero,
            placeholder=unchanged,
            default=default,
            parameters={} if of_key else self._parameters(column, told),
            snapshot_parameters={} if of_key else self._parameters(column, told.in_snapshot),
        )

    def _form(self, column: RelationColumn, plain: Form, told: SourceType) -> tuple[Form, bytes | None]:
        mask = self.options.mask_of(self.name, column.name)
        if mask is None:
            length = self.options.truncated(self.name, column.name)
            if length is None:
                return plain, None
            if self.handling.quirks:
                return self._cut(plain, length, told), None
            if is_text(column, self.types):
                return replace(plain, transcoder=Transcoder.TRUNCATED, argument=length), None
            return plain, None
        match mask:
            case Constant(constant=constant):
                return Form(Transcoder.CONSTANT, zero=text(constant).decode()), text(constant)
            case "hmac":
                assert self.mask_key is not None
                return self._digested(hmac_digest(self.mask_key)), None
        if self.handling.quirks and not told.is_text:
            return plain, None  # Debezium's MaskStrings leaves what is no text as it is
        match mask:
            case Asterisks(asterisks=count):
                return self._with_meaning_of(plain, Form(Transcoder.CONSTANT)), text("*" * count)
            case Hashed():
                limited = told.is_text and 0 < told.length < UNLIMITED
                digest = mask.digest(told.length if limited else None)
                form = self._with_meaning_of(plain, self._digested(digest))
                return replace(form, zero=text(digest(b"").decode()).decode()), None

    def _with_meaning_of(self, plain: Form, masked: Form) -> Form:
        """What is masked is an enum still, to Debezium."""
        if not self.handling.quirks:
            return masked
        return replace(
            masked,
            semantic=plain.semantic,
            parameters=plain.parameters,
            connect_parameters=plain.connect_parameters,
        )

    def _cut(self, plain: Form, length: int, told: SourceType) -> Form:
        if told.length <= length:
            return plain
        form = cut_form(plain, length)
        return form if told.in_snapshot.length > length else replace(form, snapshot=plain)

    def _digested(self, digest: Digest) -> Form:
        self.digests.append(digest)
        return Form(Transcoder.DIGEST, len(self.digests) - 1)

    def _placeholder(self, form: Form, source_type: str) -> bytes | None:
        assert self.style.placeholder is not None
        if form.transcoder is Transcoder.DIGEST:
            return text(self.digests[form.argument](self.style.placeholder.encode()).decode())
        found = placeholder(self.style.placeholder, form, source_type)
        if found is not None and form.transcoder is Transcoder.TRUNCATED:
            return text(self.style.placeholder[: form.argument])
        if found is not None and form.transcoder is Transcoder.CUT:
            return shortened(found, form.argument)
        return found

    def _default(self, column: RelationColumn, form: Form, *, nullable: bool, masked: bool) -> bytes | None:
        """Of the Connect schema; what reads a NULL by it takes the default instead (`replace.null.with.default`)."""
        expression = self.facts.defaults.get(column.name)
        if expression is None or not (
            self.handling.quirks or (self.style.with_schemas and not nullable and not masked)
        ):
            return None
        return default_json(expression, column, self.types.get(column.type_oid), form, quirks=self.handling.quirks)

    def _parameters(self, column: RelationColumn, told: SourceType) -> dict[str, str]:
        """Of the Connect schema: those of the one mapper that Debezium gives a column."""
        length = self.options.truncated(self.name, column.name)
        mask = self.options.mask_of(self.name, column.name)
        if mask is not None:
            return {"masked": "true"}
        if length is not None:
            return {"truncateLength": str(length)} if told.length > length else {}
        names = (f"{self.name}.{column.name}", f"{self.name}.{told.name}")
        wanted = zip((self.style.propagated, self.style.propagated_types), names, strict=True)
        if any(matches(pattern, name) for patterns, name in wanted for pattern in patterns):
            return told.parameters(column.name)
        return {}

    def _description(self, column: RelationColumn, label: str, form: Form, *, nullable: bool, masked: bool) -> Column:
        element = form.element if form.transcoder is Transcoder.ARRAY else None
        type_ = type_text(column.type_oid, column.type_modifier, self.types)
        target = target_type(column.type_oid, column.type_modifier, self.types)
        return Column(
            name=label,
            type=type_,
            target_type="text" if masked else target,
            form=form.json,
            semantic=form.semantic,
            items=None
            if element is None
            else Column(
                name=label,
                type=type_.removesuffix("[]"),
                target_type=target.removesuffix("[]"),
                form=element.json,
                semantic=element.semantic,
                parameters=element.parameters,
            ),
            nullable=nullable,
            attnum=self.facts.attnums.get(column.name, 0),
            parameters=form.parameters,
        )


def _check_labels(table: str, columns: Sequence[ColumnPlan]) -> None:
    """Raises: ConfigError: two columns have one name in events."""
    labels = [column.label for column in columns]
    twice = [column.name for column in columns if labels.count(column.label) > 1]
    if twice:
        message = f"table {table}: columns {', '.join(twice)} have the same name in events"
        raise ConfigError([Problem(message, suggestion="field_names: avro_unicode keeps them apart, or exclude one")])
