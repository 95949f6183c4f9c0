"""What of the settings a table cannot do. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cdc.errors import ConfigError, Problem, Refused
from cdc.formats.handling import Handling
from cdc.patterns import is_expression
from cdc.table_settings import Asterisks, ColumnSettings, Constant

from .form import Transcoder
from .forms import form_of
from .relation import Relation, RelationColumn
from .types import TypeInfo


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
        if name not in present and not is_expression(name)
    ]


def check_options(
    relation: Relation,
    types: Mapping[int, TypeInfo],
    options: ColumnSettings,
    key_columns: Sequence[str],
    mask_key: bytes | None,
    *,
    quirks: bool,
) -> None:
    """Raises: ConfigError: settings ask what a column cannot give."""
    table = f"{relation.schema}.{relation.name}"
    present = {column.name: column for column in relation.columns}
    problems = [
        Problem(f"table {table}: key column {name} cannot be {how}: rows would share a key")
        for name in (key_columns if not quirks else ())
        for how, told in (
            ("truncated", options.truncated(table, name) is not None),
            ("masked by a constant", isinstance(options.mask_of(table, name), Constant | Asterisks)),
        )
        if told
    ]
    problems += [
        Problem(f"table {table}: column {name} is not text, only text can be truncated")
        for name in options.truncate
        if not quirks and name in present and not is_text(present[name], types)
    ]
    if mask_key is None and "hmac" in options.mask.values():
        problems.append(
            Problem(f"table {table}: mask: hmac needs a key", suggestion="set mask_key_file for the connector")
        )
    if problems:
        raise ConfigError(problems)


def is_text(column: RelationColumn, types: Mapping[int, TypeInfo]) -> bool:
    """Whether a column can be truncated."""
    form = form_of(column.type_oid, column.type_modifier, types, Handling(decimal="precise"))  # a number is no text
    return form is not None and form.transcoder is Transcoder.TEXT and form.semantic is None


def check_identity(relation: Relation, key_columns: Sequence[str], *, quirks: bool) -> None:
    """Old keys must come with deletes and key changes, or ghosts of rows would stay for ever.

    Raises: Refused.
    """
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
    if relation.replica_identity in "di" and identified and unknown and not quirks:
        raise Refused(
            f"table {table}: key column {', '.join(unknown)} is not in the replica identity "
            f"({', '.join(identified)}), so that deletes cannot carry the key",
            hint=f"ALTER TABLE {table} REPLICA IDENTITY FULL, or set message_key: [{', '.join(identified)}]",
        )
