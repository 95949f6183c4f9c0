"""Changes that can no longer be read: told loudly, mended on command, and the mending killed too. Touches servers."""

from __future__ import annotations

from random import Random

from cdc import failpoints
from cdc.prove.fault import Fault, Setting
from cdc.prove.stage import Stage
from cdc.prove.waiting import Broken, eventually
from cdc.prove.warehouse import TABLES

AT_REBUILD = tuple(name for name in failpoints.SINK if name.endswith("rebuild"))

GAP = 3
"""Exit code of `cdc heal` when it shows a gap and does not mend it."""


def lose_slot(stage: Stage, rng: Random) -> None:
    """The slot is dropped while the bridge is away and rows change: state `gap`; healed, killed at each step of it."""
    failpoint = failpoints.HEAL[stage.round % len(failpoints.HEAL)]
    drop_slot(stage)
    plan = stage.bridge.cdc("heal", "source", "--listen", _address(stage))
    if plan.returncode != GAP:
        raise Broken(f"cdc heal shows no gap (exit code {plan.returncode}): {plan.stdout}{plan.stderr}")
    stage.arm(failpoint)
    _until_killed(stage, failpoint)
    stage.struck()
    eventually(lambda: healed(stage), 300, "the connector streams again")
    stage.note(f"killed at {failpoint}")


def drop_slot(stage: Stage) -> None:
    """Drop the slot while the bridge is away and rows change; returns when the connector is in state `gap`."""
    stage.bridge.stop()
    with stage.source.connect() as connection:
        connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
            "WHERE plugin = 'pgoutput' AND database = current_database()"
        )
        # At least one row that nobody tells of any more, and one that goes unseen.
        connection.execute("UPDATE vault SET version = DEFAULT WHERE id = 1")
        connection.execute("DELETE FROM items WHERE id = (SELECT min(id) FROM items)")
    stage.bridge.start()
    eventually(lambda: stage.bridge.state() == "gap", 180, "the connector is in state gap")


def heal(stage: Stage) -> str:
    """Ask for it; returns what the command said."""
    ran = stage.bridge.cdc("heal", "source", "--yes", "--listen", _address(stage), seconds=300)
    return ran.stdout + ran.stderr


def healed(stage: Stage) -> bool:
    """Whether the gap is mended; asks for it again where that was given up."""
    if stage.bridge.state() in ("gap", "failed"):
        heal(stage)
    return stage.bridge.state() == "streaming" and not stage.bridge.connector().get("healing")


def rebuild(stage: Stage, rng: Random) -> None:
    """A table of the service is rebuilt from its topic while the sink runs; the command is killed, and repeated."""
    failpoint = AT_REBUILD[stage.round % len(AT_REBUILD)]
    table = rng.choice([table for table in TABLES if table.key])
    command = ("heal", "copy", stage.line.topic(table), "--yes", "--listen", _address(stage))
    stage.arm(failpoint)
    stage.bridge.cdc(*command, seconds=180)
    if stage.armed(failpoint):
        raise Broken(f"failpoint {failpoint} was not reached by cdc {' '.join(command)}")
    again = stage.bridge.cdc(*command, seconds=180)
    if again.returncode:
        raise Broken(f"cdc heal copy: exit code {again.returncode}: {again.stdout}{again.stderr}")
    stage.struck()
    stage.note(f"killed at {failpoint}")


def _until_killed(stage: Stage, failpoint: str) -> None:
    """Heal; the command, or the worker that does it, is killed in the middle."""

    def killed() -> bool:
        heal(stage)
        return not stage.armed(failpoint)

    eventually(killed, 300, f"failpoint {failpoint} is reached")


def _address(stage: Stage) -> str:
    return stage.bridge.address().removeprefix("http://")


FAULTS = (
    Fault(
        "slot-dropped",
        "the slot is dropped while rows change; `cdc heal` mends it by difference, killed at each step",
        lose_slot,
        setting=Setting(gap=True),
        rounds=len(failpoints.HEAL),
        most=len(failpoints.HEAL) * 2,
        patience=180,
    ),
    Fault(
        "sink-rebuilt",
        "a table of the service is rebuilt from its topic while the sink runs; the command is killed at each step",
        rebuild,
        rounds=len(AT_REBUILD),
        most=len(AT_REBUILD) * 2,
        patience=180,
    ),
)
