"""What PostgreSQL reports → the project's errors, without values. Pure.

PostgreSQL's own messages quote rows ("Key (email)=(…) already exists"), so only the SQLSTATE
and the names of constraint, column and table are told.
"""

from __future__ import annotations

import re
from typing import Final

import psycopg
from psycopg import errors

from cdc.errors import SinkError, TargetUnavailable

_ROW_CLASSES: Final = ("22", "23", "44", "P0")
_ROW_STATES: Final = frozenset({
    "21000",  # two events of one statement meet in one row: applied one by one, they do not
    "54000",  # an index entry too large, say
})  # fmt: skip

_FOR_NOW: Final = ("08", "25", "40", "53", "55", "57", "58")
"""Classes that pass: connections, deadlocks, resources, locks, shutdowns, disks."""

_UNFIT_LOGIN: Final = (
    "password authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "does not exist",
    "is not permitted to log in",
)
"""What libpq says where another try says the same; a connection that fails has no SQLSTATE."""

_LOOK_AGAIN: Final = frozenset({"42P01", "42703", "42804", "42P10"})
"""A table was changed while it was being written."""


def is_rows_fault(error: psycopg.Error) -> bool:
    """Whether another row might have been taken."""
    state = error.sqlstate or ""
    return state[:2] in _ROW_CLASSES or state in _ROW_STATES


def reason_of(error: psycopg.Error) -> str:
    """Why a row was refused: `CheckViolation (23514), constraint orders_total_check`."""
    diagnosed = error.diag
    column = diagnosed.column_name or _copied_column(diagnosed.context)
    named = [f"{what} {name}" for what, name in (("constraint", diagnosed.constraint_name), ("column", column)) if name]
    return ", ".join([f"{type(error).__name__} ({error.sqlstate})", *named])


def translated(error: psycopg.Error, target: str) -> SinkError:
    """The project's error for one that is no row's fault.

    Args:
        error: what psycopg raised.
        target: the database, as it may be shown.
    """
    state = error.sqlstate or ""
    if isinstance(error, errors.InsufficientPrivilege):
        return SinkError(
            f"target {target}: missing right{_on_table(error)} (SQLSTATE 42501)",
            hint="`cdc check` shows the GRANT that is missing",
        )
    what = f"{type(error).__name__}{f' ({state})' if state else ''}"
    if state in _LOOK_AGAIN:
        return TargetUnavailable(f"target {target}: a table was changed while it was written: {what}")
    if isinstance(error, psycopg.OperationalError) and not state:
        return _unconnected(target, " ".join(str(error).split()))
    if not state or state[:2] in _FOR_NOW:
        return TargetUnavailable(f"target {target} cannot be written for now: {what}")
    return SinkError(f"target {target}: {what}{_on_table(error)}")


def _on_table(error: psycopg.Error) -> str:
    return f" on table {error.diag.table_name}" if error.diag.table_name else ""


def _unconnected(target: str, words: str) -> SinkError:
    """libpq's words about a connection; they hold no rows, and no passwords."""
    if any(unfit in words for unfit in _UNFIT_LOGIN):
        return SinkError(f"target {target}: cannot connect: {words}", hint="check the database's url and password")
    return TargetUnavailable(
        f"target {target}: cannot connect: {words}", hint="it is tried again; check that the server can be reached"
    )


def _copied_column(context: str | None) -> str | None:
    """The column a COPY failed in, from `COPY stage, line 3, column amount: "…"`."""
    found = re.match(r"COPY \S+, line \d+, column ([^:\"]+)", context or "")
    return found[1] if found else None
