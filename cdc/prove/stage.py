"""Where one fault strikes: servers, databases, a bridge, a load, and what a fault may do to them. Starts them all."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from cdc import failpoints
from cdc.demo.broker import clear
from cdc.prove.bridge import Bridge
from cdc.prove.fault import Setting
from cdc.prove.line import Line
from cdc.prove.load import Load
from cdc.prove.servers import GivenKafka, Servers
from cdc.prove.waiting import eventually
from cdc.testing.databases import Database, fresh_database
from cdc.testing.servers import Brokers, PostgresServer
from cdc.testing.sweeper import sweeper

Part = TypeVar("Part", bound=AbstractContextManager[object])


@dataclass(frozen=True, slots=True)
class Extent:
    """How large the large things are.

    Args:
        bulk_rows: rows of the largest transaction.
        neighbour_bytes: WAL that another database of the source's server writes.
    """

    bulk_rows: int = 2_000_000
    neighbour_bytes: int = 1 << 30


class Stage:
    """What a fault finds. All of it is ended and removed with the stage.

    Attributes:
        folder: for files of the fault.
        name: the bridge's name, prefix of its topics, slot and groups.
        source, target: databases; `.server` is what they are on, `.connect()`, `.rows()` ask them.
        kafka: the broker; `.bootstrap_servers`, `.kill()`, `.start()`.
        bridge: the copy that works: `start()`, `kill()`, `stop()`, `workers()`, `until(state)`, `status()`.
        load: the sessions that write; `paused()` keeps them still for a while.
        yaml: the bridge's settings; what is changed counts from its next start.
        environment: of the bridge's processes, over our own.
        command: put before the bridge's command, such as `["prlimit", "--as=…"]`.
        failpoints: folder that arms them.
        round: number of the round, from 0.
        copies: all copies of the bridge; `bridge` may be set to another one of them.
        bulk_rows: rows of the largest transaction.
        neighbour_bytes: WAL that another database of the source's server writes.
        notes: what a fault wants to have said below the table.
        ending: for what a fault needs ended with the stage.
    """

    round: int
    struck_at: float | None
    recovered_at: float | None

    def __init__(self, setting: Setting, servers: Servers, seed: int, extent: Extent) -> None:
        self.ending = ExitStack()
        self.bulk_rows, self.neighbour_bytes = extent.bulk_rows, extent.neighbour_bytes
        try:
            self._set(setting, servers, seed)
        except BaseException:
            self.ending.close()
            raise

    def _set(self, setting: Setting, servers: Servers, seed: int) -> None:
        self.setting = setting
        self.folder = Path(tempfile.mkdtemp(prefix="cdc-prove-"))
        sweeper.folder(self.folder)
        self.ending.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.name = f"prove-{token_hex(3)}"
        self.notes: list[str] = []
        enter = self.ending.enter_context
        source = enter(setting.source()) if setting.source else servers.postgres()
        target = enter(setting.target()) if setting.target else servers.postgres()
        kafka: Brokers = enter(setting.kafka()) if setting.kafka else servers.kafka()
        if setting.kafka is None:
            self.ending.callback(self._clear, kafka)
        self.line = Line(
            enter(fresh_database(source, self.name.replace("-", "_"))),
            enter(fresh_database(target, self.name.replace("-", "_") + "_service")),
            kafka,
            self.name,
            setting.items,
            self.folder,
        )
        self.failpoints = self.folder / "failpoints"
        self.failpoints.mkdir()
        self.yaml: dict[str, Any] = self.line.settings(batch_rows=200, session_timeout="3s", workers=setting.workers)
        self.environment: dict[str, str] = {"CDC_FAILPOINTS": str(self.failpoints)}
        self.command: list[str] = []
        self.load = Load(lambda: self.source.url(), seed, sessions=setting.sessions, linger=1.0)
        self.begin_round(0)
        self.copies: list[Bridge] = []
        self._marks = 0
        self._parts: dict[type, object] = {}
        setting.prepare(self)
        self.bridge = self.another()

    def _clear(self, kafka: Brokers) -> None:
        """Hundreds of stages would be too much for one broker; a Kafka that was given is left as it was."""
        if isinstance(kafka, GivenKafka):
            clear(kafka.bootstrap_servers, self.name, self.note)
        else:
            admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
            with suppress(KafkaException):
                known = admin.list_topics(timeout=30).topics
                own = [topic for topic in known if topic.startswith(f"{self.name}.")]
                for deletion in admin.delete_topics(own).values() if own else ():
                    deletion.exception(30)

    @property
    def source(self) -> Database:
        return self.line.source

    @property
    def target(self) -> Database:
        return self.line.target

    @property
    def kafka(self) -> Brokers:
        return self.line.kafka

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self.load.abandon()
        self.ending.close()

    def another(self) -> Bridge:
        """Another copy of the bridge, not started yet, with the same settings."""
        name = f"bridge-{len(self.copies) + 1}"
        bridge = Bridge(self.folder, self.yaml, name, environment=self.environment, command=self.command)
        self.copies.append(self.ending.enter_context(bridge))
        return bridge

    def bring(self, part: Part) -> Part:
        """Keep something of the fault's own, to be found by `the` and ended with the stage."""
        self._parts[type(part)] = self.ending.enter_context(part)
        return part

    def the(self, kind: type[Part]) -> Part:
        """What was brought of that kind."""
        part = self._parts[kind]
        assert isinstance(part, kind)
        return part

    def arm(self, failpoint: str) -> None:
        """The first process of the bridge that comes to this point is killed there."""
        assert failpoint in failpoints.NAMES, failpoint
        (self.failpoints / failpoint).touch()

    def armed(self, failpoint: str) -> bool:
        """Whether nobody came to the point yet."""
        return (self.failpoints / failpoint).exists()

    def struck(self) -> None:
        """From now on the line must recover."""
        self.struck_at = time.monotonic()

    def recovered(self) -> None:
        """It has recovered already; else it has when a row comes to the service's table after the strike."""
        self.recovered_at = time.monotonic()

    def recovery(self) -> float:
        """Seconds from being struck to having recovered, that is now, if nobody said so before."""
        return (self.recovered_at or time.monotonic()) - (self.struck_at or 0)

    def begin_round(self, number: int) -> None:
        """Forget the round before."""
        self.round, self.struck_at, self.recovered_at = number, None, None

    def note(self, what: str) -> None:
        """Have something said below the table, once."""
        if what not in self.notes:
            self.notes.append(what)

    def down(self) -> str | None:
        """Which worker is in a state that only a person can end, in words; None: none is."""
        return next((words for state, words in self._workers() if state in ("gap", "failed")), None)

    def words(self) -> Iterator[str]:
        """What the bridge says of itself."""
        yield from (words for _, words in self._workers())

    def _workers(self) -> Iterator[tuple[str, str]]:
        status = self.bridge.status() if self.bridge.running else {}
        for kind in ("connectors", "sinks"):
            for name, worker in status.get(kind, {}).items():
                reason = (worker.get("error") or {}).get("message")
                yield worker["state"], f"{name} is in state {worker['state']}" + (f": {reason}" if reason else "")

    def write_bulk(self, rows: int | None = None) -> None:
        """Commit one transaction of that many rows; of `bulk_rows`, if not given."""
        with self.source.connect() as connection:
            connection.execute(
                "INSERT INTO bulk SELECT b.last + g, 'row ' || md5(g::text) "
                "FROM (SELECT coalesce(max(id), 0) AS last FROM bulk) b, generate_series(1, %s) g",
                [self.bulk_rows if rows is None else rows],
            )

    def keep(self, folder: Path) -> None:
        """Copy the bridge's settings and logs."""
        folder.mkdir(parents=True, exist_ok=True)
        for file in [*self.folder.glob("*.log"), *self.folder.glob("*.yaml")]:
            shutil.copy(file, folder)

    def source_moved(self, server: PostgresServer) -> None:
        """Another server (a standby, promoted) holds the source database now; load and witness follow it."""
        self.line.source = Database(self.line.source.name, server)

    def mark(self) -> int:
        """Commit a marker row; returns its number. Waits while the source does not answer."""
        self._marks += 1

        def written() -> bool:
            try:
                with self.source.connect(connect_timeout=5) as connection:
                    connection.execute("INSERT INTO marks (id) VALUES (%s) ON CONFLICT DO NOTHING", [self._marks])
            except psycopg.OperationalError:
                return False
            return True

        eventually(written, 60, "the source takes a row")
        return self._marks

    def arrived(self, mark: int) -> bool:
        """Whether the marker row is in the service's table."""
        try:
            with self.target.connect(connect_timeout=5) as connection:
                return connection.execute("SELECT 1 FROM marks WHERE id = %s", [mark]).fetchone() is not None
        except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
            return False
