"""Source → event → target: a table of every common type comes out as it went in, on every PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg import sql

from cdc.formats.contract import reader_of
from cdc.formats.debezium_json import Transaction
from cdc.schemas import TableSchema
from cdc.settings import KafkaSettings, SchemaRegistrySettings, Settings
from cdc.sink import Event, EventBatch
from connectors.postgres_wal import catalog
from connectors.postgres_wal.settings import PostgresWalSettings
from connectors.postgres_wal.tables import Planner
from sinks.postgres.settings import PostgresSinkSettings
from sinks.postgres.sink import PostgresSink
from tests.databases import Database
from tests.round_trips.run import has_libxml
from tests.round_trips.values import EXAMPLES, PRELUDE, SEED, arrays, collect, columns
from tests.schema_registry import running

SAMPLES: dict[str, list[str]] = {
    "smallint": ["-32768", "0", "32767"],
    "integer": ["-2147483648", "2147483647"],
    "bigint": ["-9223372036854775808", "9223372036854775807"],
    "oid": ["0", "4294967295"],
    "real": ["3.3", "-0", "1e-37", "3.4028235e38", "NaN", "-Infinity"],
    "double precision": ["0.1", "5e-324", "1.7976931348623157e308", "123456789.123456789", "NaN", "Infinity"],
    "numeric": ["0", "-3.3300", "1e100", "123456789012345678901234567890.123456789", "NaN"],
    "numeric(12,2)": ["1.1", "-9999999999.99", "NaN"],
    "money": ["1234.11", "-92233720368547758.08"],
    "boolean": ["t", "f"],
    "text": ["", " sp ", "tab\tline\nreturn\rback\\slash", '"quoted"', "\\N", "žluťoučký 日本語 👩‍👩‍👧",
             "\x01\x7f\b\f", "NULL"],
    "character varying(20)": ["", "twenty characters ok"],
    "character(5)": ["ab", "12345"],
    '"char"': ["x", "~"],
    "name": ["a_name"],
    "bytea": ["", "\\xdeadbeef00ff", "\\x01"],
    "date": ["1970-01-01", "2016-11-04", "0001-01-01", "9999-12-31", "10000-01-01", "infinity", "-infinity"],
    "time": ["00:00:00", "23:59:59.999999", "24:00:00", "13:51:30.5"],
    "time(3)": ["13:51:30.789", "23:59:59.999"],
    "timetz": ["13:51:30.123789+00", "00:00:00+00"],
    "timestamp": ["1970-01-01", "2016-11-04 13:51:30.123456", "0001-01-01", "1969-12-31 23:59:59.9", "infinity"],
    "timestamp(3)": ["2016-11-04 13:51:30.123", "1969-12-31 23:59:59.999", "infinity", "-infinity"],
    "timestamptz": ["1970-01-01Z", "2016-11-04 13:51:30.123456+02", "10000-01-01 00:00:00.000001Z",
                    "0044-03-15 12:00:00Z BC", "infinity", "-infinity"],
    "timestamptz(0)": ["2016-11-04 13:51:30+02"],
    "interval": ["00:00:00", "04:05:06.789", "-100:00:00.000001"],
    "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    "json": ['{"b": 1,   "a":[1, 2 ,null], "b":2}', '  [1.0, 1E400]  ', '"str\\u00e9 \\\\"', "null"],
    "jsonb": ['{"a": [1, 2, null], "b": "\\n"}', "12345678901234567890.123456789", "null"],
    "bit(1)": ["0", "1"],
    "bit(9)": ["100000001", "000000000", "011111111"],
    "inet": ["192.168.2.0/12", "::1"],
    "cidr": ["10.0.0.0/8"],
    "macaddr": ["08:00:2b:01:02:03"],
    "int4range": ["[1,6)", "empty", "(,5)"],
    "tstzrange": ['["2019-03-31 15:30:00+00",infinity)'],
    "tsvector": ["'cat' 'fat' 'sat':3A"],
    "point": ["(-1.5,2.25)"],
    "mood": ["happy", "with space", "quo'te"],
    "posint": ["5"],
    "integer[]": ["{}", "{1,NULL,-3}", "{{1,2},{3,4}}"],
    "text[]": ['{NULL,"NULL","","a,b","{x}","qu\\"o","b\\\\s"," sp ","é😀","tab\t\n"}', "{}", "{NULS,NULL}"],
    "boolean[]": ["{t,f,NULL}"],
    "numeric(10,2)[]": ["{1.20,NULL}"],
    "date[]": ["{2016-11-04,NULL}"],
    "timestamp(3)[]": ['{"2016-11-04 13:51:30.123"}'],
    "timestamptz[]": ['{"2016-11-04 11:51:30.123456+00"}'],
    "uuid[]": ["{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"],
    "jsonb[]": ['{"{\\"a\\": 1}",NULL}'],
    "bytea[]": ['{"\\\\x0102",NULL}'],
    "box[]": ["{(1,1),(0,0);NULL}", "{{(1,1),(0,0)};{(2.5,1),(0,0)}}"],
    "mood[]": ['{happy,"with space"}'],
}  # fmt: skip


EXTENSIONS: dict[str, list[str]] = {
    "hstore": ['"k"=>"v", "n"=>NULL', "", '"q\\"uo"=>"b\\\\s", "žluť"=>"😀"'],
    "citext": ["Mixed Case"],
    "ltree": ["top.science"],
    "vector": ["[1,2.5,-3]", "[0.1]"],
    "halfvec": ["[10,20.5]"],
    "sparsevec": ["{1:10,3:25.5}/25", "{}/3"],
    "isbn": ["0-393-04002-X"],
    "hstore[]": ['{"\\"a\\"=>\\"1\\"",NULL}'],
    "vector[]": ['{"[1,2]"}'],
    "citext[]": ["{A,b}"],
}

MODES: list[dict[str, Any]] = [
    {},
    {"decimal": "precise", "time_precision": "microseconds", "interval": "string"},
    {"time_precision": "isostring", "binary": "hex", "hstore": "map"},
    {"time_precision": "nanoseconds", "binary": "base64-url-safe", "unknown_types": "bytes"},
    {"time_precision": "adaptive_time_microseconds", "binary": "base64"},
]

CUT_TO_MS: dict[str, list[str]] = {
    "time": ["00:00:00", "24:00:00", "13:51:30.5"],
    "timestamp": ["1970-01-01", "0044-03-15 12:00:00 BC", "infinity", "-infinity"],
}
"""Instead of samples that `time_precision: connect` has no place for."""

NANOSECONDS: dict[str, list[str]] = {
    "timestamp": ["1970-01-01", "2262-04-11 23:47:16.854775", "1677-09-22", "infinity", "-infinity"],
}
"""Instead of samples that are too far away for ns."""


@pytest.mark.every_postgres
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_every_value_comes_out_as_it_went_in(database: Database, mode: dict[str, Any]) -> None:
    assert _differences(database, _samples(mode), mode) == {}


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("written", ["avro", "json"])
def test_every_value_comes_out_of_every_format(database: Database, written: str, mode: dict[str, Any]) -> None:
    samples = _samples(mode)
    if written == "avro":
        # Its schemas have one dimension.
        samples = {type_: [text for text in texts if not text.startswith("{{")] for type_, texts in samples.items()}
        if mode.get("unknown_types") == "bytes":
            del samples["box[]"]  # its elements are never null, by Debezium's schema
    with running() as registry:
        assert _differences(database, samples, {**mode, "format": written}, registry.url) == {}


def _samples(mode: dict[str, Any]) -> dict[str, list[str]]:
    """Those that there is a form of."""
    samples = dict(SAMPLES)
    if mode.get("decimal") == "precise":
        # Connect's Decimal has no NaN (the connector refuses it), Debezium's variable one no trailing zeros.
        samples["numeric"] = ["0", "-3.33", "1e100", "123456789012345678901234567890.123456789"]
        samples["numeric(12,2)"] = ["1.1", "-9999999999.99"]
    if mode.get("time_precision") == "nanoseconds":
        samples |= NANOSECONDS
    if mode.get("interval") == "string":
        samples["interval"] = [*SAMPLES["interval"], "1 year 2 mons -3 days 04:05:06.789"]
    return samples


def test_times_of_whole_milliseconds_come_out_as_they_went_in(database: Database) -> None:
    assert _differences(database, CUT_TO_MS, {"time_precision": "connect"}) == {}


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_values_of_extensions_come_out_as_they_went_in(database: Database, mode: dict[str, Any]) -> None:
    for extension in ("hstore", "citext", "ltree", "vector", "isn"):
        database.execute(f"CREATE EXTENSION {extension}")
    assert _differences(database, EXTENSIONS, mode) == {}


@pytest.mark.parametrize("mode", [{}, {"hstore": "map"}], ids=str)
def test_values_of_extensions_come_out_of_avro(database: Database, mode: dict[str, Any]) -> None:
    for extension in ("hstore", "citext", "ltree", "vector", "isn"):
        database.execute(f"CREATE EXTENSION {extension}")
    with running() as registry:
        assert _differences(database, EXTENSIONS, {**mode, "format": "avro"}, registry.url) == {}


MANNERED = (
    *("numeric(5,2)", "numeric(38,38)", "bytea", "date", "time", "time(3)", "timestamp", "timestamp(3)", "timestamptz"),
    *("interval", "hstore", "box", "circle", "line", "lseg", "path", "polygon", "point", "tsquery", "pg_lsn", "pair"),
)
"""Types whose form the settings choose."""


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_random_values_come_out_in_every_form(database: Database, mode: dict[str, Any]) -> None:
    for statement in PRELUDE:
        database.execute(statement)
    strategies = columns()
    samples = {
        type_: [
            text for text in collect(strategies[type_], EXAMPLES, f"{SEED}/{type_}") if _has_form(type_, text, mode)
        ]
        for type_ in MANNERED
    }
    assert _differences(database, samples, mode) == {}


def _has_form(type_: str, text: str, mode: dict[str, Any]) -> bool:
    """Whether nothing of the value is refused or lost, by docs/types.md."""
    if type_ == "interval":
        return mode.get("interval") == "string"
    if type_.startswith("numeric"):
        return mode.get("decimal") != "precise" or text != "NaN"
    if not type_.startswith("timestamp") or type_ == "timestamptz" or "infinity" in text:
        return True
    julian = int(text[1:].partition(" ")[0]) if text.startswith("J") else None
    if mode.get("time_precision") != "nanoseconds":
        return julian is None or julian < 109_192_000  # years before 294247
    return 2_334_000 < julian < 2_547_000 if julian else "1678" < text < "2262" and "BC" not in text


@pytest.mark.every_postgres
@pytest.mark.parametrize("written", ["debezium-json", "avro", "json"])
def test_xml_comes_out_as_it_went_in(database: Database, written: str) -> None:
    if not has_libxml(database):
        pytest.skip("this server was built without libxml")
    texts = collect(columns()["xml"], EXAMPLES, f"{SEED}/xml")
    in_arrays = [array for array in arrays(texts, ",", EXAMPLES, f"{SEED}/xml[]") if not array.startswith(("{{", "["))]
    with running() as registry:
        assert _differences(database, {"xml": texts, "xml[]": in_arrays}, {"format": written}, registry.url) == {}


def _differences(
    database: Database, samples: dict[str, list[str]], mode: dict[str, Any], registry: str | None = None
) -> dict[tuple[str, str], str]:
    """What came out as another value, by type and what went in."""
    rows = _source(database, samples)
    settings = _settings(mode, registry)
    schema, records = _events(database, settings)
    _apply(database, settings, schema, records)
    with database.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET IntervalStyle = 'postgres'")
        places = range(len(samples))
        # Money is a numeric in the target: its text is a matter of locales.
        before = sql.SQL(", ").join(
            sql.SQL("{}::numeric::text" if type_ == "money" else "{}::text").format(sql.Identifier(f"c{n}"))
            for n, type_ in zip(places, samples, strict=True)
        )
        after = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(f"c{n}")) for n in places)
        query = sql.SQL("SELECT id, {} FROM {} ORDER BY id")
        sources = connection.execute(query.format(before, sql.Identifier("src", "samples"))).fetchall()
        targets = connection.execute(query.format(after, sql.Identifier("samples"))).fetchall()
    assert len(sources) == rows
    return {
        (type_, was): now
        for one, other in zip(sources, targets, strict=True)
        for type_, was, now in zip(samples, one[1:], other[1:], strict=True)
        if was != now
    }


def _source(database: Database, samples: dict[str, list[str]]) -> int:
    """A table with a column of each type; row n holds the nth sample of each, the last one NULLs."""
    rows = max(map(len, samples.values())) + 1
    with database.connect() as connection:
        connection.execute("CREATE SCHEMA src; SET search_path = src, public")
        connection.execute("CREATE TYPE mood AS ENUM ('sad', 'happy', 'with space', 'quo''te')")
        connection.execute("CREATE DOMAIN posint AS integer CHECK (value > 0)")
        columns = ", ".join(f"c{n} {type_}" for n, type_ in enumerate(samples))
        connection.execute(f"CREATE TABLE samples (id integer PRIMARY KEY, {columns})")  # type: ignore[call-overload]
        for row in range(rows):
            values = [texts[row] if row < len(texts) else None for texts in samples.values()]
            casts = ", ".join(f"%s::text::{type_}" for type_ in samples)
            insert = f"INSERT INTO samples VALUES (%s, {casts})"
            connection.execute(insert, [row, *values])  # type: ignore[call-overload]
    return rows


def _settings(mode: dict[str, Any], registry: str | None) -> Settings:
    section = PostgresWalSettings(database="source", tables={"src.samples": {}}, **mode)
    return Settings(
        name="shop",
        kafka=KafkaSettings(bootstrap_servers="nowhere:9092"),
        schema_registry=None if registry is None else SchemaRegistrySettings(url=registry),
        connectors={"warehouse": section},
    )


def _events(database: Database, settings: Settings) -> tuple[TableSchema, list[Any]]:
    """The table as the connector's snapshot makes it."""
    section = settings.connectors["warehouse"]
    assert isinstance(section, PostgresWalSettings)
    with catalog.connect(database.url(), "the source") as session:
        tables = catalog.captured_tables(session, section.tables, "the source")
        (planned,) = Planner(settings, "warehouse", section, session, "the source").plan_all(tables)
        planned.encoder.begin(Transaction(0x1AF0000, 0, 1, None, "true", 0, 0))
        records: list[Any] = []
        query = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier("src", "samples"))
        with session.cursor() as cursor, cursor.copy(query) as copy:
            for line in copy:
                planned.encoder.encode_copy(bytes(line), records)
    return planned.plan.schema("00000000/00000000/0000000000"), records


def _apply(database: Database, settings: Settings, schema: TableSchema, records: list[Any]) -> None:
    class Described:
        def refresh(self) -> bool:
            return False

        def versions(self, _: str) -> list[TableSchema]:
            return [schema]

        def close(self) -> None: ...

    section = PostgresSinkSettings(database="target", topics=[schema.topic])
    sink = PostgresSink(
        section,
        "shop.target",
        database.connect,
        "the target",
        Described(),
        lambda formats: reader_of(settings, formats),
    )
    sink.own({(schema.topic, 0)}, {})
    events = [Event(topic, 0, n, key, value, 0) for n, (topic, key, value, *_) in enumerate(records)]
    sink.apply(EventBatch(events, {(schema.topic, 0): len(events)}))
    sink.close()
