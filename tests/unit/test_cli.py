"""What goes wrong at the command line: words, exit codes, never a traceback."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cdc import cli
from cdc.commands.run import tasks_of
from cdc.errors import ConfigError, Gap
from cdc.failures import describe
from cdc.settings import ConnectorSettings, KafkaSettings, Settings, SinkSettings
from cdc.supervised import Task

KAFKA = KafkaSettings(bootstrap_servers="localhost:9092")


@pytest.fixture
def settings() -> Settings:
    return Settings(
        name="shop",
        kafka=KAFKA,
        connectors={"warehouse": ConnectorSettings(type="any")},
        sinks={"billing": SinkSettings(type="any", topics=["shop.public.orders"], workers=2)},
    )


def main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["cdc", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    def app(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", app)
    return main(monkeypatch)


def test_an_error_is_told_with_its_hint_and_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(monkeypatch, Gap("slot cdc_shop is lost", hint="cdc heal")) == 3
    assert capsys.readouterr().err == "error: slot cdc_shop is lost\n  hint: cdc heal\n"


def test_an_unexpected_error_is_one_line_without_its_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CDC_DEBUG", raising=False)
    assert failing(monkeypatch, KeyError("a row's value")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: internal error: KeyError at ")
    assert "please report it" in line
    assert "a row's value" not in line


def test_the_traceback_is_there_for_those_who_ask(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CDC_DEBUG", "1")
    assert failing(monkeypatch, KeyError("x")) == 1
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_is_no_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cdc.commands.status.fetch_status", interrupted)
    assert main(monkeypatch, "status", "--listen", "127.0.0.1:1") == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["run", "--bogus"], 2, "No such option: --bogus"),
        (["bogus"], 2, "No such command 'bogus'"),
        (["run", "--config", "missing.yaml"], 2, "missing.yaml: there is no such file"),
        (["status", "--listen", "nowhere"], 2, "such as 127.0.0.1:8083"),
        (["tail"], 2, "Missing argument 'TOPIC'"),
    ],
)
def test_wrong_usage(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    code: int,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(monkeypatch, *arguments) == code
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error


def test_listening_beyond_this_machine_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], settings: Settings
) -> None:
    monkeypatch.setattr("cdc.commands.run.read", lambda _: ())
    monkeypatch.setattr("cdc.commands.run.from_texts", lambda _: settings)
    assert main(monkeypatch, "run", "--listen", "0.0.0.0:8083") == 2
    assert "must be a loopback address" in capsys.readouterr().err


def test_run_starts_a_process_per_connector_and_per_member_of_a_sink(settings: Settings) -> None:
    assert tasks_of(settings, []) == [
        Task("connector", "warehouse"),
        Task("sink", "billing", 0),
        Task("sink", "billing", 1),
    ]


def test_run_starts_only_what_is_named(settings: Settings) -> None:
    assert tasks_of(settings, ["warehouse"]) == [Task("connector", "warehouse")]


def test_a_name_that_is_nothing_is_refused_with_a_suggestion(settings: Settings) -> None:
    with pytest.raises(ConfigError, match=r"no connector or sink is called 'warehose'.*did you mean warehouse"):
        tasks_of(settings, ["warehose"])


def test_settings_without_workers_are_nothing_to_run() -> None:
    with pytest.raises(ConfigError, match="nothing to run"):
        tasks_of(Settings(name="shop", kafka=KAFKA), [])


def test_an_error_of_a_database_is_named_by_its_code_alone() -> None:
    class UniqueViolation(Exception):
        sqlstate = "23505"

    try:
        raise UniqueViolation("Key (id)=(5) already exists")
    except UniqueViolation as error:
        told = describe(error)
    assert told["message"].startswith("internal error: UniqueViolation (23505) at ")
    assert "(id)" not in told["message"]
