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
