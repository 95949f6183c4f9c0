"""What each column of a relation needs, decided once: published, masked, truncated, transcoded how. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import orjson

from cdc.errors import ConfigError, Problem, Refused
from cdc.formats.debezium_json import SourceInfo, text
from cdc.formats.handling import Handling, Style
from cdc.schemas import Column
from cdc.table_settings import ColumnSettings, Constant

from .placeholders import placeholder
from .planned import ColumnPlan, TablePlan
from .relation import Relation, RelationColumn
from .types import Form, Transcoder, TypeInfo, form_of, target_type, type_text

__all__ = ["ColumnPlan", "SourceInfo", "TablePlan", "plan_table", "unknown_columns"]

DEFAULT = Handling()
PLAIN = Style()


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
    not_null: Collection[str] = (),
    attnums: Mapping[str, int] | None = None,
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
        not_null: the columns that the catalogue says are NOT NULL; all others may be NULL.
        attnums: column numbers from the catalogue.

    Raises:
        ConfigError: settings ask what a column cannot give.
        Refused: deletes could not carry the event key, see `docs/types.md`, "Keys".
    """
    _check_options(relation, types, options, key_columns, mask_key)
    if not handling.quirks:
        _check_identity(relation, key_columns)
    columns = []
    for index, column in enumerate(relation.columns):
        if not options.publishes(column.name, key_columns):
            continue
        form, constant = _form(column, types, options, handling)
        may_be_null = column.name not in not_null
        description = _description(column, form, types, options, may_be_null, (attnums or {}).get(column.name, 0))
        unchanged = None if style.placeholder is None else placeholder(style.placeholder, form, description.type)
        if unchanged is not None:
            description = replace(description, placeholder=orjson.loads(unchanged))
        columns.append(
            ColumnPlan(
                name=column.name,
                label=column.name,
                index=index,
                form=form,
                constant=constant,
                in_identity=column.in_key,
                description=description,
                zero=b"null" if may_be_null else form.zero.encode(),
                placeholder=unchanged,
            )
        )
    return TablePlan(
        relation=relation,
        topic=topic,
        source=source,
        columns=tuple(columns),
        shown=len(columns),
        key=tuple(key_columns),
        mask_key=mask_key,
        style=style,
        quirks=handling.quirks,
    )


def unknown_columns(relation: Relation, options: ColumnSettings) -> list[Problem]:
    """Columns that the settings name and the table does not have.

    For the table as the catalogue has it now: a Relation from older WAL may lack a column that
    was added since, so `plan_table` does not mind.
    """
    named = {
        "columns.include": options.columns.include or (),
        "columns.exclude": options.columns.exclude or (),
        "mask": options.mask,
        "truncate": options.truncate,
        "message_key": options.message_key or (),
    }
    present = [column.name for column in relation.columns]
    return [
        Problem(
            f"table {relation.schema}.{relation.name} has no column {name} ({setting})",
            suggestion="its columns: " + ", ".join(present),
        )
        for setting, columns in named.items()
        for name in columns
        if name not in present
    ]


def _form(
    column: RelationColumn, types: Mapping[int, TypeInfo], options: ColumnSettings, handling: Handling
) -> tuple[Form, bytes | None]:
    match options.mask.get(column.name):
        case Constant(constant=constant):
            return Form(Transcoder.CONSTANT, zero=text(constant).decode()), text(constant)
        case "hmac":
            return Form(Transcoder.HMAC), None
    form = form_of(column.type_oid, column.type_modifier, types, handling)
    if column.name in options.truncate:
        return Form(Transcoder.TRUNCATED, options.truncate[column.name], semantic=form.semantic), None
    return form, None


def _description(
    column: RelationColumn,
    form: Form,
    types: Mapping[int, TypeInfo],
    options: ColumnSettings,
    nullable: bool,
    attnum: int,
) -> Column:
    masked = column.name in options.mask
    element = form.element
    return Column(
        name=column.name,
        type=type_text(column.type_oid, column.type_modifier, types),
        target_type="text" if masked else target_type(column.type_oid, column.type_modifier, types),
        form=form.json,
        semantic=form.semantic,
        items=None
        if element is None
        else Column(
            name=column.name,
            type=type_text(column.type_oid, column.type_modifier, types).removesuffix("[]"),
            target_type=target_type(column.type_oid, column.type_modifier, types).removesuffix("[]"),
            form=element.json,
            semantic=element.semantic,
            parameters=element.parameters,
        ),
        nullable=nullable,
        attnum=attnum,
        parameters=form.parameters,
    )


def _check_options(
    relation: Relation,
    types: Mapping[int, TypeInfo],
    options: ColumnSettings,
    key_columns: Sequence[str],
    mask_key: bytes | None,
) -> None:
    table = f"{relation.schema}.{relation.name}"
    present = {column.name: column for column in relation.columns}
    problems = [
        Problem(f"table {table}: key column {name} cannot be {how}: rows would share a key")
        for name in key_columns
        for how, columns in (
            ("truncated", set(options.truncate)),
            ("masked by a constant", {n for n, mask in options.mask.items() if isinstance(mask, Constant)}),
        )
        if name in columns
    ]
    problems += [
        Problem(f"table {table}: column {name} is not text, only text can be truncated")
        for name in options.truncate
        if name in present and not _is_text(present[name], types)
    ]
    if mask_key is None and "hmac" in options.mask.values():
        problems.append(
            Problem(f"table {table}: mask: hmac needs a key", suggestion="set mask_key_file for the connector")
        )
    if problems:
        raise ConfigError(problems)


def _is_text(column: RelationColumn, types: Mapping[int, TypeInfo]) -> bool:
    form = form_of(column.type_oid, column.type_modifier, types, Handling(decimal="precise"))  # a number is no text
    return form.transcoder is Transcoder.TEXT and form.semantic is None


def _check_identity(relation: Relation, key_columns: Sequence[str]) -> None:
    """Old keys must come with deletes and key changes, or ghosts of rows would stay for ever."""
    table = f"{relation.schema}.{relation.name}"
    by_name = {column.name: column for column in relation.columns}
    gone = [name for name in key_columns if name not in by_name]
    if gone:
        raise Refused(
            f"table {table}: key column {', '.join(gone)} is not in the publication",
            hint=f"publish all columns of the key of {table}",
        )
    # Under `n`, or `d` without a primary key, the server refuses updates and deletes itself.
    identified = [column.name for column in relation.columns if column.in_key]
    unknown = [name for name in key_columns if name not in identified]
    if relation.replica_identity in "di" and identified and unknown:
        raise Refused(
            f"table {table}: key column {', '.join(unknown)} is not in the replica identity "
            f"({', '.join(identified)}), so that deletes cannot carry the key",
            hint=f"ALTER TABLE {table} REPLICA IDENTITY FULL, or set message_key: [{', '.join(identified)}]",
        )
