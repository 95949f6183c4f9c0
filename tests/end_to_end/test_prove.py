"""`cdc prove`, a shorter run of it: nothing is lost, doubled, disordered, invented or altered under any fault.

`CDC_FAULTS`, `CDC_ROUNDS` and `CDC_SEED` make longer and other runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cdc.testing.servers import KafkaServer

FAULTS = (
    "connector-killed", "snapshot-killed", "two-copies", "frozen", "failpoints-running", "kafka-killed",
    "postgres-crashed", "walsender-terminated", "target-restarted", "ddl-in-stream",
)  # fmt: skip


@pytest.mark.timeout(3600)
def test_every_promise_holds(kafka: KafkaServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The fixture only makes sure that there is a real Kafka: the prover starts its own."""
    page = tmp_path / "guarantees.md"
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "cdc.cli", "prove", "--rows", "50000", "--report", str(page)),
            *("--faults", os.environ.get("CDC_FAULTS", ",".join(FAULTS))),
            *("--rounds", os.environ.get("CDC_ROUNDS", "1"), "--seed", os.environ.get("CDC_SEED", "1")),
        ],
        env={**os.environ, "COLUMNS": "180"},
        capture_output=True,
        text=True,
    )
    with capsys.disabled():
        print(f"\n{ran.stdout[ran.stdout.find('fault ') - 2 :]}{ran.stderr}")
    assert ran.returncode == 0, ran.stdout
    told = json.loads(page.with_suffix(".json").read_text())
    assert told["held"] is True
    assert not told["left_out"]
    assert all(fault["rounds"] and fault["events"] for fault in told["faults"])
    assert "| **all** |" in page.read_text()
