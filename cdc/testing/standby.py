"""A physical standby of a test's PostgreSQL server, and its promotion. Starts processes, connects to Postgres."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence

import psycopg
from psycopg.conninfo import make_conninfo

from cdc.testing.process import ServerError
from cdc.testing.proxy import ProxiedPostgres
from cdc.testing.servers import PostgresInstallation, PostgresServer
from cdc.testing.system import HOST, as_user, wait_for

FAILOVER_SINCE = 17
"""From this version on logical slots can follow to a standby."""

_SLOT = "standby"
_HOLDER = "holder"

_CATCH_UP_SECONDS = 60.0


class PostgresStandby(PostgresServer):
    """A hot standby that streams from a running primary through a slot of its own; later a primary itself.

    From PostgreSQL 17 on it keeps copies of the primary's failover slots up to date.

    Args:
        primary: must run, its `synchronized_standby_slots` says whether it waits for this one.
        slot: a physical replication slot, made on the primary.
        upstream_port: where the primary is reached; its own port if not given (a proxy's, say).
        settings: of postgresql.conf.
    """

    name = "postgres-standby"

    def __init__(
        self,
        primary: PostgresServer,
        slot: str = _SLOT,
        *,
        upstream_port: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        synchronized = primary.version[0] >= FAILOVER_SINCE
        upstream = make_conninfo(host=HOST, port=upstream_port or primary.port, user="postgres", dbname="postgres")
        super().__init__(
            primary.installation,
            settings={
                **primary.settings,
                "primary_conninfo": upstream,
                "primary_slot_name": slot,
                "hot_standby_feedback": "on",
                "wal_receiver_status_interval": "1s",
                "wal_retrieve_retry_interval": "200ms",
                **({"sync_replication_slots": "on", "synchronized_standby_slots": ""} if synchronized else {}),
                **(settings or {}),
            },
        )
        self._primary = primary
        self._slot = slot

    def synchronized(self, logical_slot: str) -> bool:
        """Whether the standby has a copy of the slot that a promotion would keep."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            row = connection.execute(
                "SELECT synced AND NOT temporary AND invalidation_reason IS NULL FROM pg_replication_slots "
                "WHERE slot_name = %s",
                [logical_slot],
            ).fetchone()
        return bool(row and row[0])

    def catch_up(self) -> None:
        """Wait until it has replayed what the primary has written by now.

        Raises:
            ServerError: it does not.
        """
        with psycopg.connect(self._primary.url(), autocommit=True) as connection:
            row = connection.execute("SELECT pg_current_wal_lsn()").fetchone()
        with psycopg.connect(self.url(), autocommit=True) as connection:

            def replayed() -> bool:
                done = connection.execute("SELECT pg_last_wal_replay_lsn() >= %s", row).fetchone()
                return bool(done and done[0])

            if not wait_for(replayed, _CATCH_UP_SECONDS):
                raise ServerError("the standby does not catch up")

    def promote(self) -> None:
        """Make it a primary; returns when it takes writes.

        Raises:
            ServerError: it does not.
        """
        with psycopg.connect(self.url(), autocommit=True) as connection:
            row = connection.execute("SELECT pg_promote(true, 60)").fetchone()
        if row != (True,):
            raise ServerError("the standby was not promoted")

    def _command(self) -> Sequence[str]:
        if not self.data_dir.exists():
            self._base_backup()
        return super()._command()

    def _base_backup(self) -> None:
        with psycopg.connect(self._primary.url(), autocommit=True) as connection:
            connection.execute("SELECT pg_create_physical_replication_slot(%s, true)", [self._slot])
        if user := self._user():
            shutil.chown(self.folder, user)
        command = [str(self.bin_dir / "pg_basebackup"), "-D", str(self.data_dir), "-X", "stream", "-c", "fast", "-N"]
        command += ["-h", HOST, "-p", str(self._primary.port), "-U", "postgres", "-S", self._slot, "-w"]
        made = subprocess.run(
            command, capture_output=True, text=True, cwd=self.folder, env=self._environment(), **as_user(self._user())
        )
        if made.returncode:
            raise ServerError(f"pg_basebackup failed:\n{made.stdout}{made.stderr}")
        (self.data_dir / "standby.signal").touch()


class PostgresPair(ProxiedPostgres):
    """A primary with a standby that can take over its address and its failover slots, whenever they are made.

    The primary sends a change to nobody but the standby before the standby has it
    (`synchronized_standby_slots`): nothing is published that a promotion takes back.

    Args:
        installation: PostgreSQL 17 or later; the newest if not given.
    """

    def __init__(self, installation: PostgresInstallation | None = None) -> None:
        super().__init__(installation, settings={"synchronized_standby_slots": _SLOT})
        self._standby: PostgresStandby | None = None

    @property
    def standby(self) -> PostgresStandby:
        assert self._standby is not None, "the pair was not started"
        return self._standby

    def start(self) -> None:
        super().start()
        if self._standby is None:
            self._standby = PostgresStandby(self)
            self._standby.start()
            self._hold()

    def fail_over(self) -> None:
        """The primary is killed, the standby is promoted and reached by the primary's address from now on."""
        self.kill()
        self.proxy.cut()
        self.standby.promote()
        self.proxy.lead_to(self.standby.port)
        self.proxy.resume()

    def close(self) -> None:
        try:
            if self._standby is not None:
                self._standby.close()
        finally:
            super().close()

    def _hold(self) -> None:
        """A slot that the standby has and nobody moves: with it, later ones follow at once.

        Else the standby would no longer have the catalog rows that a new slot needs, until that is advanced.
        """
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_create_logical_replication_slot(%s, 'pgoutput', false, false, true)", [_HOLDER]
            )

            def followed() -> bool:
                connection.execute("SELECT pg_log_standby_snapshot()")
                connection.execute("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", [_HOLDER])
                return self.standby.synchronized(_HOLDER)

            if not wait_for(followed, _CATCH_UP_SECONDS, pause=0.3):
                raise ServerError("slots of the primary do not follow to the standby")
