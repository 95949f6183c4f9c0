"""What a `sql_poll` connector's section may not say, by the kind of its database."""

from __future__ import annotations

from typing import Any

import pytest

from cdc.settings import DatabaseSettings, KafkaSettings, Settings
from connectors.sql_poll.settings import SqlPollSettings

POSTGRES, MARIADB = "postgresql://cdc@db/shop", "mariadb+pymysql://cdc@db/shop"


def wrongs(url: str, options: dict[str, Any], **section: Any) -> list[str]:
    table = {"mode": "full", **options}
    poll = SqlPollSettings.model_validate({"database": "d", "tables": {"shop.t": table}, **section})
    databases = {"d": DatabaseSettings.model_validate({"url": url})}
    settings = Settings(name="shop", kafka=KafkaSettings(bootstrap_servers="localhost:1"), databases=databases)
    return [wrong.message for wrong in poll.wrongs(settings, "poll")]


@pytest.mark.parametrize(
    ("options", "section", "says"),
    [
        ({"mode": "snapshot_xmin"}, {}, "snapshot_xmin needs PostgreSQL, and this is mariadb"),
        ({}, {"busy": {"active_sessions": 5}}, "needs PostgreSQL, and this is mariadb"),
        ({"mask": {"/mail/": {"constant": "x"}}}, {}, "/mail/ is a regular expression, which needs PostgreSQL"),
        ({"mask": {"mail": {"asterisks": 3}}}, {}, "asterisks and hash need PostgreSQL"),
        ({"mask": {"mail": {"hash": "SHA-256", "salt": "s"}}}, {}, "asterisks and hash need PostgreSQL"),
    ],
)
def test_what_needs_postgresql_is_refused_elsewhere(
    options: dict[str, Any], section: dict[str, Any], says: str
) -> None:
    [said] = wrongs(MARIADB, options, **section)
    assert says in said
    assert wrongs(POSTGRES, options, **section) == []


@pytest.mark.parametrize(
    ("url", "section", "says"),
    [
        ("sqlite:////var/lib/shop.db", {"statement_timeout": "5s"}, ["has no effect on sqlite"]),
        ("duckdb:////var/lib/shop.duckdb", {"isolation": "read_committed"}, ["has no effect on duckdb"]),
        ("oracle+oracledb://cdc@db:1521/?service_name=shop", {"isolation": "read_committed"}, []),
        ("oracle+oracledb://cdc@db:1521/?service_name=shop", {"statement_timeout": "5s"}, ["has no effect on oracle"]),
        (MARIADB, {"statement_timeout": "5s", "isolation": "read_committed"}, []),
        (MARIADB, {"session_timeout": "5s"}, ["has no effect on mariadb"]),
        (POSTGRES, {"statement_timeout": "5s", "isolation": "read_committed", "session_timeout": "5s"}, []),
    ],
)
def test_settings_that_a_database_cannot_do_are_refused(url: str, section: dict[str, Any], says: list[str]) -> None:
    assert wrongs(url, {}, **section) == says
