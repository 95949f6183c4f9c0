"""Where the demo plays: a Postgres and a Kafka, databases, the YAML; all gone afterwards. Touches servers and files.

Without an address it starts embedded servers (extra `demo`). On servers that were given it
makes databases and topics whose names begin with a prefix of their own, and drops them at the end.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from urllib.parse import unquote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from cdc.demo import broker
from cdc.demo.bridge import cdc_command
from cdc.demo.compare import Table
from cdc.demo.warehouse import KEYS
from cdc.errors import CdcError
from cdc.testing.process import ServerError
from cdc.testing.servers import EmbeddedBroker, PostgresServer
from cdc.testing.sweeper import sweeper
from cdc.testing.system import free_port

Say = Callable[[str], None]

SERVICES = {"billing": ("orders", "order_lines", "payments"), "catalogue": ("products",)}
"""Which service wants which tables of the warehouse."""

YAML = """\
# The bridge of the demo. In another shell, while it runs:
#   {cdc} status --config {file}
#   {cdc} tail {name}.sales.orders --config {file}

name: {name}                       # prefix of topics, slot, consumer groups

kafka:
  bootstrap_servers: {bootstrap}

databases:
{databases}
topics:
  defaults:
    partitions: 4
    cleanup_policy: compact      # the last event of each key stays: a new service can start any time

connectors:
  warehouse:
    type: postgres_wal
    database: warehouse
    tables:                      # sales.customers is not captured: no service asked for it
{tables}
    snapshot: initial            # rows that are there first, then every change

sinks:
{sinks}
server:
  listen: {listen}
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """What the demo has to play with.

    Args:
        folder: for the YAML and the bridge's log; removed at the end.
        warehouse: URL of the warehouse.
        services: URL of each service's database.
        config: the YAML.
        listen: host and port of the bridge's status.
        embedded_broker: whether Kafka is played by the embedded broker.
    """

    folder: Path
    warehouse: str
    services: dict[str, str]
    config: Path
    listen: str
    embedded_broker: bool

    def tables(self) -> list[tuple[str, Table]]:
        """Every service and each of its tables."""
        return [
            (service, Table(("sales", table), ("public", table), KEYS[table]))
            for service, tables in SERVICES.items()
            for table in tables
        ]


@contextmanager
def stage(postgres: str | None, kafka: str | None, say: Say) -> Iterator[Stage]:
    """Set everything up, and clear it away however the demo ends.

    Args:
        postgres: URL of a role that may create databases and replicate; None: start a server.
        kafka: bootstrap servers; None: start a broker.

    Raises:
        CdcError: a server cannot be started or reached.
    """
    prefix = f"cdc_demo_{token_hex(3)}"
    name = "shop" if postgres is None and kafka is None else prefix
    with ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="cdc-demo-")))
        sweeper.folder(folder)
        databases = {role: role for role in ("warehouse", *SERVICES)}
        try:
            if postgres is None:
                say("starting an embedded PostgreSQL (fsync off)")
                postgres = ending.enter_context(PostgresServer()).url()
            else:
                databases = {role: f"{prefix}_{role}" for role in databases}
                ending.callback(_drop_databases, postgres, list(databases.values()), say)
            embedded_broker = kafka is None
            if kafka is None:
                say("starting an embedded broker")
                kafka = ending.enter_context(EmbeddedBroker()).bootstrap_servers
            else:
                ending.callback(broker.clear, kafka, name, say)
            _create_databases(postgres, list(databases.values()))
        except ServerError as error:
            raise CdcError(str(error), hint="install the extra: pip install 'cdc-bridge[demo]'") from error
        except psycopg.Error as error:
            raise CdcError(f"PostgreSQL refuses: {error}", hint="--postgres needs a role with CREATEDB") from error
        urls = {role: with_database(postgres, database) for role, database in databases.items()}
        listen = f"127.0.0.1:{free_port()}"
        config = folder / "bridge.yaml"
        # The embedded broker's groups may hang when partitions move from one member to another.
        config.write_text(_yaml(folder, name, kafka, urls, listen, workers=1 if embedded_broker else 2))
        yield Stage(folder, urls["warehouse"], {role: urls[role] for role in SERVICES}, config, listen, embedded_broker)


def with_database(url: str, database: str) -> str:
    """The same server and role, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def _yaml(folder: Path, name: str, bootstrap: str, urls: dict[str, str], listen: str, workers: int) -> str:
    databases = "".join(f"  {role}: {_database(folder, url)}\n" for role, url in urls.items())
    tables = "\n".join(f"      - sales.{table}" for tables in SERVICES.values() for table in tables)
    sinks = "".join(
        f"  {service}:\n"
        "    type: postgres\n"
        f"    database: {service}\n"
        f"    topics: [{', '.join(f'{name}.sales.{table}' for table in tables)}]\n"
        f"    workers: {workers}\n"
        for service, tables in SERVICES.items()
    )
    return YAML.format(
        cdc=cdc_command()[0], file=folder / "bridge.yaml", name=name, bootstrap=bootstrap, databases=databases,
        tables=tables, sinks=sinks, listen=listen,
    )  # fmt: skip


def _database(folder: Path, url: str) -> str:
    """The database's section; a password goes into a file that only its owner may read."""
    parts = urlsplit(url)
    if parts.password is None:
        return f"{{url: '{url}'}}"
    secret = folder / "password"
    with open(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(unquote(parts.password))
    place = parts.netloc.rpartition("@")[2]
    bare = urlunsplit(parts._replace(netloc=f"{parts.username}@{place}"))
    return f"{{url: '{bare}', password_file: {secret}}}"


def _create_databases(url: str, names: list[str]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for name in names:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def _drop_databases(url: str, names: list[str], say: Say) -> None:
    """Drop slots and databases; say the commands where that fails."""
    drop_slots = sql.SQL("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = {}")
    drop_database = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
    statements = [drop_slots.format(name) for name in names]
    statements += [drop_database.format(sql.Identifier(name)) for name in names]
    left = []
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                try:
                    connection.execute(statement)
                except psycopg.Error:
                    left.append(statement.as_string(connection))
    except psycopg.Error:
        left = [statement.as_string() for statement in statements]
    if left:
        say("not everything could be dropped; please run: " + "; ".join(left))
    else:
        say(f"dropped the databases {', '.join(names)}")
