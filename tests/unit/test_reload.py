"""Settings that change while the bridge runs: what is taken, and what is told and left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from cdc.config import Texts, from_texts, read, texts_in, write_texts
from cdc.errors import ConfigError, Problem
from cdc.reload import Reloading
from cdc.settings import Settings

YAML = 'name: {name}\nkafka: {{bootstrap_servers: "localhost:9092"}}\n'


class Taken:
    """A bridge that takes settings, and a file of them."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "cdc.yaml"
        self.write("first")
        self.names: list[str] = []
        self.refuse = False
        self.reloading = Reloading(self.file, read(self.file), self.take)

    def write(self, name: str) -> None:
        self.file.write_text(YAML.format(name=name))

    def take(self, settings: Settings, texts: Texts) -> None:
        if self.refuse:
            raise ConfigError([Problem("there is nothing to run")])
        assert from_texts(texts) == settings
        self.names.append(settings.name)

    def look(self, times: int) -> list[str]:
        """Look so often; what was told as an error."""
        with capture_logs() as told:
            for _ in range(times):
                self.reloading.look()
        return [problem for line in told if line["log_level"] == "error" for problem in line["problems"]]


@pytest.fixture
def bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Taken:
    monkeypatch.setattr("cdc.reload._log", structlog.get_logger())
    return Taken(tmp_path)


def test_what_did_not_change_is_not_loaded(bridge: Taken) -> None:
    bridge.file.touch()
    bridge.look(3)
    assert bridge.names == []


def test_a_change_is_taken_once_it_was_seen_twice(bridge: Taken) -> None:
    bridge.write("second")
    bridge.look(1)
    assert bridge.names == []
    bridge.look(3)
    assert bridge.names == ["second"]


def test_a_file_that_is_being_written_is_left_alone(bridge: Taken) -> None:
    bridge.file.write_text("name: [")
    assert bridge.look(1) == []
    bridge.write("second")
    assert bridge.look(2) == []
    assert bridge.names == ["second"]


def test_wrong_settings_are_told_once_with_all_problems_and_the_old_ones_stay(bridge: Taken) -> None:
    bridge.file.write_text("name: UPPER\nkafka: {bootstrap_server: x}\n")
    told = bridge.look(5)
    assert [part for part in told if "name: must be of a-z" in part]
    assert [part for part in told if "did you mean bootstrap_servers?" in part]
    assert len(told) == len(set(told))
    assert bridge.names == []
    bridge.write("second")
    bridge.look(2)
    assert bridge.names == ["second"]


def test_settings_that_are_of_no_use_here_are_told_as_well(bridge: Taken) -> None:
    bridge.refuse = True
    bridge.write("second")
    assert bridge.look(3) == ["there is nothing to run"]


def test_a_file_that_is_gone_is_told(bridge: Taken) -> None:
    bridge.file.unlink()
    (told,) = bridge.look(4)
    assert "there is no such file or folder" in told
    bridge.write("first")
    bridge.look(2)
    assert bridge.names == ["first"]


def test_when_asked_it_loads_what_did_not_change_too(bridge: Taken) -> None:
    bridge.reloading.ask()
    bridge.look(2)
    assert bridge.names == ["first"]


def test_a_worker_reads_the_settings_it_was_started_with_whatever_is_in_the_files(bridge: Taken) -> None:
    with write_texts(read(bridge.file)) as given:
        bridge.file.write_text("name: [")
        for _ in range(2):  # several processes share the open file
            assert from_texts(texts_in(given.fileno())).name == "first"
