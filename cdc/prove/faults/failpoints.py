"""The bridge is killed at each of its failpoints, before and after every durable step. Arms them, restarts workers."""

from __future__ import annotations

from random import Random

from cdc import failpoints
from cdc.prove.fault import Fault, Setting
from cdc.prove.stage import Stage
from cdc.prove.waiting import eventually

AT_START = (
    "publisher.before_init",
    "publisher.after_init",
    "publisher.after_read_position",
    "stream.after_lock",
    "stream.before_start",
    "stream.after_start",
    "sink.before_own",
    "sink.after_own",
)
"""What a worker comes to when it starts."""

AT_REBALANCE = ("sink.before_release",)
"""What a member comes to when another one joins. (One that stops leaves its partitions to the epoch.)"""

ONCE = (*failpoints.SNAPSHOT, "sink.after_table_made")
"""What is done before the first event only."""

ELSEWHERE = tuple(name for name in failpoints.SINK if name.endswith(("put_aside", "settled", "rebuild")))
"""At dead letters (`cdc.prove.faults.data`) and heals (`cdc.prove.faults.gaps`)."""

RUNNING = tuple(
    name
    for name in failpoints.PUBLISHER + failpoints.STREAM + failpoints.SINK
    if name not in (*AT_START, *AT_REBALANCE, *ONCE, *ELSEWHERE)
)
"""What is done again and again."""


def at_start(stage: Stage, rng: Random) -> None:
    name = AT_START[stage.round % len(AT_START)]
    stage.bridge.stop()
    stage.arm(name)
    stage.bridge.start()
    _reached(stage, name)


def running(stage: Stage, rng: Random) -> None:
    name = RUNNING[stage.round % len(RUNNING)]
    stage.arm(name)
    _reached(stage, name)


def at_rebalance(stage: Stage, rng: Random) -> None:
    name = AT_REBALANCE[stage.round % len(AT_REBALANCE)]
    stage.arm(name)
    other = stage.copies[1] if len(stage.copies) > 1 else stage.another()
    other.start("copy")
    _reached(stage, name)
    if rng.random() < 0.5:
        other.kill()
    else:
        other.stop()


def once(stage: Stage, rng: Random) -> None:
    name = ONCE[stage.round % len(ONCE)]
    stage.arm(name)
    stage.bridge.start()
    _reached(stage, name)


def _reached(stage: Stage, name: str) -> None:
    eventually(lambda: not stage.armed(name), 180, f"failpoint {name} is reached")
    stage.note(name)
    stage.struck()


FAULTS = (
    Fault(
        "failpoints-at-start",
        "SIGKILL where a worker takes over: lock, fence, position, slot, partitions",
        at_start,
        rounds=len(AT_START),
        most=len(AT_START) * 3,
    ),
    Fault(
        "failpoints-running",
        "SIGKILL before and after each durable step of stream, publisher and sink",
        running,
        rounds=len(RUNNING),
        most=len(RUNNING) * 3,
    ),
    Fault("failpoints-at-rebalance", "SIGKILL where a sink gives partitions to another member", at_rebalance, most=3),
    Fault(
        "failpoints-snapshot",
        "SIGKILL before and after each durable step of the first start and its snapshot",
        once,
        setting=Setting(items=3_000, begin="stopped", fresh=True),
        rounds=len(ONCE),
        most=len(ONCE) * 2,
    ),
)
