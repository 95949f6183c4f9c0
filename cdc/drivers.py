"""Databases that are reached through SQLAlchemy and another driver than libpq: URLs and parameters. Makes engines.

A parameter that is not named here is refused: `init_command`, `read_default_file`, `odbc_connect`, a driver by the path
of its library and their like run code, read files or undo what the bridge sets.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from cdc.errors import ConfigError, Problem
from cdc.settings import DatabaseSettings, Wrong

if TYPE_CHECKING:
    import sqlalchemy as sa

_CONNECT_SECONDS = 10
_SILENT_SECONDS = 600
_BUSY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Driver:
    """One kind of database.

    Args:
        kind: SQLAlchemy's name of it.
        example: of a URL.
        module: the driver's, to see whether it is installed.
        package: what installs it.
        paths: parameters that name a certificate or its like.
        words: parameters that are text, with what their values must look like.
        numbers, flags: parameters that are whole numbers, true or false.
        file: whether the URL names a file instead of a server.
    """

    kind: str
    example: str
    module: str
    package: str
    paths: frozenset[str] = frozenset()
    words: Mapping[str, str] | None = None
    numbers: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()
    file: bool = False

    @property
    def parameters(self) -> frozenset[str]:
        """What may stand under `parameters:` or in a URL's query."""
        return self.paths | self.numbers | self.flags | (self.words or {}).keys()


_PLAIN: Final = r"[\w .:*-]+"

_MYSQL: Final[Mapping[str, Any]] = {
    "module": "pymysql",
    "package": "cdc-bridge[mysql]",
    "paths": frozenset({"ssl_ca", "ssl_cert", "ssl_key"}),
    "words": {"charset": r"utf8(mb[34])?"},
    "numbers": frozenset({"connect_timeout", "read_timeout", "write_timeout"}),
    "flags": frozenset({"ssl_verify_cert", "ssl_verify_identity", "ssl_disabled"}),
}

DRIVERS: Final[Mapping[str, Driver]] = {
    "mysql+pymysql://": Driver("mysql", "mysql+pymysql://user@host:3306/database", **_MYSQL),
    "mariadb+pymysql://": Driver("mariadb", "mariadb+pymysql://user@host:3306/database", **_MYSQL),
    "sqlite:///": Driver("sqlite", "sqlite:////var/lib/shop.db", "sqlite3", "Python", file=True),
    "duckdb:///": Driver("duckdb", "duckdb:////var/lib/shop.duckdb", "duckdb_engine", "cdc-bridge[duckdb]", file=True),
    "mssql+pyodbc://": Driver(
        "mssql",
        "mssql+pyodbc://user@host:1433/database?driver=ODBC+Driver+18+for+SQL+Server",
        "pyodbc",
        "pyodbc",
        paths=frozenset({"ServerCertificate"}),
        words={
            # A name that odbcinst.ini knows, and no path.
            "driver": r"[\w .()-]+",
            "Encrypt": r"yes|no|true|false|optional|mandatory|strict",
            "TrustServerCertificate": r"yes|no",
            "HostNameInCertificate": _PLAIN,
            "ApplicationIntent": r"ReadOnly|ReadWrite",
            "MultiSubnetFailover": r"yes|no",
        },
    ),
    "oracle+oracledb://": Driver(
        "oracle",
        "oracle+oracledb://user@host:1521/?service_name=shop",
        "oracledb",
        "oracledb",
        paths=frozenset({"wallet_location"}),
        words={"service_name": _PLAIN, "protocol": r"tcps?", "ssl_server_cert_dn": r"[\w .,=@*-]+"},
        numbers=frozenset({"retry_count", "retry_delay"}),
        flags=frozenset({"ssl_server_dn_match"}),
    ),
}
"""How a URL begins → what is known of such databases."""

BEGINNINGS: Final = tuple(DRIVERS)

KINDS: Final = frozenset({"postgresql", *(driver.kind for driver in DRIVERS.values())})
"""Every kind of database that a section may say it can use."""


def driver_of(url: str) -> Driver | None:
    """The driver that a URL names, or None."""
    return next((driver for beginning, driver in DRIVERS.items() if url.startswith(beginning)), None)


def wrongs_of(driver: Driver, database: DatabaseSettings) -> Iterator[Wrong]:
    """What is wrong with the URL and the parameters' values, judged without I/O."""
    url = _parsed(database.url.get_secret_value())
    if url is None:
        suggestion = f"such as {driver.example}; in a password write @ as %40, : as %3A and / as %2F"
        yield Wrong(("url",), "is not a URL that can be read", suggestion)
        return
    if driver.file:
        yield from _file_wrongs(driver, url, database)
    elif not url.host or (not url.database and driver.kind != "oracle"):
        yield Wrong(("url",), "must name a server and a database", f"such as {driver.example}")
    if database.replication_url is not None:
        yield Wrong(("replication_url",), "has no use: only PostgreSQL is replicated from", "remove it")
    for name, value in url.query.items():
        if name not in driver.parameters:
            close = get_close_matches(name, driver.parameters, n=1)
            possible = ", ".join(sorted(driver.parameters)) or "none"
            suggestion = f"did you mean {close[0]}?" if close else f"possible are {possible}"
            yield Wrong(("url",), f"its query holds {name}, which may not be set here", suggestion)
        elif (wrong := _value_wrong(driver, name, value)) is not None:
            yield Wrong(("url",), f"its query holds {name}, which {wrong}")
    for name, text in database.parameters.items():
        wrong = _value_wrong(driver, name, text) if name in driver.parameters else None
        if wrong is not None:
            yield Wrong(("parameters", name), wrong)
    merged = {**url.query, **database.parameters}
    checks = [name for name in ("ssl_verify_cert", "ssl_verify_identity") if merged.get(name) == "true"]
    if checks and "ssl_ca" not in merged:
        # PyMySQL would check nothing, and say nothing.
        yield Wrong(
            ("parameters",) if database.parameters else ("url",), f"{checks[0]} needs ssl_ca", "add ssl_ca: FILE"
        )


def masked(url: str) -> str:
    """`user@host:port/database`, or the file: what of a URL may be shown."""
    parsed = _parsed(url)
    if parsed is None:
        return "(a database URL that cannot be read)"
    if parsed.host is None:
        return parsed.database or ""
    user = f"{parsed.username}@" if parsed.username else ""
    port = f":{parsed.port}" if parsed.port else ""
    return f"{user}{parsed.host}{port}/{parsed.database or parsed.query.get('service_name', '')}"


def postgres_engine(connect: Callable[[], Any]) -> sa.Engine:
    """An engine over connections of ours."""
    import sqlalchemy as sa

    return sa.create_engine("postgresql+psycopg://", poolclass=sa.NullPool, creator=connect)


def engine(
    text: str, parameters: Mapping[str, str], password: Callable[[], str | None], application_name: str
) -> sa.Engine:
    """An engine that makes a new connection each time, with the password as it is then.

    Args:
        text: a URL without wrongs.
        parameters: over those of the URL's query.
        password: asked at each connection; None: the URL's, if it has one.
        application_name: shown by the server.
    Raises: ConfigError: the driver is not installed.
    """
    # Here, and not at the top: what needs no engine should not wait for it.
    import sqlalchemy as sa

    driver, url = driver_of(text), _parsed(text)
    assert driver is not None
    assert url is not None
    if find_spec(driver.module) is None:
        message = f"the driver for {driver.kind} is not installed"
        raise ConfigError([Problem(message, "url", suggestion=f"pip install {driver.package}")])
    given = {**{name: str(value) for name, value in url.query.items()}, **parameters}
    if driver.kind == "sqlite":
        return sa.create_engine("sqlite://", poolclass=sa.NullPool, creator=lambda: _sqlite(url.database or ""))
    if driver.kind == "mssql":
        # Its parameters are part of the driver's connection string.
        url, given = url.set(query={**given, "APP": application_name}), {}
    else:
        url = url.set(query={name: given.pop(name) for name in ("service_name",) if name in given})
    options = _options(driver, given, application_name)
    made = sa.create_engine(url, poolclass=sa.NullPool, connect_args=options)

    @sa.event.listens_for(made, "do_connect")
    def _with_password(dialect: sa.Dialect, record: Any, positional: list[Any], named: dict[str, Any]) -> None:
        secret = password()
        if secret is not None:
            others, own = dialect.create_connect_args(url.set(password=secret))
            positional[:] = others
            named.update(own)

    return made


def _options(driver: Driver, given: Mapping[str, str], application_name: str) -> dict[str, Any]:
    typed: dict[str, Any] = {
        name: int(value) if name in driver.numbers else value == "true" if name in driver.flags else value
        for name, value in given.items()
    }
    match driver.kind:
        case "mysql" | "mariadb":
            # With a CA, PyMySQL by itself checks neither the certificate nor its name.
            checked = {"ssl_verify_cert": True, "ssl_verify_identity": True} if "ssl_ca" in typed else {}
            return {
                "charset": "utf8mb4",
                "connect_timeout": _CONNECT_SECONDS,
                # A server that is gone without a word is noticed in the end.
                "read_timeout": _SILENT_SECONDS,
                "write_timeout": 60,
                # A TIMESTAMP is told in the session's zone.
                "init_command": "SET time_zone = '+00:00'",
                "program_name": application_name,
                **checked,
                **typed,
            }
        case "duckdb":
            # One process alone may write, and it is not this one.
            return {"read_only": True}
        case "mssql":
            return {"timeout": _CONNECT_SECONDS}
        case _:
            return {"tcp_connect_timeout": _CONNECT_SECONDS, "program": application_name, **typed}


def _sqlite(path: str) -> sqlite3.Connection:
    """A connection to a file that is there: SQLite by itself would make one."""
    return sqlite3.connect(f"file:{quote(path)}?mode=rw", uri=True, timeout=_BUSY_SECONDS, check_same_thread=False)


def _parsed(text: str) -> sa.URL | None:
    import sqlalchemy as sa

    try:
        return sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        return None


def _file_wrongs(driver: Driver, url: sa.URL, database: DatabaseSettings) -> Iterator[Wrong]:
    # "sqlite:///shop.db" would be looked for wherever the bridge happens to be started.
    if not url.database or not PurePath(url.database).is_absolute():
        yield Wrong(("url",), "must name a file by its absolute path, with four slashes", f"such as {driver.example}")
    for name in ("password", "password_file", "password_command"):
        if getattr(database, name) is not None:
            yield Wrong((name,), f"has no use: {driver.kind} is a file", "remove it")


def _value_wrong(driver: Driver, name: str, value: object) -> str | None:
    """What is wrong with a parameter's value, which is not shown."""
    if not isinstance(value, str):
        return "is given twice"
    if name in driver.numbers and not re.fullmatch(r"\d{1,9}", value):
        return "must be a whole number"
    if name in driver.flags and value not in ("true", "false"):
        return "must be true or false"
    if driver.words and name in driver.words and not re.fullmatch(driver.words[name], value, re.ASCII):
        return "has a value that may not be set here"
    if name in driver.paths and re.search(r"[;{}\0]", value):
        return "must be the name of a file"
    return None
