"""Debezium's own connector in a Java process, told by lines: see Debezium.java. Starts processes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Final, Self

import psycopg

from cdc.testing.servers import maven_jars

HERE: Final = Path(__file__).parent
POM: Final = HERE / "debezium-pom.xml"
SECONDS: Final = 120.0

QUIET: Final = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"


class DebeziumFailed(Exception):
    """The connector ended by itself, or did not answer in time."""


class Debezium:
    """One Java process that runs one connector after the other.

    Args:
        folder: for its files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._jars = maven_jars(POM, "debezium")
        self._runs = 0

    def __enter__(self) -> Self:
        command = ["java", "-Xmx768m", QUIET, "-cp", f"{self._jars}/*", str(HERE / "Debezium.java")]
        self._log = (self._folder / "debezium.log").open("a")
        self._java = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, encoding="utf-8"
        )
        self._said: SimpleQueue[str] = SimpleQueue()
        Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._java.kill()
        self._java.wait()
        self._log.close()

    def start(self, properties: Mapping[str, str]) -> None:
        """Start a connector; `properties` are its own, as Kafka Connect has them."""
        self._runs += 1
        file = self._folder / f"{self._runs}.properties"
        self._out = self._folder / f"{self._runs}.jsonl"
        given = {
            "name": "compare",
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "offset.storage": "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
            "offset.flush.interval.ms": "0",
            "poll.interval.ms": "20",
            "errors.max.retries": "0",
            **properties,
        }
        escaped = {name: value.replace("\\", "\\\\") for name, value in given.items()}
        file.write_text("".join(f"{name}={value}\n" for name, value in escaped.items()), encoding="utf-8")
        self._tell(f"start {file} {self._out}")

    def wait_for_streaming(self, session: psycopg.Connection[Any], slot: str) -> None:
        """Wait until its snapshot is over and it streams; `session` is on the same server."""
        query = (
            "SELECT 1 FROM pg_replication_slots s JOIN pg_stat_replication r ON r.pid = s.active_pid "
            "WHERE s.slot_name = %s AND r.state = 'streaming'"
        )
        deadline = monotonic() + SECONDS
        while session.execute(query, [slot]).fetchone() is None:
            with suppress(Empty):
                raise DebeziumFailed(self._said.get_nowait())
            if monotonic() > deadline:
                raise DebeziumFailed("it did not begin to stream")
            sleep(0.05)

    def wait_for_marker(self) -> None:
        """Wait until a logical message with the prefix compare_marker was emitted."""
        self._hear("marker")

    def stop(self) -> list[dict[str, Any]]:
        """End the connector; returns its records: topic, offset, `plain` and `schemas` with key, value, headers."""
        self._tell("stop")
        self._hear("stopped")
        return [json.loads(line) for line in self._out.read_text(encoding="utf-8").split("\n")[:-1]]

    def _tell(self, line: str) -> None:
        assert self._java.stdin is not None
        self._java.stdin.write(f"{line}\n")
        self._java.stdin.flush()

    def _hear(self, wanted: str) -> None:
        while True:
            try:
                line = self._said.get(timeout=SECONDS)
            except Empty:
                raise DebeziumFailed(f"{wanted} was not said within {SECONDS:g} s") from None
            if line == wanted:
                return
            if line.startswith("failed") or not line:
                raise DebeziumFailed(line or "the process ended")

    def _listen(self) -> None:
        assert self._java.stdout is not None
        for line in self._java.stdout:
            self._said.put(line.rstrip("\n"))
        self._said.put("")
