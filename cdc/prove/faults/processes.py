"""Processes of the bridge: killed, stopped, started twice. Sends signals."""

from __future__ import annotations

import os
import signal
import time
from random import Random
from time import sleep

from cdc.prove.bridge import Bridge
from cdc.prove.fault import Fault, Setting
from cdc.prove.stage import Stage
from cdc.prove.waiting import Broken, eventually

KILLS_A_BRIDGE = 3
"""A supervisor waits longer before each start of a worker that dies again and again: it gets a new one after these."""

LONGER_THAN_EVERY_TIMEOUT = 75.0


def kill_connector(stage: Stage, rng: Random) -> None:
    _now_and_then_anew(stage)
    sleep(rng.uniform(0, 0.8))
    kill_worker(stage, "connector")


def kill_sink(stage: Stage, rng: Random) -> None:
    _now_and_then_anew(stage)
    sleep(rng.uniform(0, 0.8))
    kill_worker(stage, "sink")


def kill_all_in_stream(stage: Stage, rng: Random) -> None:
    sleep(rng.uniform(0, 1.5))
    stage.bridge.kill()
    stage.struck()
    stage.bridge.start()


def stop_and_start(stage: Stage, rng: Random) -> None:
    sleep(rng.uniform(0, 1.5))
    if code := stage.bridge.stop():
        raise Broken(f"the bridge was asked to stop, and ended with exit code {code}")
    stage.struck()
    stage.bridge.start()


def kill_all_in_snapshot(stage: Stage, rng: Random) -> None:
    """Four kills: from the first moments of the start to the last of the snapshot."""
    for _ in range(3):
        if rng.random() < 0.7:
            eventually(stage.bridge.reads, 180, "a snapshot is read")
        sleep(rng.uniform(0, 1.2))
        stage.bridge.kill()
        stage.bridge.start()
    eventually(stage.bridge.reads, 180, "a snapshot is read")
    sleep(rng.uniform(0, 0.3))
    stage.bridge.kill()
    stage.struck()
    stage.bridge.start()


def freeze(stage: Stage, rng: Random) -> None:
    """All of one copy is stopped, another one takes over and works; then the first goes on where it was."""
    frozen, spare = stage.bridge, _spare(stage)
    processes = [frozen.pid, *frozen.workers()]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    stage.struck()
    began = time.monotonic()
    try:
        stage.bridge = spare
        mark = stage.mark()
        eventually(lambda: stage.arrived(mark), 180, "the copy that took over works")
        stage.recovered()
        wanted = LONGER_THAN_EVERY_TIMEOUT if stage.round % 5 == 4 else rng.uniform(0, 10)
        sleep(max(0.0, began + wanted - time.monotonic()))
    finally:
        for process in reversed(processes):
            os.kill(process, signal.SIGCONT)
    eventually(lambda: frozen.state() == "waiting", 180, "the copy that was stopped waits for the other")
    if spare.state() != "streaming":
        raise Broken(f"the copy that took over is {spare.state()}")


def start_two(stage: Stage, rng: Random) -> None:
    """Two copies at once: one works, the other waits, and takes over when the first is killed."""
    for copy in stage.copies:
        if copy.running:
            copy.kill()
    one = stage.copies[0]
    two = stage.copies[1] if len(stage.copies) > 1 else stage.another()
    one.start()
    two.start()

    def sorted_out() -> bool:
        states = [one.state(), two.state()]
        if all(state in WORKING for state in states):
            raise Broken("both copies work")
        return "waiting" in states and any(state in WORKING for state in states)

    eventually(sorted_out, 180, "one copy works and the other waits")
    stage.bridge, other = (one, two) if two.state() == "waiting" else (two, one)
    if rng.random() < 0.7:
        sleep(rng.uniform(0, 1))
        stage.bridge.kill()
        stage.struck()
        stage.bridge = other


WORKING = ("snapshotting", "streaming")


def _spare(stage: Stage) -> Bridge:
    """A copy that waits for this one."""
    spare = next((copy for copy in stage.copies if copy is not stage.bridge), None) or stage.another()
    if not spare.running:
        spare.start()
    eventually(lambda: spare.state() == "waiting", 180, "a second copy waits")
    return spare


def _now_and_then_anew(stage: Stage) -> None:
    if stage.round % KILLS_A_BRIDGE == 0:
        stage.bridge.stop()
        stage.bridge.start()
        eventually(lambda: stage.bridge.state() in WORKING, 180, "the connector works")


def kill_worker(stage: Stage, kind: str) -> None:
    """SIGKILL of a worker of that kind, `connector` or `sink`."""
    worker = eventually(lambda: next(stage.bridge.workers(kind=kind), 0), 180, f"a {kind} runs")
    os.kill(worker, signal.SIGKILL)
    stage.struck()


FAULTS = (
    Fault("connector-killed", "SIGKILL of the connector's process at a random moment", kill_connector, times=5),
    Fault("sink-killed", "SIGKILL of a sink's process at a random moment", kill_sink, times=5),
    Fault("bridge-killed", "SIGKILL of the whole bridge at a random moment of the stream", kill_all_in_stream, times=5),
    Fault(
        "snapshot-killed",
        "SIGKILL of the whole bridge four times, at random moments of its start and snapshot",
        kill_all_in_snapshot,
        setting=Setting(items=12_000, begin="started", fresh=True),
        times=2,
    ),
    Fault("stopped", "an orderly stop (SIGTERM) at a random moment, and a start", stop_and_start, times=2),
    Fault(
        "frozen",
        "SIGSTOP of all of a copy for longer than every timeout; another takes over; then SIGCONT",
        freeze,
        most=10,
    ),
    Fault(
        "two-copies",
        "two copies started at once; the one that works is killed",
        start_two,
        setting=Setting(begin="stopped"),
    ),
)
