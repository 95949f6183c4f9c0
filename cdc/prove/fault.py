"""What a fault is: its name, how it strikes, what it needs, and how its stage is set. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Literal

from cdc.testing.servers import Brokers, PostgresServer

if TYPE_CHECKING:
    from cdc.prove.servers import Available
    from cdc.prove.stage import Stage

Need = Callable[["Available"], str | None]
"""Why a fault cannot be shown here, or None where it can."""


def _as_it_is(stage: Stage) -> None:
    """Nothing to change."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How the stage of a fault is set.

    Args:
        items: rows that are there before the bridge comes: about 3 times this.
        sessions: that write.
        workers: members of the sink.
        source, target, kafka: make servers of the fault's own (started and closed by the stage);
            None: the ones that all faults share.
        prepare: called when servers, databases and load are ready, before the bridge starts; may change
            `stage.yaml`, `stage.environment` and `stage.command`, and enter things into `stage.ending`.
        begin: when the first strike comes: `streaming`, the bridge runs and its snapshot is done; `snapshot`, it has
            published the first rows; `started`, as soon as it runs; `stopped`, the strike starts it itself.
        fresh: every round has databases and topics of its own; else all rounds have the same, the load going on.
        quiet: no load but what the strike does itself.
        gap: changes are lost on purpose, and mended by difference: of the topics the last states count.
    """

    items: int = 600
    sessions: int = 3
    workers: int = 1
    source: Callable[[], PostgresServer] | None = None
    target: Callable[[], PostgresServer] | None = None
    kafka: Callable[[], Brokers] | None = None
    prepare: Callable[[Stage], None] = _as_it_is
    begin: Literal["streaming", "snapshot", "started", "stopped"] = "streaming"
    fresh: bool = False
    quiet: bool = False
    gap: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that may happen, and that nothing may be lost by.

    Args:
        name: short, such as `kafka-killed`; as `--faults` takes it.
        says: what happens, in a line of the table.
        strike: does it once, while the load writes, and undoes what would not mend itself. When it returns, the line
            must recover by itself: a row committed after that comes to the service's table. Seconds to recover count
            from its last `stage.struck()`, or else from its return. Raises Broken for a promise of its own that
            did not hold, such as a state that had to be `failed`.
        needs: what must be here for it.
        setting: how the stage is set.
        times: so many times the rounds that were asked for.
        rounds: how often at least, however few were asked for.
        most: how often at most; None: as asked for.
        patience: seconds in which the line must have recovered.
    """

    name: str
    says: str
    strike: Callable[[Stage, Random], None]
    needs: tuple[Need, ...] = ()
    setting: Setting = field(default_factory=Setting)
    times: int = 1
    rounds: int = 1
    most: int | None = None
    patience: float = 120.0

    def strikes(self, rounds: int) -> int:
        """How often it strikes when so many rounds were asked for."""
        wanted = max(rounds * self.times, self.rounds)
        return wanted if self.most is None else min(wanted, self.most)


def real_kafka(here: Available) -> str | None:
    """An Apache Kafka that may be killed."""
    return here.no_real_kafka


def own_kafka(here: Available) -> str | None:
    """Any broker that may be stopped."""
    return None if here.own_kafka else "not on a Kafka that was given"


def own_postgres(here: Available) -> str | None:
    """PostgreSQL servers that may be killed."""
    return None if here.own_postgres else "not on a PostgreSQL that was given"


OWN_SERVERS: tuple[Need, ...] = (real_kafka, own_postgres)
