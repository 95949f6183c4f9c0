"""Going on where a Debezium connector stopped: its offset and its slot → a position of ours. Reads the database only.

Debezium stores LSNs: that of the last change that it published, and the end of the commit before it
(`PostgresOffsetContext.getOffset`: `lsn`, `lsn_commit`). It confirms no more than `lsn_commit`
(`PostgresConnectorTask.commit`), so the slot still has the transaction of that change. That is the first one that
ends behind `lsn_commit` (`WalPositionLocator`); its messages up to the change are what was published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

import structlog

from cdc.errors import Gap, Refused, SourceUnavailable

from .capture import Capture
from .catalog import Session, find_publication, reading
from .ddl import separates
from .ledger import Ledger
from .options import StartFrom
from .pgoutput import DELETE, INSERT, UPDATE, Begin, Commit, Message, Truncate, lsn_text, parse
from .position import Origin, WalPosition
from .sessions import Sessions
from .slot import Slot

T = TypeVar("T")

_ROWS = frozenset((INSERT, UPDATE, DELETE))

PEEK_QUERY = """
SELECT lsn - '0/0'::pg_lsn, CASE WHEN get_byte(data, 0) = ANY (%s) THEN substring(data FROM 1 FOR 1) ELSE data END
FROM pg_logical_slot_peek_binary_changes(%s, NULL, %s,
    'proto_version', '1', 'publication_names', %s, 'messages', 'true')
"""
"""With logical messages whether they are read or not: Debezium may have stopped at one. Of rows the kind is enough."""

PEEK_ROWS = 1000
"""Fetched at once: a transaction may have more than fit into memory."""


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


def take_over(
    capture: Capture, ledger: Ledger, publication: str, publish: Callable[[], Origin], subject: str
) -> Origin:
    """What Debezium's publication has was published, by it, or by nobody, as it was asked to; the rest is read.

    Args:
        capture: the tables.
        ledger: of a first start.
        publication: its name.
        publish: gives the publication what it lacks.
        subject: what to call the connector.
    Raises:
        Gap: the publication is gone, and made anew it would have nothing of what was before.
    """
    before = find_publication(capture.session, publication, subject)
    if before is None:
        raise Gap(f"{subject}: publication {publication}, by which Debezium read, is gone")
    origin = publish()
    had = {table.full_name for table in capture.tables if (table.schema, table.name) in before.tables}
    ledger.finish(had, capture.publication)
    capture.revise()
    capture.cover()
    return origin


def position(
    sessions: Sessions, slot: Slot, name: str, origin: Origin, offset: StartFrom, each_second: Callable[[], None]
) -> WalPosition:
    """Where to start.

    Args:
        sessions: of the database; looking into the slot has one of its own, as it may take long.
        slot, name: Debezium's.
        origin: what positions belong to.
        offset: Debezium's.
        each_second: called meanwhile; may raise to give up.

    Raises:
        Gap: the slot is further than the offset.
        Refused: the slot is of another plugin.
        SourceUnavailable: Debezium still reads from it.
    """
    subject = sessions.subject
    confirmed = check(slot, name, offset, subject)
    read_to = offset.lsn_commit or confirmed
    with sessions.catalog() as session:
        found = _beside(
            lambda: _look_into(session, name, origin.publication, read_to, offset.lsn, subject),
            session.cancel,
            each_second,
        )
    if found is None:
        return WalPosition(origin, max(read_to - 1, 0), 0, whole=True, end_lsn=read_to, last_commit=read_to)
    if found.shared > 1:
        structlog.get_logger().warning(
            f"{subject}: {found.shared} rows have the LSN at which Debezium stopped: those of them that are not on "
            "their topics are published",
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


def _look_into(
    session: Session, slot: str, publication: str, read_to: int, lsn: int | None, subject: str
) -> Found | None:
    """What `find` finds in the slot; None: there is no such transaction."""
    limit = 1
    while True:
        seen = count()
        with reading(subject), session.transaction(), session.cursor("peek") as cursor:
            # The server decodes from where the slot's WAL begins, and whole transactions.
            session.execute("SET LOCAL statement_timeout = 0")
            cursor.itersize = PEEK_ROWS
            cursor.execute(PEEK_QUERY, [list(_ROWS), slot, limit, f'"{publication}"'])
            found = find(((int(at), bytes(data)) for (at, data), _ in zip(cursor, seen, strict=False)), read_to, lsn)
        rows = next(seen)
        if found is not None or rows < limit:
            return found
        limit = 2 * max(limit, rows)


def _beside(work: Callable[[], T], cancel: Callable[[], None], each_second: Callable[[], None]) -> T:
    """What `work` gives, in a thread of its own; it is cancelled where `each_second` raises."""
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(work)
        try:
            while wait([future], 1.0).not_done:
                each_second()
        except BaseException:
            while not future.done():
                cancel()
                wait([future], 0.1)
            raise
        return future.result()


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
    what is on the topics already is left out there (`cdc.ahead`).

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
                within += not separates(message)
            else:
                continue
        if begin is not None and at == lsn:
            shared += 1
            unshared = before if shared == 1 else unshared
            published = (ordinal, within) if shared == 1 else unshared
    return None
