"""URLs of databases that are not PostgreSQL: what is taken, what is refused, what is shown; and their engines."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cdc import drivers
from cdc.config import consistency, load
from cdc.databases import conninfo, engine, kind, masked, wrongs_of
from cdc.errors import ConfigError, SecretUnavailable
from cdc.settings import ConnectorSettings, DatabaseSettings, KafkaSettings, Settings, SinkSettings, place_settings

SECRET = "hunter2"
SQLITE = "sqlite:////var/lib/shop.db"
MYSQL = f"mysql+pymysql://cdc:{SECRET}@db:3306/shop"


def database(url: str, **settings: object) -> DatabaseSettings:
    return DatabaseSettings.model_validate({"url": url} | settings)


@pytest.mark.parametrize(
    ("url", "kind_", "shown"),
    [
        (f"postgresql://cdc:{SECRET}@h:1/d", "postgresql", "cdc@h:1/d"),
        (MYSQL, "mysql", "cdc@db:3306/shop"),
        (f"{MYSQL}?charset=utf8mb4&ssl_ca=/etc/ca.pem", "mysql", "cdc@db:3306/shop"),
        (f"mariadb+pymysql://cdc:{SECRET}%40%3A%2F@db/shop", "mariadb", "cdc@db/shop"),
        (SQLITE, "sqlite", "/var/lib/shop.db"),
        ("duckdb:////var/lib/shop.duckdb", "duckdb", "/var/lib/shop.duckdb"),
        (f"mssql+pyodbc://cdc:{SECRET}@db/shop?driver=ODBC+Driver+18+for+SQL+Server&Encrypt=strict", "mssql",
         "cdc@db/shop"),
        (f"oracle+oracledb://cdc:{SECRET}@db:1521/?service_name=shop", "oracle", "cdc@db:1521/shop"),
    ],
)  # fmt: skip
def test_urls_that_are_taken_and_what_of_them_is_shown(url: str, kind_: str, shown: str) -> None:
    assert list(wrongs_of(database(url))) == []
    assert (kind(database(url)), masked(url)) == (kind_, shown)


@pytest.mark.parametrize("driver", drivers.DRIVERS.values(), ids=lambda driver: driver.kind)
def test_the_example_of_each_driver_is_right(driver: drivers.Driver) -> None:
    assert list(wrongs_of(database(driver.example))) == []


@pytest.mark.parametrize(
    ("url", "settings", "says"),
    [
        (f"mysql://cdc:{SECRET}@db/shop", {}, "must begin with postgresql:// (or mysql+pymysql://"),
        (f"mysql+mysqldb://cdc:{SECRET}@db/shop", {}, "must begin with postgresql://"),
        (f"mysql+pymysql://cdc:{SECRET}@db:port/shop", {}, "is not a URL that can be read"),
        ("mysql+pymysql://cdc@db", {}, "must name a server and a database"),
        ("sqlite:///shop.db", {}, "must name a file by its absolute path"),
        ("sqlite:///:memory:", {}, "must name a file by its absolute path"),
        (SQLITE, {"password": SECRET}, "has no use: sqlite is a file"),
        (f"{SQLITE}?mode=memory", {}, "its query holds mode, which may not be set here"),
        ("duckdb:////x.duckdb?allow_unsigned_extensions=true", {}, "holds allow_unsigned_extensions"),
        (f"{MYSQL}?init_command=x", {}, "its query holds init_command, which may not be set here"),
        (f"{MYSQL}?read_default_file=/etc/my.cnf", {}, "holds read_default_file"),
        (f"{MYSQL}?local_infile=1", {}, "holds local_infile"),
        (f"{MYSQL}?ssl_verfy_cert=true", {}, "did you mean ssl_verify_cert?"),
        (f"{MYSQL}?charset=utf8mb4&charset=latin1", {}, "its query holds charset, which is given twice"),
        (MYSQL, {"parameters": {"charset": "latin1"}}, "has a value that may not be set here"),
        (MYSQL, {"parameters": {"connect_timeout": "soon"}}, "must be a whole number"),
        (MYSQL, {"parameters": {"ssl_verify_cert": True}}, "ssl_verify_cert needs ssl_ca"),
        (MYSQL, {"parameters": {"sslmode": "require"}}, "is not a parameter that may be set here"),
        (MYSQL, {"replication_url": "postgresql://h/d"}, "only PostgreSQL is replicated from"),
        ("postgresql://h/d", {"parameters": {"ssl_ca": "/x"}}, "is not a parameter that may be set here"),
        ("mssql+pyodbc://db/shop?odbc_connect=x", {}, "holds odbc_connect"),
        ("mssql+pyodbc://db/shop?driver=/tmp/evil.so", {}, "driver, which has a value that may not be set here"),
        ("mssql+pyodbc://db/shop?driver=x;Database=y", {}, "driver, which has a value that may not be set here"),
        ("oracle+oracledb://db/?service_name=x&config_dir=/tmp", {}, "holds config_dir"),
        ("oracle+oracledb://db/?service_name=(DESCRIPTION=x)", {}, "service_name, which has a value"),
    ],
)
def test_urls_and_parameters_that_are_refused(url: str, settings: dict[str, Any], says: str) -> None:
    said = " ".join(f"{wrong.message} {wrong.suggestion}" for wrong in wrongs_of(database(url, **settings)))
    assert says in said
    assert SECRET not in said
    with pytest.raises(ConfigError):
        engine(database(url, **settings), "cdc test")


def connect_arguments(database: DatabaseSettings) -> dict[str, Any]:
    """What the driver is given, at the moment that it would connect."""
    made = engine(database, "cdc shop.poll")
    given: dict[str, Any] = {}

    class Enough(Exception):
        pass

    @sa.event.listens_for(made, "do_connect")
    def _connect(dialect: Any, record: Any, positional: Any, named: dict[str, Any]) -> None:
        given.update(named)
        raise Enough

    with pytest.raises(Enough):
        made.connect()
    return given


def test_mysql_is_asked_in_utc_and_checked_against_its_certificate_authority() -> None:
    given = connect_arguments(database(MYSQL, parameters={"ssl_ca": "/etc/ca.pem", "read_timeout": 30}))
    assert {name: given[name] for name in ("host", "port", "user", "password", "database")} == {
        "host": "db", "port": 3306, "user": "cdc", "password": SECRET, "database": "shop",
    }  # fmt: skip
    assert given["init_command"] == "SET time_zone = '+00:00'"
    assert (given["program_name"], given["charset"], given["read_timeout"]) == ("cdc shop.poll", "utf8mb4", 30)
    assert (given["ssl_ca"], given["ssl_verify_cert"], given["ssl_verify_identity"]) == ("/etc/ca.pem", True, True)
    assert "ssl_verify_cert" not in connect_arguments(database(MYSQL))


def test_the_password_is_read_at_every_connection_and_shown_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "password"
    changing = database("mysql+pymysql://cdc@db/shop", password_file=str(file))
    for password in ("first", "se@cond:/%"):
        file.write_text(password + "\n")
        assert connect_arguments(changing)["password"] == password
    file.unlink()
    with pytest.raises(SecretUnavailable, match="cannot be read"):
        engine(changing, "x").connect()
    assert SECRET not in repr(engine(database(MYSQL), "x"))


def test_sqlite_is_opened_only_where_it_is(tmp_path: Path) -> None:
    file = tmp_path / "odd name?#%.db"
    url = "sqlite:///" + str(file).replace("%", "%25").replace("?", "%3F").replace("#", "%23")
    with pytest.raises(sa.exc.OperationalError):
        engine(database(url), "x").connect()
    assert list(tmp_path.iterdir()) == []
    sqlite3.connect(file).close()
    with engine(database(url), "x").connect() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install cdc-bridge\[mysql\]"):
        engine(database(MYSQL), "x")


def test_libpq_is_given_no_other_url() -> None:
    with pytest.raises(ConfigError, match="must begin with postgresql://"):
        conninfo(database(MYSQL), application_name="x")


class AnyConnector(ConnectorSettings):
    """One that can use whatever there is."""

    databases = drivers.KINDS
    database: str


class OneConnector(ConnectorSettings):
    """One that needs PostgreSQL."""

    database: str


class OneSink(SinkSettings):
    """One that needs PostgreSQL."""

    database: str


@pytest.mark.parametrize(("section", "problems"), [(AnyConnector, 0), (OneConnector, 1)])
def test_a_section_says_which_databases_it_can_use(section: type[ConnectorSettings], problems: int) -> None:
    settings = Settings(
        name="shop",
        kafka=KafkaSettings(bootstrap_servers="h:1"),
        databases={"w": database(MYSQL)},
        connectors={"c": section.model_validate({"type": "x", "database": "w"})},
    )
    place_settings(settings, {("databases", "w"): ("f", 1)})  # type: ignore[dict-item]
    assert len(list(consistency.problems_of(settings))) == problems


@pytest.mark.parametrize(("which", "line", "kind_"), [("warehouse", 10, "postgres_wal"), ("billing", 15, "postgres")])
def test_the_write_ahead_log_and_the_sink_need_postgresql(which: str, line: int, kind_: str, tmp_path: Path) -> None:
    urls = dict.fromkeys(("warehouse", "billing"), "postgresql://cdc@h/d") | {which: MYSQL}
    file = tmp_path / "bridge.yaml"
    file.write_text(f"""\
name: shop
kafka:
  bootstrap_servers: localhost:9092
databases:
  warehouse: {{url: "{urls["warehouse"]}"}}
  billing: {{url: "{urls["billing"]}"}}
connectors:
  warehouse:
    type: postgres_wal
    database: warehouse
    tables: [public.orders]
sinks:
  billing:
    type: postgres
    database: billing
    topics: [shop.public.orders]
""")
    with pytest.raises(ConfigError) as refused:
        load(file, {})
    (problem,) = refused.value.problems
    assert (problem.file, problem.line) == (str(file), line)
    assert problem.message == f"database {which} is of a kind (mysql) that {kind_} cannot use"
    assert problem.suggestion == "name one whose url begins with postgresql://, or choose another type"
    assert SECRET not in str(refused.value)
