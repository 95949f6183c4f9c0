"""Rows → the target table, inside the batch's transaction. Touches the target."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import psycopg
from psycopg import sql

from cdc.errors import RowRefused
from sinks.postgres import statements
from sinks.postgres.decode import Row, Wholeness, refused
from sinks.postgres.failures import is_rows_fault, reason_of
from sinks.postgres.merge import Changes, Group
from sinks.postgres.tables import POS, Target

Connection = psycopg.Connection[Any]

STAGES: Final = 100
"""Temporary tables of one session, at most; each set of columns of a table has one."""


class RowMissing(Exception):
    """An event left out unchanged columns, and the target does not have its row."""


class Writer:
    """Writes to target tables over one connection.

    Every set of columns has a stage: a temporary table that COPY fills and one statement
    empties into the target.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stages: dict[tuple[str, tuple[str, ...]], str] = {}

    def prepare(self, work: Iterable[tuple[Target, Changes]]) -> None:
        """Create the stages that a batch needs; outside its transaction."""
        if len(self._stages) > STAGES:
            self.forget()
        for target, changes in work:
            self._prepare(target, changes)

    def _prepare(self, target: Target, changes: Changes) -> None:
        if changes.deletes:
            self._stage(target, (*target.key, POS))
        for group in changes.writes:
            self._stage(target, statements.staged_columns(target, group.columns))

    def forget(self) -> None:
        """Drop all stages: a table has changed, or there are too many."""
        self._connection.execute("DISCARD TEMP")
        self._stages.clear()

    def truncate(self, target: Target, position: bytes) -> None:
        """Take away every row that is older than a truncate."""
        self._connection.execute(statements.truncate(target), {"pos": position.decode()})

    def sweep(self, target: Target) -> None:
        """Take away every row that was not on the topic when that was read anew."""
        self._connection.execute(statements.sweep(target))

    def write(self, target: Target, changes: Changes) -> None:
        """Write what a batch does to a table, all of it.

        Raises:
            psycopg.Error, RowMissing: some row is refused.
        """
        if changes.deletes:
            self._delete(target, changes.deletes)
        for group, rows in changes.writes.items():
            self._write(target, group, rows)

    def isolate(self, target: Target, changes: Changes) -> list[RowRefused]:
        """Write what can be written, and find each row that is refused; under savepoints."""
        found = self._bisect(changes.deletes, lambda rows: self._delete(target, rows))
        for group, rows in changes.writes.items():
            found += self._bisect(rows, lambda some, group=group: self._write(target, group, some))  # type: ignore[misc]
        return found

    def _bisect(self, rows: Sequence[Row], write: Callable[[Sequence[Row]], str]) -> list[RowRefused]:
        if not rows:
            return []
        try:
            with self._connection.transaction():
                stage = write(rows)
                # Deferred constraints too: at the commit it could no longer be told whose fault it is.
                self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
                self._connection.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier("pg_temp", stage)))
            return []
        except RowMissing:
            reason = "it leaves out unchanged columns, and the target does not have the row"
        except psycopg.Error as error:
            if not is_rows_fault(error):
                raise
            reason = reason_of(error)
        if len(rows) == 1:
            return [refused(rows[0].event, reason)]
        middle = len(rows) // 2
        return [*self._bisect(rows[:middle], write), *self._bisect(rows[middle:], write)]

    def _delete(self, target: Target, rows: Sequence[Row]) -> str:
        stage = self._copy(target, (*target.key, POS), [row.line for row in rows])
        # Not prepared: a plan made while the table was small would scan it when it is large.
        self._connection.execute(statements.delete(target, stage), prepare=False)
        return stage

    def _write(self, target: Target, group: Group, rows: Sequence[Row]) -> str:
        columns = statements.staged_columns(target, group.columns)
        stage = self._copy(target, columns, [_line(row, target) for row in rows])
        if not target.key:
            self._connection.execute(statements.append(target, stage, columns))
        elif group.wholeness is Wholeness.WHOLE:
            self._connection.execute(statements.upsert(target, stage, columns))
        else:
            self._connection.execute(statements.update(target, stage, columns), prepare=False)
            missing = statements.missing(target, stage)
            if group.wholeness is Wholeness.PARTIAL and self._connection.execute(missing, prepare=False).fetchone():
                raise RowMissing
        return stage

    def _copy(self, target: Target, columns: tuple[str, ...], lines: Sequence[bytes]) -> str:
        name = self._stages[target.full_name, columns]
        with self._connection.cursor() as cursor, cursor.copy(statements.copy(name, columns)) as copy:
            copy.write(b"\n".join(lines) + b"\n")
        return name

    def _stage(self, target: Target, columns: tuple[str, ...]) -> None:
        if (target.full_name, columns) not in self._stages:
            name = f"cdc_stage_{len(self._stages)}"
            self._connection.execute(statements.stage(target, name, columns))
            self._stages[target.full_name, columns] = name


def _line(row: Row, target: Target) -> bytes:
    return row.line if target.key else b"%b\t%c" % (row.line, row.op)
