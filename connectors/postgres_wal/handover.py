"""Going on where a Debezium connector stopped: its offset and its slot → a position of ours. Reads the database only.

Debezium stores LSNs: that of the last change that it published, and the end of the commit before it
(`PostgresOffsetContext.getOffset`: `lsn`, `lsn_commit`). It confirms no more than `lsn_commit`
(`PostgresConnectorTask.commit`), so the slot still has the transaction of that change. That is the first one that
ends behind `lsn_commit` (`WalPositionLocator`); its messages up to the change are what was published.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from cdc.errors import Gap, Refused, SourceUnavailable

from .catalog import Session, reading
from .pgoutput import DELETE, INSERT, UPDATE, Begin, Commit, Message, Truncate, lsn_text, parse
from .position import Origin, WalPosition
from .settings import StartFrom
from .slot import Slot

_ROWS = frozenset((INSERT, UPDATE, DELETE))

PEEK_QUERY = """
SELECT lsn - '0/0'::pg_lsn, data FROM pg_logical_slot_peek_binary_changes(%s, NULL, %s,
    'proto_version', '1', 'publication_names', %s, 'messages', %s)
"""


@dataclass(frozen=True, slots=True)
class Found:
    """The transaction in which Debezium stopped.

    Args:
        commit_lsn: start of its commit record.
        ordinal, messages: what of it is published, as in `WalPosition`.
        shared: how many rows have the LSN of the last one that is published.
    """

    commit_lsn: int
    ordinal: int
    messages: int
    shared: int


def position(
    session: Session, slot: Slot, name: str, origin: Origin, offset: StartFrom, *, messages: bool, subject: str
) -> WalPosition:
    """Where to start.

    Args:
        session: of the catalog.
        slot, name: Debezium's.
        origin: what positions belong to.
        offset: Debezium's.
        messages: whether logical messages are read.
        subject: what to call the connector.

    Raises:
        Gap: the slot is further than the offset.
        Refused: the slot is of another plugin.
        SourceUnavailable: Debezium still reads from it.
    """
    confirmed = check(slot, name, offset, subject)
    read_to = offset.lsn_commit or confirmed
    found, limit = None, 1
    while found is None:
        with reading(subject):
            rows = session.execute(
                PEEK_QUERY, [name, limit, f'"{origin.publication}"', str(messages).lower()]
            ).fetchall()
        found = find(((int(lsn), bytes(data)) for lsn, data in rows), read_to, offset.lsn)
        if found is None and len(rows) < limit:
            return WalPosition(origin, max(read_to - 1, 0), 0, whole=True, end_lsn=read_to, last_commit=read_to)
        limit = 2 * max(limit, len(rows))
    if found.shared > 1:
        structlog.get_logger().warning(
            f"{subject}: {found.shared} rows have the LSN at which Debezium stopped, and come again",
            lsn=lsn_text(offset.lsn or 0),
        )
    return WalPosition(
        origin,
        found.commit_lsn,
        found.ordinal,
        whole=False,
        end_lsn=read_to,
        last_commit=offset.lsn_commit or 0,
        messages=found.messages,
    )


def check(slot: Slot, name: str, offset: StartFrom, subject: str) -> int:
    """Whether the slot can be gone on with; what it was confirmed. Raises: as `position`."""
    if slot.plugin != "pgoutput":
        raise Refused(f"{subject}: replication slot {name} belongs to plugin {slot.plugin}, not pgoutput")
    if slot.active_pid is not None:
        raise SourceUnavailable(
            f"{subject}: replication slot {name} is in use", hint="stop the Debezium connector; it is tried again"
        )
    if slot.status == "lost" or slot.confirmed is None:
        raise Gap(f"{subject}: replication slot {name} was invalidated, its WAL is removed")
    reached = offset.lsn_commit if offset.lsn_commit is not None else offset.lsn
    if reached is not None and slot.confirmed > reached:
        raise Gap(
            f"{subject}: replication slot {name} was advanced to {lsn_text(slot.confirmed)}, past Debezium's offset "
            f"{lsn_text(reached)}: changes between them may be missing",
            hint="`start_from` must be the offset that the connector had when it was stopped for good",
        )
    return slot.confirmed


def find(messages: Iterable[tuple[int, bytes]], read_to: int, lsn: int | None) -> Found | None:
    """The first transaction that ends behind `read_to`, and how much of it is published.

    Where several rows share the LSN of the last one that is published (rows of one COPY do) none of them counts:
    rather twice than never.

    Args:
        messages: LSN and pgoutput message, from the begin of a transaction on.
        read_to: end of the last whole transaction.
        lsn: of the last change that is published; None: none behind `read_to`.
    """
    begin: Begin | None = None
    ordinal = within = shared = 0
    published = unshared = (0, 0)
    for at, data in messages:
        before = (ordinal, within)
        if data[0] in _ROWS:
            ordinal, within = ordinal + 1, 0
        else:
            message = parse(data, 0)
            if isinstance(message, Begin):
                begin, ordinal, within, shared, published = message, 0, 0, 0, (0, 0)
                continue
            if isinstance(message, Commit):
                if begin is not None and message.end_lsn > read_to:
                    return Found(begin.final_lsn, *published, shared)
                begin = None
                continue
            if isinstance(message, Truncate):
                ordinal, within = ordinal + 1, 0
            elif isinstance(message, Message) and message.transactional:
                within += 1
            else:
                continue
        if begin is not None and at == lsn:
            shared += 1
            unshared = before if shared == 1 else unshared
            published = (ordinal, within) if shared == 1 else unshared
    return None
