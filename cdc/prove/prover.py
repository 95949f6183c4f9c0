"""Runs faults, each on a stage of its own, has them judged, and counts. Starts everything; says how far it is."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from statistics import median

from cdc import logs
from cdc.prove.fault import Fault
from cdc.prove.servers import Servers
from cdc.prove.stage import Extent, Stage
from cdc.prove.waiting import Broken, eventually

ROUNDS_A_STAGE = 25
"""So many rounds have their databases and topics in common at most: the judge keeps them in memory."""

START_SECONDS = 400.0
END_SECONDS = 400.0

NOT_BEGUN = "before anything struck"
"""How it is told that a promise was broken while the stage was set."""

Say = Callable[[str], None]


@dataclass(slots=True)
class Result:
    """What became of a fault.

    Args:
        fault: which.
        rounds: how often it struck.
        events: that were to be on the topics: changes and rows of snapshots.
        counts: lost, twice, disordered, phantom, altered, torn → how many.
        different: rows that differ between source and target in the end.
        recovered: seconds that each round took to recover.
        broken: promises that did not hold, in words.
        notes: what is to be said beside the figures.
        seconds: that all of it took.
    """

    fault: Fault
    rounds: int = 0
    events: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    different: int = 0
    recovered: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def held(self) -> bool:
        """Whether every promise held."""
        return not self.broken and not self.different and not any(self.counts.values())

    @property
    def median(self) -> float | None:
        return median(self.recovered) if self.recovered else None

    @property
    def worst(self) -> float | None:
        return max(self.recovered, default=None)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A fault that cannot be shown here, and why."""

    fault: Fault
    why: str


def sorted_out(faults: Sequence[Fault], servers: Servers) -> tuple[list[Fault], list[LeftOut]]:
    """The faults that can be shown here, and those that cannot."""
    shown: list[Fault] = []
    left_out: list[LeftOut] = []
    for fault in faults:
        why = next((why for need in fault.needs if (why := need(servers.available))), None)
        if why is None:
            shown.append(fault)
        else:
            left_out.append(LeftOut(fault, why))
    return shown, left_out


def prove(
    fault: Fault, servers: Servers, rounds: int, seed: int, say: Say, extent: Extent, keep: Path | None = None
) -> Result:
    """Let one fault strike, and judge.

    Args:
        rounds: how often, if the fault itself does not say otherwise.
        seed: of every choice; the fault's own name goes into it too.
        say: takes progress in words.
        extent: how large the large things are.
        keep: where logs of the bridge are kept if a promise was broken.
    """
    began = time.monotonic()
    result = Result(fault)
    wanted = fault.strikes(rounds)
    done = 0
    while done < wanted:
        now = 1 if fault.setting.fresh else min(ROUNDS_A_STAGE, wanted - done)
        rng = Random(f"{seed}/{fault.name}/{done}")
        try:
            with Stage(fault.setting, servers, rng.getrandbits(32), extent) as stage:
                exact = False
                try:
                    _play(stage, fault, rng, range(done, done + now), result, say)
                    _judge(stage, result)
                    exact = result.held
                finally:
                    result.notes += [note for note in stage.notes if note not in result.notes]
                    if keep is not None and not exact:
                        stage.keep(keep / f"{fault.name}-{done}")
        except Broken as broken:
            result.broken.append(str(broken))
        except Exception as error:  # a fault that was not played to its end has shown nothing
            if logs.debugging():
                traceback.print_exc()
            result.broken.append(f"{type(error).__name__}: {error}")
        done += now
    result.seconds = time.monotonic() - began
    return result


def _play(stage: Stage, fault: Fault, rng: Random, rounds: range, result: Result, say: Say) -> None:
    """Strike in each round, wait until the line has recovered, and let it come to its end."""
    if not fault.setting.quiet:
        stage.load.start()
    try:
        _begin(stage)
    except Broken as broken:
        raise Broken(f"{NOT_BEGUN}: {broken}") from None
    for number in rounds:
        stage.begin_round(number)
        _strike(stage, fault, rng)
        if stage.struck_at is None:
            stage.struck()
        mark = stage.mark()
        _await(stage, partial(stage.arrived, mark), fault.patience, "the line recovers")
        result.rounds += 1
        result.recovered.append(stage.recovery())
        say(f"round {result.rounds}: recovered in {result.recovered[-1]:.1f} s")
    stage.load.stop()
    say("comparing")
    result.different += _differences(stage, result)


def _strike(stage: Stage, fault: Fault, rng: Random) -> None:
    try:
        fault.strike(stage, rng)
    except Broken as broken:
        raise Broken("; ".join([str(broken), *stage.words()])) from None


def _begin(stage: Stage) -> None:
    """Start the bridge and wait for the moment that the fault wants."""
    begin = stage.setting.begin
    if begin == "stopped":
        return
    stage.bridge.start()
    if begin == "started":
        return
    if begin == "snapshot":
        _await(stage, stage.bridge.reads, START_SECONDS, "the first rows of the snapshot are read")
    else:
        mark = stage.mark()
        _await(stage, partial(stage.arrived, mark), START_SECONDS, "a first row comes to the service's table")
        _await(stage, stage.bridge.snapshot_done, START_SECONDS, "the snapshot is done")
        stage.load.alter()


def _differences(stage: Stage, result: Result) -> int:
    """How many rows differ in the end."""
    bridge = stage.bridge
    found = stage.line.finish(bridge, END_SECONDS)
    result.broken += [words for words in found if words.startswith(("not equal", "the sink"))]
    if bridge.stop() != 0:
        result.broken.append("the bridge did not stop in an orderly way")
    for trouble in ("Traceback", "internal error"):
        if any(trouble in copy.log for copy in stage.copies):
            result.broken.append(f"the log has: {trouble}")
    rows = [words for words in found if not words.startswith(("not equal", "the sink"))]
    result.notes += [f"differs: {words}" for words in rows[:3]]
    return len(rows)


def _judge(stage: Stage, result: Result) -> None:
    for copy in stage.copies:
        if copy.running:
            copy.stop()
    verdict = stage.line.verdict(gap=stage.setting.gap)
    result.events += verdict.streamed + verdict.read
    for kind, found in verdict.faults.items():
        result.counts[kind] = result.counts.get(kind, 0) + len(found)
        result.notes += [f"{kind}: {what}" for what in found[:3]]


def _await(stage: Stage, fact: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a fact; say what the bridge says of itself if it does not come true, or cannot any more."""
    try:
        eventually(lambda: fact() or stage.down() is not None, seconds, what)
    except Broken as late:
        raise Broken("; ".join([str(late), *stage.words()])) from None
    if not fact():
        raise Broken(f"{what}: {stage.down()}")
