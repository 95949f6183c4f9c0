"""Database settings → libpq connection string or SQLAlchemy engine. Reads password files, runs commands.

Parameters of libpq and of other drivers can load code, read other files or change the session (`options`,
`service`, `sslkeylogfile`, `init_command`, `odbc_connect`), so only those that are named here are taken, also from a
URL's query.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from cdc import drivers
from cdc.errors import ConfigError, Problem, SecretUnavailable
from cdc.settings import DatabaseSettings, Wrong, dotted

if TYPE_CHECKING:
    import sqlalchemy as sa

_LIBPQ_PATHS = frozenset({"sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir"})

_LIBPQ = _LIBPQ_PATHS | {
    "application_name", "channel_binding", "connect_timeout", "gssencmode", "keepalives", "keepalives_count",
    "keepalives_idle", "keepalives_interval", "krbsrvname", "load_balance_hosts", "require_auth",
    "ssl_max_protocol_version", "ssl_min_protocol_version", "sslcertmode", "sslmode", "sslnegotiation", "sslsni",
    "target_session_attrs", "tcp_user_timeout",
}  # fmt: skip

PATHS = _LIBPQ_PATHS.union(*(driver.paths for driver in drivers.DRIVERS.values()))
"""Parameters that name a file; `cdc.config` makes them relative to the YAML's folder."""

PARAMETERS = _LIBPQ.union(*(driver.parameters for driver in drivers.DRIVERS.values()))
"""What may stand under `parameters:`, for one kind of database or another."""

_IN_THE_URL = frozenset({"host", "hostaddr", "port", "dbname", "user", "password"})
_COMMAND_SECONDS = 15.0
_DEFAULTS = {
    "connect_timeout": "10",
    # A peer that is gone without a word is noticed within half a minute, not when TCP gives up.
    "tcp_user_timeout": "20000",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
}


def conninfo(database: DatabaseSettings, *, replication: bool = False, application_name: str) -> str:
    """The libpq connection string for one connection, made anew each time: passwords may expire.

    Args:
        database: the section under `databases:`.
        replication: for a replication connection (`replication=database`, by `replication_url` if given).
        application_name: what `pg_stat_activity` shows, unless the settings say otherwise.

    Raises:
        ConfigError: the URL or a parameter is not allowed.
        SecretUnavailable: the password's file or command gives nothing; retriable.
    """
    _refuse(wrongs_of(database))
    if kind(database) != "postgresql":
        raise ConfigError([Problem("must begin with postgresql://", "url")])
    url = database.replication_url if replication and database.replication_url else database.url
    merged: dict[str, str] = {"application_name": application_name, **_DEFAULTS, **_parsed(url), **database.parameters}
    secret = _password(database)
    if secret is not None:
        merged["password"] = secret
    if replication:
        merged["replication"] = "database"
    return make_conninfo("", **merged)


def engine(database: DatabaseSettings, application_name: str) -> sa.Engine:
    """What makes connections by SQLAlchemy, a new one each time. Times are in UTC, where the database has sessions.

    Args:
        database: the section under `databases:`; not PostgreSQL, which goes by `conninfo`.
        application_name: what the server shows of the session, where it shows something.

    Raises:
        ConfigError: the URL or a parameter is not allowed, or the driver is not installed. Connecting may raise
            SecretUnavailable.
    """
    _refuse(wrongs_of(database))
    return drivers.engine(
        database.url.get_secret_value(), database.parameters, lambda: _password(database), application_name
    )


def kind(database: DatabaseSettings) -> str:
    """`postgresql`, or another name of `drivers.DRIVERS`; "" for a URL that begins like none."""
    url = database.url.get_secret_value()
    if re.match(r"postgres(ql)?://", url):
        return "postgresql"
    driver = drivers.driver_of(url)
    return driver.kind if driver else ""


def masked(url: SecretStr | str) -> str:
    """`user@host:port/database`: what of a URL may be shown."""
    plain = url.get_secret_value() if isinstance(url, SecretStr) else url
    if drivers.driver_of(plain):
        return drivers.masked(plain)
    try:
        parts = _parsed(url)
    except ProgrammingError:
        return "(a database URL that cannot be read)"
    hosts = parts.get("host", parts.get("hostaddr", "localhost")).split(",")
    ports = parts.get("port", "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    places = ",".join(f"{host}:{port}" if port else host for host, port in zip(hosts, ports, strict=False))
    user = f"{parts['user']}@" if "user" in parts else ""
    return f"{user}{places}/{parts.get('dbname', parts.get('user', ''))}"


def server(database: DatabaseSettings) -> str:
    """Host and port of the server: two databases there share slots and roles."""
    return masked(database.replication_url or database.url).rpartition("@")[2].split("/")[0]


def wrongs_of(database: DatabaseSettings) -> Iterator[Wrong]:
    """What is wrong with the section, judged without I/O."""
    driver = drivers.driver_of(database.url.get_secret_value())
    if driver is None:
        yield from _url_wrongs("url", database.url)
    else:
        yield from drivers.wrongs_of(driver, database)
    if database.replication_url is not None:
        yield from _url_wrongs("replication_url", database.replication_url)
    given = [k for k in ("password", "password_file", "password_command") if getattr(database, k) is not None]
    if database.password_file is not None and database.password is not None:
        given.remove("password")  # filled from the file by cdc.config
    if len(given) > 1:
        yield Wrong(
            (given[-1],), f"is one too many beside {' and '.join(given[:-1])}", "give one way to the password only"
        )
    if database.password_command is not None and not _words(database.password_command):
        yield Wrong(("password_command",), "is not a command line that can be read", "check its quotes")
    allowed = driver.parameters if driver else _LIBPQ
    for name in database.parameters:
        if name not in allowed:
            yield Wrong(("parameters", name), "is not a parameter that may be set here", _instead(name, allowed))


def _url_wrongs(key: str, url: SecretStr) -> Iterator[Wrong]:
    example = "such as postgresql://user@host:5432/database"
    if not re.match(r"postgres(ql)?://", url.get_secret_value()):
        others = "" if key == "replication_url" else f" (or {', '.join(drivers.BEGINNINGS)})"
        yield Wrong((key,), f"must begin with postgresql://{others}", example)
        return
    try:
        parts = _parsed(url)
    except ProgrammingError:
        # libpq's own message would show parts of the URL, and so of a password.
        suggestion = f"{example}; in a password write @ as %40, : as %3A, / as %2F and % as %25, or use password_file"
        yield Wrong((key,), "is not a URL that libpq can read", suggestion)
        return
    for name in parts.keys() - _IN_THE_URL - _LIBPQ:
        yield Wrong((key,), f"its query holds {name}, which may not be set here", _instead(name, _LIBPQ))


def _refuse(wrongs: Iterator[Wrong]) -> None:
    problems = [Problem(wrong.message, dotted(wrong.path), suggestion=wrong.suggestion) for wrong in wrongs]
    if problems:
        raise ConfigError(problems)


def _parsed(url: SecretStr | str) -> dict[str, str]:
    text = url.get_secret_value() if isinstance(url, SecretStr) else url
    return {key: str(value) for key, value in conninfo_to_dict(text).items() if value is not None}


def _instead(name: str, allowed: Collection[str]) -> str:
    if name in _IN_THE_URL:
        return "it belongs into url, a password into password_file"
    close = get_close_matches(name, allowed, n=1)
    return f"did you mean {close[0]}?" if close else f"possible are {', '.join(sorted(allowed)) or 'none'}"


def _password(database: DatabaseSettings) -> str | None:
    if database.password_file is not None:
        return read_secret(Path(database.password_file), "password_file")
    if database.password_command is not None:
        return _ask(_words(database.password_command))
    return database.password.get_secret_value() if database.password is not None else None


def read_secret(path: Path, what: str) -> str:
    """A secret's file without its last line end.

    Raises:
        SecretUnavailable: it cannot be read, or is empty.
    """
    try:
        secret = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise SecretUnavailable(f"{what} {path} cannot be read: {reason}") from None
    if not secret:
        raise SecretUnavailable(f"{what} {path} is empty")
    return secret


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return []


def _ask(words: list[str]) -> str:
    """What a password command prints. Neither its output nor its errors are shown: both may hold secrets."""
    hint = "run it by hand as the same user; it must print the password and end with status 0"
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise SecretUnavailable(f"password_command {words[0]} took over {_COMMAND_SECONDS:.0f} s", hint=hint) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "its output is not text"
        raise SecretUnavailable(f"password_command {words[0]} cannot be run: {reason}", hint=hint) from None
    if done.returncode != 0:
        raise SecretUnavailable(f"password_command {words[0]} ended with status {done.returncode}", hint=hint)
    secret = done.stdout.rstrip("\r\n")
    if not secret:
        raise SecretUnavailable(f"password_command {words[0]} printed nothing", hint=hint)
    return secret
