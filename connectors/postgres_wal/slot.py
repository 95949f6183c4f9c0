"""The slot, and the server it is on: made, checked at every start. Touches the database.

Source: https://www.postgresql.org/docs/current/logicaldecoding.html and
https://www.postgresql.org/docs/current/view-pg-replication-slots.html
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psycopg
import structlog
from psycopg import sql

from cdc.errors import CdcError, Gap, Refused, SourceError, SourceUnavailable

from .catalog import OLDEST_SERVER, Session, reading
from .pgoutput import lsn_text, parse_lsn
from .position import WalPosition
from .replication import ReplicationConnection, ReplicationError
from .writers import oldest_writer

FAILOVER_SINCE = 170000

WAITING_SECONDS = 5.0
"""After this long a wait for other transactions is told, with the one that is waited for."""

OBJECT_IN_USE = "55006"
OBJECT_NOT_IN_PREREQUISITE_STATE = "55000"
UNDEFINED_OBJECT = "42704"
INSUFFICIENT_PRIVILEGE = "42501"
CONFIGURATION_LIMIT_EXCEEDED = "53400"


@dataclass(frozen=True, slots=True)
class Slot:
    """A row of pg_replication_slots. LSNs are numbers; None where the server says NULL."""

    plugin: str | None
    database: str | None
    active_pid: int | None
    confirmed: int | None
    status: str | None
    retained_bytes: int | None
    safe_bytes: int | None


@dataclass(frozen=True, slots=True)
class System:
    """Answer of IDENTIFY_SYSTEM."""

    identifier: str
    timeline: int
    flushed: int


def identify(connection: ReplicationConnection) -> System:
    """Which cluster this is, and how far it got."""
    identifier, timeline, flushed, *_ = connection.execute("IDENTIFY_SYSTEM")[0]
    return System(str(identifier), int(str(timeline)), parse_lsn(str(flushed)))


SLOT_QUERY = """
SELECT plugin, database, active_pid, confirmed_flush_lsn::text, wal_status,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END,
                       restart_lsn)::bigint,
       safe_wal_size::bigint
FROM pg_replication_slots WHERE slot_name = %s
"""


def find_slot(connection: Session, name: str, subject: str) -> Slot | None:
    """The slot of that name, or None."""
    with reading(subject):
        row = connection.execute(SLOT_QUERY, [name]).fetchone()
    if row is None:
        return None
    plugin, database, pid, confirmed, status, retained, safe = row
    return Slot(plugin, database, pid, None if confirmed is None else parse_lsn(confirmed), status, retained, safe)


def create_slot(
    connection: ReplicationConnection,
    catalog: Session,
    name: str,
    subject: str,
    *,
    temporary: bool = False,
    each_second: Callable[[], None],
) -> tuple[int, str]:
    """Create a pgoutput slot that exports its snapshot; waits for running write transactions.

    Args:
        connection: makes the slot; must stay idle as long as the snapshot is to be imported.
        catalog: tells who is waited for.
        each_second: called while waiting; may raise to give up.
    Returns: the consistent point, and the snapshot's name.
    Raises: SourceError, SourceUnavailable.
    """
    began = time.monotonic()
    told = False

    def while_waiting() -> None:
        nonlocal told
        each_second()
        if not told and time.monotonic() - began > WAITING_SECONDS:
            told = True
            writer = oldest_writer(catalog, subject)
            structlog.get_logger().warning(
                f"{subject}: slot {name} waits for running transactions",
                oldest=writer.name if writer else None,
                seconds=writer.seconds if writer else None,
            )

    options = ["SNAPSHOT 'export'"]
    if catalog.info.server_version >= FAILOVER_SINCE and not temporary:
        options.append("FAILOVER")
    kind = "TEMPORARY " if temporary else ""
    quoted = sql.Identifier(name).as_string()
    command = f"CREATE_REPLICATION_SLOT {quoted} {kind}LOGICAL pgoutput ({', '.join(options)})"
    try:
        _, consistent_point, snapshot, _ = connection.execute(command, while_waiting)[0]
    except ReplicationError as error:
        raise _refused_slot(error, name, subject) from error
    return parse_lsn(str(consistent_point)), str(snapshot)


def drop_slot(connection: ReplicationConnection, name: str, *, each_second: Callable[[], None]) -> None:
    """Drop the slot; waits until it is free. `each_second` is called meanwhile; it may raise to give up."""
    connection.execute(f"DROP_REPLICATION_SLOT {sql.Identifier(name).as_string()} WAIT", each_second)


def drop_free_slot(session: Session, name: str, subject: str) -> None:
    """Drop a slot whose stream was just closed; its session may take a moment to end.

    Raises: SourceUnavailable: it is still in use.
    """
    deadline = time.monotonic() + WAITING_SECONDS
    while True:
        try:
            session.execute("SELECT pg_drop_replication_slot(%s)", [name])
        except psycopg.errors.ObjectInUse as error:
            if time.monotonic() > deadline:
                raise SourceUnavailable(f"{subject}: slot {name} is still in use, to be dropped later") from error
            time.sleep(0.05)
        except psycopg.Error as error:
            raise SourceUnavailable(
                f"{subject}: slot {name} could not be dropped: {error.diag.message_primary}"
            ) from error
        else:
            return


def end_abandoned(session: Session, prefix: str, subject: str) -> None:
    """End sessions of killed copies that still wait to make a temporary slot; call it with the connector's lock."""
    with reading(subject), suppress(psycopg.errors.InsufficientPrivilege):
        session.execute(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
            "WHERE temporary AND active_pid IS NOT NULL AND starts_with(slot_name, %s)",
            [prefix],
        )


def start_replication(connection: ReplicationConnection, slot: str, position: int, publication: str) -> None:
    """Begin the COPY stream (pgoutput, protocol version 1, text), with logical messages: DDL is told by such.

    The server cannot choose them by prefix.

    Raises: ReplicationError with SQLSTATE 55006 (in use) or 55000 (lost).
    """
    names = sql.Literal(sql.Identifier(publication).as_string()).as_string()
    options = f"proto_version '1', publication_names {names}, messages 'true'"
    connection.execute(
        f"START_REPLICATION SLOT {sql.Identifier(slot).as_string()} LOGICAL {lsn_text(position)} ({options})"
    )


def check_slot(slot: Slot | None, name: str, stored: WalPosition, now: int, subject: str) -> None:
    """Refuse to stream when changes behind the stored position may be gone.

    Raises: Gap: names the slot and the range of LSNs.
    """
    missing = f"changes from {lsn_text(stored.end_lsn)} to {lsn_text(now)} (now) may be missing"
    if now < stored.end_lsn:
        raise Gap(
            f"{subject}: the server is at {lsn_text(now)}, behind the stored position {lsn_text(stored.end_lsn)}: "
            "it was set back, and what it did since was published"
        )
    if slot is None:
        raise Gap(f"{subject}: replication slot {name} is gone; {missing}")
    if slot.plugin != "pgoutput":
        raise Refused(f"{subject}: replication slot {name} belongs to plugin {slot.plugin}, not pgoutput")
    if slot.status == "lost" or slot.confirmed is None:
        raise Gap(f"{subject}: replication slot {name} was invalidated, its WAL is removed; {missing}")
    if slot.confirmed > stored.end_lsn:
        raise Gap(
            f"{subject}: replication slot {name} was advanced to {lsn_text(slot.confirmed)}, past the stored position: "
            f"changes from {lsn_text(stored.end_lsn)} to {lsn_text(slot.confirmed)} are missing"
        )


def check_timeline(connection: ReplicationConnection, system: System, stored: WalPosition, subject: str) -> None:
    """Go along with a promotion that left our timeline at or after the stored position.

    Raises: Gap: another cluster, or a timeline without our last changes. Not lasting: on the server
        that was meant, nothing may be missing.
    """
    origin = stored.origin
    if system.identifier != origin.system:
        raise Gap(
            f"{subject}: this is another cluster: system identifier {system.identifier}, "
            f"the stored position is of {origin.system}",
            hint="if `databases` names the right server (after pg_upgrade, or a restore): "
            f"`cdc heal {subject.removeprefix('connector ')}` shows what it takes to go on with it",
            lasting=False,
        )
    if system.timeline == origin.timeline:
        return
    history = connection.execute(f"TIMELINE_HISTORY {system.timeline}")[0][1] or ""
    for line in history.splitlines():
        fields = line.split("\t")
        if len(fields) >= 2 and fields[0].strip() == str(origin.timeline):
            if parse_lsn(fields[1].strip()) >= max(stored.commit_lsn, stored.end_lsn):
                return
            raise Gap(
                f"{subject}: the server was promoted to timeline {system.timeline}, which left timeline "
                f"{origin.timeline} at {fields[1].strip()}, before the stored position {lsn_text(stored.end_lsn)}: "
                "changes already published never happened there",
                lasting=False,
            )
    came = f"timeline {system.timeline} of the server does not come from {origin.timeline}"
    raise Gap(f"{subject}: {came}", lasting=False)


def lost(error: ReplicationError, slot: str, stored: WalPosition, subject: str) -> CdcError:
    """What a refused START_REPLICATION means."""
    if error.sqlstate == OBJECT_IN_USE:
        return SourceUnavailable(
            f"{subject}: replication slot {slot} is in use by another session: {error.message}",
            hint="SELECT active_pid FROM pg_replication_slots tells which; it is tried again",
        )
    if error.sqlstate in (OBJECT_NOT_IN_PREREQUISITE_STATE, UNDEFINED_OBJECT):
        return Gap(f"{subject}: replication slot {slot}: {error.message}; stored is {lsn_text(stored.end_lsn)}")
    return error


def _refused_slot(error: ReplicationError, slot: str, subject: str) -> CdcError:
    """What a refused CREATE_REPLICATION_SLOT means."""
    if error.sqlstate == INSUFFICIENT_PRIVILEGE:
        return SourceError(
            f"{subject}: may not create replication slot {slot}: {error.message}",
            hint="a superuser runs: ALTER ROLE … REPLICATION; (or your provider's grant of its replication role)",
        )
    if error.sqlstate == CONFIGURATION_LIMIT_EXCEEDED:
        return SourceError(
            f"{subject}: no room for replication slot {slot}: {error.message}",
            hint="raise max_replication_slots and restart the server, or drop a slot that nobody uses",
        )
    return error


def check_server(connection: Session, subject: str) -> None:
    """Refuse servers that cannot be read from.

    Raises: SourceError: too old, a standby, or wal_level below logical.
    """
    version = connection.info.server_version
    if version < OLDEST_SERVER:
        raise SourceError(f"{subject}: PostgreSQL {version // 10000} is too old; 15 and later are read")
    with reading(subject):
        row = connection.execute("SELECT current_setting('wal_level'), pg_is_in_recovery()").fetchone()
    assert row is not None
    level, standby = row
    if standby:
        raise SourceError(
            f"{subject}: the server is a standby",
            hint="point the database at the primary: on a standby a slot cannot be kept safe through a promotion yet",
        )
    if level != "logical":
        raise SourceError(
            f"{subject}: wal_level is {level}, it must be logical",
            hint="ALTER SYSTEM SET wal_level = 'logical'; then restart the server",
        )
