"""`cdc check` of a sink: each thing that is missing, with the line that mends it, and nothing changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from pydantic import SecretStr

from cdc.plugins import Finding
from cdc.schemas import TableSchema
from cdc.settings import DatabaseSettings, KafkaSettings, Settings
from sinks.postgres import check
from sinks.postgres.settings import PostgresSinkSettings
from tests.databases import Database
from tests.sink_events import column, described

TOPIC = "shop.public.orders"


class Described:
    """Stands for the schemas topic."""

    def __init__(self, _: Settings) -> None: ...

    def refresh(self) -> bool:
        return True

    def topics(self) -> list[str]:
        return [TOPIC, "shop.public.of_no_concern"]

    def versions(self, topic: str) -> Sequence[TableSchema]:
        return [described(topic, [column("id", "bigint"), column("note", "text")])]

    def close(self) -> None: ...


@pytest.fixture
def role(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(check, "SchemaReader", Described)
    name = f"{database.name}_r"
    database.execute(f"CREATE ROLE {name} LOGIN")
    yield name
    database.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def findings(database: Database, role: str, **section: Any) -> list[Finding]:
    chosen = PostgresSinkSettings(database="target", topics=["shop.*.orders"], **section)
    settings = Settings(
        name="shop",
        kafka=KafkaSettings(bootstrap_servers="nowhere:9092"),
        databases={"target": DatabaseSettings(url=SecretStr(database.url(role)))},
        sinks={"billing": chosen},
    )
    return list(check.check(settings, "billing", chosen))


def errors(found: Sequence[Finding]) -> list[tuple[str, str | None]]:
    return [(finding.message, finding.mend) for finding in found if finding.level == "error"]


def mended(database: Database, found: Sequence[Finding]) -> None:
    for _, mend in errors(found):
        assert mend is not None
        database.execute(mend)


def test_missing_rights_are_shown_with_their_grants(database: Database, role: str) -> None:
    database.execute(f"REVOKE TEMPORARY ON DATABASE {database.name} FROM PUBLIC")
    found = findings(database, role)
    assert errors(found) == [
        (f"role {role} may not create them", f'GRANT TEMPORARY ON DATABASE "{database.name}" TO "{role}";'),
        (f"role {role} lacks USAGE, CREATE on schema public", f'GRANT USAGE, CREATE ON SCHEMA "public" TO "{role}";'),
    ]
    mended(database, found)
    found = findings(database, role)
    assert errors(found) == []
    assert [finding.message for finding in found if finding.level == "note"] == ["will be created"]


def test_a_missing_schema_is_shown(database: Database, role: str) -> None:
    assert errors(findings(database, role, schema="mine")) == [
        ("schema mine does not exist", f'CREATE SCHEMA "mine" AUTHORIZATION "{role}";')
    ]


def test_what_the_owner_has_to_make_is_shown_and_enough(database: Database, role: str) -> None:
    """With `create: false` every mend is run by the owner until nothing is missing."""
    for _ in range(2):
        found = findings(database, role, create=False)
        mended(database, found)
    found = findings(database, role, create=False)
    assert errors(found) == []
    assert [finding.message for finding in found if finding.level == "ok"][1:] == [f"fits {TOPIC}"]


def test_a_database_that_cannot_be_reached_is_one_line(database: Database, role: str) -> None:
    (finding,) = findings(database, f"{role}_unknown")
    assert finding.level == "error"
    assert "cannot connect" in finding.message
    assert finding.mend == "check the database's url and password"
