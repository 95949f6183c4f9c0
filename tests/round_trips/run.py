"""Rows from a database through both connectors, real Kafka and a sink into tables beside them; each value compared."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import orjson
import psycopg

from cdc.config import parse
from cdc.connector import Connector
from cdc.errors import CdcError
from cdc.pipeline import run_connector
from cdc.plugins import connector_plugins
from cdc.publisher import Publisher
from cdc.settings import Settings
from cdc.testing.servers import KafkaServer
from cdc.testing.system import wait_for
from tests import sink_worker
from tests.databases import Database
from tests.round_trips.losses import FORMATS, FUNCTIONS, expected, found, stored
from tests.round_trips.values import PRELUDE

COLUMNS: Final = 60
"""Of one table, so that its rows find place on a page."""

PARTS: Final = 20
"""Rows that a row of plain types is streamed as, each with its share of the values, NULL else: a sink's compiled path
takes those that have common values alone."""

_NOT_PLAIN: Final = (
    *("interval", "bit", "bit varying", "point", "hstore", "vector", "halfvec", "sparsevec"),
    *("numbers", "int2vector", "oidvector"),
)
"""Types beside arrays whose rows a sink's general path takes."""

SECONDS: Final = 1800.0
"""Within which a sink has all rows, of a long run on a busy machine."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A value that came out as another one, or a column that is (not) there.

    Args:
        type, format: of what, and written how.
        streamed: by the stream, else by a snapshot.
        value, expected, found: its text in the source, and what should be and is in the target.
    """

    type: str
    format: str
    streamed: bool
    value: str | None
    expected: str | None
    found: str | None


class RoundTrip:
    """Tables of all types, one set for each format, filled with the same values for a snapshot and then for the stream.

    Args:
        prefix: the bridge's name.
        kafka, database, registry: where to and from, and the URL of a schema registry.
        samples: values by type, as many of each. NULLs are one more row.
    """

    def __init__(
        self, prefix: str, kafka: KafkaServer, database: Database, registry: str, samples: dict[str, list[str]]
    ) -> None:
        self._database = database
        self._samples = samples
        types = [type_ for type_ in samples if not type_.startswith("xml") or has_libxml(database)]
        kinds = [[type_ for type_ in types if _kind(type_) == kind] for kind in range(4)]
        self._groups = [kind[at : at + COLUMNS] for kind in kinds for at in range(0, len(kind), COLUMNS)]
        self._parts = [PARTS if _kind(group[0]) < 2 else 1 for group in self._groups]
        self._tables = [(written, n, _table(written, n)) for written in FORMATS for n in range(len(self._groups))]
        self._rows = len(samples[types[0]]) + 1
        self._settings = self._parsed(prefix, kafka, registry)

    def differences(self) -> list[Difference]:
        """Make the tables, run everything, and compare."""
        self._create()
        self._insert(streamed=False)
        with ExitStack() as stack:
            parts = [stack.enter_context(_connector(self._settings, name)) for name in ("own", "profile")]
            parts.append(stack.enter_context(_sink(self._settings)))
            self._wait(parts, streamed=False)
            self._insert(streamed=True)
            self._wait(parts, streamed=True)
        return [
            difference
            for written, n, _ in self._tables
            for streamed in (False, True)
            for difference in self._compared(written, n, streamed)
        ]

    def _parsed(self, prefix: str, kafka: KafkaServer, registry: str) -> Settings:
        tables: dict[str, dict[str, dict[str, str]]] = {"own": {}, "profile": {}}
        for written, _, name in self._tables:
            if written == "profile":
                tables["profile"][f"public.{name}"] = {}
            else:
                tables["own"][f"public.{name}"] = {"format": written}
        connector = {"type": "postgres_wal", "database": "w", "idle_interval": "1s"}
        document = {
            "name": prefix,
            "kafka": {"bootstrap_servers": kafka.bootstrap_servers},
            "schema_registry": {"url": registry},
            "databases": {"w": {"url": self._database.url()}},
            "topics": {"defaults": {"partitions": 1, "replication_factor": 1}},
            "connectors": {
                "own": {**connector, "tables": tables["own"]},
                "profile": {**connector, "tables": tables["profile"], "compatibility": "debezium"},
            },
            "sinks": {
                "target": {"type": "postgres", "database": "w", "topics": [f"{prefix}.public.*"], "schema": "target"}
            },
        }
        return parse(orjson.dumps(document).decode(), {})

    def _create(self) -> None:
        """The tables, and in schema `given` the texts of their rows."""
        with self._database.connect() as session:
            for statement in (*PRELUDE, "CREATE SCHEMA target", "CREATE SCHEMA given", FUNCTIONS):
                session.execute(statement.encode())
            for n, group in enumerate(self._groups):
                texts = ", ".join(f"c{place} text" for place in range(len(group)))
                session.execute(f"CREATE TABLE given.g{n} (id int, {texts})".encode())
                with session.cursor() as cursor, cursor.copy(f"COPY given.g{n} FROM STDIN".encode()) as copy:
                    for row in range(self._rows - 1):
                        copy.write_row((row, *(self._samples[type_][row] for type_ in group)))
                    copy.write_row((self._rows - 1, *(None for _ in group)))
            self._leave_out_invalid(session)
            for _, n, name in self._tables:
                columns = ", ".join(f"c{place} {type_}" for place, type_ in enumerate(self._groups[n]))
                session.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, {columns})".encode())

    def _leave_out_invalid(self, session: psycopg.Connection[Any]) -> None:
        """Texts that the type does not take become NULL; a few are: what is out of range once it is rounded."""
        invalid = 0
        for n, group in enumerate(self._groups):
            for place, type_ in enumerate(group):
                update = f"UPDATE given.g{n} SET c{place} = NULL WHERE NOT pg_input_is_valid(c{place}, %s)"
                invalid += session.execute(update.encode(), [type_]).rowcount
        assert invalid <= self._rows * len(self._samples) // 1000, f"{invalid} texts are no values"

    def _insert(self, *, streamed: bool) -> None:
        """All rows into all tables."""
        with self._database.connect() as session:
            session.execute("SET TimeZone = 'UTC'")
            for written, n, name in self._tables:
                parts = self._parts[n] if streamed else 1
                columns = list(enumerate(self._groups[n]))
                for part in range(parts):
                    values = ", ".join(
                        stored(type_, written, f"c{place}::{type_}") if place % parts == part else "NULL"
                        for place, type_ in columns
                    )
                    identity = f"{self._rows * (part + 1) if streamed else 0} + id"
                    session.execute(f"INSERT INTO {name} SELECT {identity}, {values} FROM given.g{n}".encode())

    def _wait(self, parts: list[list[BaseException]], *, streamed: bool) -> None:
        """Until every target table has all rows."""
        left = {name: self._rows * (1 + streamed * self._parts[n]) for _, n, name in self._tables}

        def complete() -> bool:
            for ended in parts:
                if ended:
                    raise ended[0]
            with self._database.connect() as session:
                for name in [name for name, rows in left.items() if _count(session, name) == rows]:
                    del left[name]
            return not left

        assert wait_for(complete, SECONDS, 0.2), f"the sink does not catch up: {', '.join(left)}"

    def _compared(self, written: str, n: int, streamed: bool) -> Iterator[Difference]:
        name = _table(written, n)
        with self._database.connect() as session:
            session.execute("SET TimeZone = 'UTC'")
            have = _columns(session, name)
            types, parts = [], []
            for place, type_ in enumerate(self._groups[n]):
                source, target = f"s.c{place}", f"t.c{place}"
                wanted = expected(type_, written, streamed, source)
                if (wanted is not None) != (f"c{place}" in have):
                    yield Difference(type_, written, streamed, None, f"column {wanted}", f"{f'c{place}' in have}")
                elif wanted is not None:
                    types.append(type_)
                    parts.append(f"{source}::text, {wanted}, {found(type_, written, target)}")
            rows = session.execute(
                f"SELECT {', '.join(parts)} FROM {name} s LEFT JOIN target.{name} t USING (id) "
                f"WHERE id {'>=' if streamed else '<'} {self._rows}".encode()
            ).fetchall()
        assert len(rows) == (self._rows * self._parts[n] if streamed else self._rows)
        for row in rows:
            for type_, value, wanted, is_ in zip(types, row[::3], row[1::3], row[2::3], strict=True):
                if wanted != is_:
                    yield Difference(type_, written, streamed, value, wanted, is_)


def _kind(type_: str) -> int:
    """What tables have apart: plain types, numbers that the profile has as structs or bytes, other types, arrays."""
    if type_.endswith("[]"):
        return 3
    if type_.partition("(")[0] in _NOT_PLAIN or type_.startswith("interval"):
        return 2
    return 1 if type_.startswith("numeric") or type_ in ("money", "cents", "deep") else 0


def _table(written: str, n: int) -> str:
    return f"{written.replace('-', '_')}_{n}"


def has_libxml(database: Database) -> bool:
    """Whether the server was built with it; without there are no values of `xml`."""
    query = "SELECT setting LIKE '%with-libxml%' FROM pg_config WHERE name = 'CONFIGURE'"
    return bool(database.rows(query)[0][0])


def _count(session: psycopg.Connection[Any], name: str) -> int:
    if session.execute("SELECT to_regclass(%s)", [f"target.{name}"]).fetchone() == (None,):
        return 0
    (count,) = session.execute(f"SELECT count(*) FROM target.{name}".encode()).fetchone() or (0,)
    return int(count)


def _columns(session: psycopg.Connection[Any], name: str) -> set[str]:
    query = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass"
    return {column for (column,) in session.execute(query, [f"target.{name}"])}


@contextmanager
def _connector(settings: Settings, name: str) -> Iterator[list[BaseException]]:
    """A connector in a thread, made again as its supervisor would. Yields what it ended with."""
    section = settings.connectors[name]
    running: list[Connector] = []

    def run(stop: threading.Event) -> None:
        while not stop.is_set():
            running[:] = [connector_plugins()[section.type].create(settings, name, section)]
            try:
                return run_connector(running[0], Publisher(settings, name))
            except CdcError as error:
                if not error.retriable or stop.wait(0.2):
                    raise

    with _thread(run, lambda: running[0].stop()) as ended:
        yield ended


@contextmanager
def _sink(settings: Settings) -> Iterator[list[BaseException]]:
    with _thread(lambda stop: sink_worker.run(settings, stop, lambda _: None), lambda: None) as ended:
        yield ended


@contextmanager
def _thread(run: Callable[[threading.Event], None], end: Callable[[], None]) -> Iterator[list[BaseException]]:
    stop = threading.Event()
    ended: list[BaseException] = []

    def body() -> None:
        try:
            run(stop)
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    try:
        yield ended
    finally:
        stop.set()
        end()
        thread.join(60)
