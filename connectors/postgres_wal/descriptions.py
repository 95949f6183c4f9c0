"""What goes to the schemas topic: tables as their events show them, and the DDL that changed them.

Pure but for what it is given, and a log line where a message is not as it should be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import structlog

from cdc.errors import ProtocolError, SourceUnavailable
from cdc.event import BY_KEY, Record

from .ddl import statements
from .tables import PlannedTable


@dataclass(slots=True)
class Descriptions:
    """Makes the records of one connector's stream for the schemas topic.

    Args:
        topic: its name.
        is_new: a table and its description → whether it was described otherwise before.
        admit: a table in a form that is new to this run, and its position; raises SchemaChanged.
        revision: how many forms a table has had.
        captures: a table's name, and whether it is a partition → whether it is captured.
        streamed: of each table the commit by which the stream described it last in this run, and that description,
            without position.
    """

    topic: str
    is_new: Callable[[str, bytes], bool]
    admit: Callable[[PlannedTable, str], None] = lambda table, position: None
    revision: Callable[[str], int] = lambda table: 0
    captures: Callable[[str, bool], bool] = lambda table, partition: False
    streamed: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    _keys: dict[str, Sequence[str]] = field(default_factory=dict)

    def of_table(self, table: PlannedTable, position: str, commit_lsn: int | None, *, reading: bool) -> list[Record]:
        """Describe a table before its first event in this form.

        Args:
            position: of that event.
            commit_lsn: of its transaction; None for a snapshot.
            reading: whether the table's rows are being read.
        Raises:
            SourceUnavailable: its key is another one than while its rows are read.
            SchemaChanged: its columns are others than its policy lets through.
        """
        self.admit(table, position)
        known, self._keys[table.full_name] = self._keys.get(table.full_name), table.plan.key
        if known not in (None, table.plan.key) and reading:
            what = f"the key of table {table.full_name} has changed while its rows are read"
            raise SourceUnavailable(f"{what}; starting over with the new one")
        schema = table.schema(position)
        keys = [schema.table]
        description = replace(schema, position="").to_bytes()
        if commit_lsn is not None:
            self.streamed[table.full_name] = (commit_lsn, description)
        if self.is_new(schema.table, description):
            # Kept for ever: older events are read by it.
            keys.append(f"{schema.table}@{position}")
        written = replace(schema, revision=self.revision(schema.table)).to_bytes()
        return [self._record(key.encode(), written) for key in keys]

    def of_ddl(self, content: bytes, *, position: str, number: int, lsn: int, ts_ms: int) -> list[Record]:
        """A statement of which the source told; arguments as those of `ddl.statements`."""
        try:
            found = statements(content, self.captures, position=position, number=number, lsn=lsn, ts_ms=ts_ms)
        except ProtocolError as error:
            # Any role may write such a message; so it may be anything, and stops nothing.
            structlog.get_logger().warning("left out", error=error.message, position=position)
            return []
        return [self._record(one.key, one.to_bytes()) for one in found]

    def _record(self, key: bytes, value: bytes) -> Record:
        return self.topic, key, value, BY_KEY, 0, None
