"""What `cdc check` makes of findings: words, and exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cdc import kafka_check, plugins
from cdc.acls import needed
from cdc.commands.check import examine, lines, summary
from cdc.errors import CdcError, Gap, SourceUnavailable
from cdc.plugins import Finding
from cdc.settings import ConnectorSettings, KafkaSettings, Settings, SinkSettings


@pytest.fixture
def settings() -> Settings:
    return Settings(
        name="shop",
        kafka=KafkaSettings(bootstrap_servers="localhost:9092"),
        connectors={"warehouse": ConnectorSettings(type="any")},
        sinks={"billing": SinkSettings(type="any", topics=["shop.public.*"], on_refused="dead_letter")},
    )


def examined(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, findings: list[Finding], error: CdcError | None = None
) -> list[tuple[str, int]]:
    def check(*_: Any) -> Iterator[Finding]:
        yield from findings
        if error:
            raise error

    def create(*_: Any) -> Any:
        raise AssertionError("nothing is started")

    connector = plugins.ConnectorPlugin(ConnectorSettings, create, check)
    sink = plugins.SinkPlugin(SinkSettings, create, lambda *_: [Finding("ok", "sink billing", "is well")])
    monkeypatch.setattr(plugins, "connector_plugins", lambda: {"any": connector})
    monkeypatch.setattr(plugins, "sink_plugins", lambda: {"any": sink})
    monkeypatch.setattr(kafka_check, "findings", lambda *_: [])
    return [(finding.message, code) for finding, code in examine(settings, [])]


@pytest.mark.parametrize(("level", "code"), [("ok", 0), ("note", 0), ("warning", 0), ("error", 1)])
def test_only_errors_ask_for_an_exit_code(
    level: Any, code: int, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [Finding(level, "connector warehouse", "found")]
    assert examined(settings, monkeypatch, found) == [("found", code), ("is well", 0)]


@pytest.mark.parametrize(("error", "code"), [(Gap("lost", hint="heal"), 3), (SourceUnavailable("away"), 1)])
def test_what_goes_wrong_in_one_place_does_not_hide_the_others(
    error: CdcError, code: int, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert examined(settings, monkeypatch, [], error) == [(error.message, code), ("is well", 0)]


def test_a_finding_shows_the_line_that_mends_it_by_itself() -> None:
    shown = lines(Finding("error", "connector warehouse: role", "may not replicate", "ALTER ROLE cdc REPLICATION;"))
    assert shown.plain == "✗ connector warehouse: role  may not replicate\n      ALTER ROLE cdc REPLICATION;"


def test_the_last_line_says_whether_it_would_run() -> None:
    fine, wrong = Finding("ok", "a", "b"), Finding("error", "a", "b")
    assert summary([fine, fine]).plain == "\nready: 2 checks are well, no warnings"
    assert summary([fine, wrong]).plain == "\nnot ready: 1 error, no warnings"


def test_the_acls_of_a_sink(settings: Settings) -> None:
    assert [str(acl) for acl in needed(settings, {"billing"})] == [
        "Describe on group shop.cdc*",
        "Read on group shop.billing",
        "Describe, DescribeConfigs, Read on topic shop.public.*",
        "Describe, Create, Write, Read on topic shop.cdc.dead-letters",
        "Describe, Read on topic shop.cdc.schemas",
    ]
