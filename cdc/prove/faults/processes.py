"""Processes of the bridge: killed, stopped, started twice. Sends signals."""

from __future__ import annotations

import os
import signal
from random import Random
from time import sleep

from cdc.prove.fault import Fault, Setting
from cdc.prove.stage import Stage
from cdc.prove.waiting import eventually


def kill_connector(stage: Stage, rng: Random) -> None:
    sleep(rng.uniform(0, 0.8))
    _kill_worker(stage, "connector")


def kill_sink(stage: Stage, rng: Random) -> None:
    sleep(rng.uniform(0, 0.8))
    _kill_worker(stage, "sink")


def kill_all_in_stream(stage: Stage, rng: Random) -> None:
    sleep(rng.uniform(0, 1.5))
    stage.bridge.kill()
    stage.struck()
    stage.bridge.start()


def kill_all_in_snapshot(stage: Stage, rng: Random) -> None:
    """Four kills: from the first moments of the start to the last of the snapshot."""
    for _ in range(3):
        if rng.random() < 0.7:
            eventually(stage.bridge.reads, 120, "a snapshot is read")
        sleep(rng.uniform(0, 1.2))
        stage.bridge.kill()
        stage.bridge.start()
    eventually(stage.bridge.reads, 120, "a snapshot is read")
    sleep(rng.uniform(0, 0.3))
    stage.bridge.kill()
    stage.struck()
    stage.bridge.start()


def _kill_worker(stage: Stage, kind: str) -> None:
    worker = eventually(lambda: next(stage.bridge.workers(kind=kind), None), 60, f"a {kind} runs")
    assert worker is not None
    os.kill(worker, signal.SIGKILL)
    stage.struck()


FAULTS = (
    Fault("connector-killed", "SIGKILL of the connector's process at a random moment", kill_connector),
    Fault("sink-killed", "SIGKILL of a sink's process at a random moment", kill_sink),
    Fault("bridge-killed", "SIGKILL of all of the bridge at a random moment of the stream", kill_all_in_stream),
    Fault(
        "snapshot-killed",
        "SIGKILL of all of the bridge four times, at random moments of its start and snapshot",
        kill_all_in_snapshot,
        setting=Setting(items=12_000, begin="started", fresh=True),
    ),
)
