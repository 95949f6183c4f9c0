"""Drivers of SQL Server and Oracle stood in for: they keep what they are sent, and answer as told."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest

from cdc.settings import DatabaseSettings, KafkaSettings, Settings
from connectors.sql_poll.generic_source import GenericSource
from connectors.sql_poll.settings import SqlPollSettings

URLS = {
    "pyodbc": "mssql+pyodbc://cdc@db/shop?driver=ODBC+Driver+18+for+SQL+Server",
    "oracledb": "oracle+oracledb://cdc@db:1521/?service_name=shop",
}

Answer = tuple[Sequence[Any], Sequence[Sequence[Any]]]
"""What `cursor.description` says, and rows."""


@dataclass(frozen=True)
class Constant:
    """One of a driver's names of types."""

    name: str


class Driver(ModuleType):
    """A DBAPI module; each statement is kept, and answered by the first pattern that is found in it."""

    apilevel, threadsafety, version, __version__ = "2.0", 1, "3.2.0", "3.2.0"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)
        self.paramstyle = "qmark" if name == "pyodbc" else "named"
        self.sent: list[tuple[str, Any]] = []
        self.answers: list[tuple[str, Answer]] = []
        self.Error = type("Error", (Exception,), {"__module__": name})
        for error in ("DatabaseError", "OperationalError", "ProgrammingError", "InterfaceError", "DataError"):
            setattr(self, error, type(error, (self.Error,), {"__module__": name}))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Constant(name)

    def makedsn(self, *parts: Any, **named: Any) -> str:
        return "db:1521/shop"

    def connect(self, *arguments: Any, **named: Any) -> Connection:
        return Connection(self)


class Connection:
    autocommit = False

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.version, self.max_identifier_length = "19.0.0.0.0", 128

    def cursor(self) -> Cursor:
        return Cursor(self.driver)

    def commit(self) -> None: ...

    rollback = close = commit

    def add_output_converter(self, *_: Any) -> None: ...


class Cursor:
    arraysize, rowcount, outputtypehandler = 100, -1, None

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.description: Sequence[Any] | None = None
        self._rows: list[Sequence[Any]] = []

    def execute(self, statement: str, parameters: Any = ()) -> None:
        said = " ".join(statement.split())
        self.driver.sent.append((said, parameters))
        for pattern, (description, rows) in self.driver.answers:
            if re.search(pattern, said):
                self.description, self._rows = description, list(rows)
                return
        if re.match(r"SELECT|WITH", said, re.IGNORECASE):
            raise AssertionError(f"nobody answers {said}")

    def fetchall(self) -> list[Sequence[Any]]:
        rows, self._rows = self._rows, []
        return rows

    def fetchmany(self, size: int = 1) -> list[Sequence[Any]]:
        rows, self._rows = self._rows[:size], self._rows[size:]
        return rows

    def fetchone(self) -> Sequence[Any] | None:
        return next(iter(self.fetchmany(1)), None)

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None: ...

    def setinputsizes(self, *_: Any, **__: Any) -> None: ...


class Moving(list[Sequence[Any]]):
    """One row with one value, which is looked at when it is asked for."""

    def __init__(self, value: list[Any]) -> None:
        super().__init__([value])


def names(*columns: str) -> list[tuple[Any, ...]]:
    return [(column, str, None, None, None, None, True) for column in columns]


def made(monkeypatch: pytest.MonkeyPatch, name: str) -> Driver:
    driver = Driver(name)
    monkeypatch.setitem(sys.modules, name, driver)
    return driver


def source(driver: Driver, **section: Any) -> GenericSource:
    options = {"database": "x", "tables": ["dbo.t"], **section}
    databases = {"x": DatabaseSettings.model_validate({"url": URLS[driver.__name__]})}
    settings = Settings(name="shop", kafka=KafkaSettings(bootstrap_servers="localhost:1"), databases=databases)
    return GenericSource(settings, "poll", SqlPollSettings.model_validate(options))


STARTS: dict[str, list[tuple[str, Answer]]] = {
    "pyodbc": [
        (r"ProductVersion", (names("v"), [("16.0.1000.6",)])),
        (r"^SELECT schema_name\(\)$", (names("s"), [("dbo",)])),
        (r"FROM sys\.system_views", (names("n"), [("dm_exec_sessions",)])),
        (r"transaction_isolation_level", (names("i"), [("READ COMMITTED",)])),
        (r"test max support|fn_listextendedproperty", (names("t"), [("x",)])),
        (r"\[SCHEMATA\]", (names("name"), [])),
    ],
    "oracledb": [
        (r"SELECT value FROM v\$parameter|compatible", (names("v"), [("19.0.0",)])),
        (r"sys_context", (names("u"), [("CDC",)])),
        (r"^SELECT 1\.1 FROM DUAL", (names("n"), [("1.1",)])),
        (r"ALL_USERS|all_users", (names("username"), [])),
    ],
}
"""What SQLAlchemy asks when it connects, and which schemas there are: none."""
