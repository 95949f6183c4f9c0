"""All chosen faults, one after the other, with progress on the console. Starts everything."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from cdc.prove.fault import Fault
from cdc.prove.prover import Result, prove, sorted_out
from cdc.prove.report import Report, Run
from cdc.prove.servers import Servers
from cdc.prove.stage import Extent

BYTES_A_ROW = 512
"""So much WAL is written by a neighbour for each row of the largest transaction."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """What is to be proven, and how thoroughly.

    Args:
        faults: in the order of the table.
        rounds: for each.
        seed: of everything random.
        rows: of the largest transaction.
        command: that repeats it.
        keep: where logs of the bridge are kept if a promise was broken; None: nowhere.
    """

    faults: Sequence[Fault]
    rounds: int
    seed: int
    rows: int
    command: str
    keep: Path | None = None

    def tell(self, servers: Servers, console: Console) -> None:
        """Print which faults there are, and which can be shown here."""
        _, left_out = sorted_out(self.faults, servers)
        why = {one.fault.name: one.why for one in left_out}
        width = max(len(fault.name) for fault in self.faults)
        for fault in self.faults:
            not_here = f" (not here: {why[fault.name]})" if fault.name in why else ""
            console.print(f"{fault.name:<{width}}  {fault.says}{not_here}", markup=False, soft_wrap=True)


def run(campaign: Campaign, servers: Servers, console: Console) -> Report:
    """Prove it; a KeyboardInterrupt ends it early, with what was proven until then."""
    began, clock = datetime.now(UTC), time.monotonic()
    shown, left_out = sorted_out(campaign.faults, servers)
    extent = Extent(campaign.rows, campaign.rows * BYTES_A_ROW)
    results: list[Result] = []
    interrupted = False
    with _progress(console, clock) as say:
        try:
            for number, fault in enumerate(shown, 1):
                head = f"{number}/{len(shown)} {fault.name}"
                say(head, False)
                result = prove(
                    fault,
                    servers,
                    campaign.rounds,
                    campaign.seed,
                    lambda what, head=head: say(f"{head}: {what}", False),  # type: ignore[misc]
                    extent,
                    campaign.keep,
                )
                results.append(result)
                say(f"{head}: {in_short(result)}", True)
        except KeyboardInterrupt:
            interrupted = True
    names = tuple(result.fault.name for result in results)
    played = Run(campaign.command, servers.words(), began, time.monotonic() - clock, names)
    return Report([played], results, left_out, interrupted=interrupted)


def in_short(result: Result) -> str:
    """One line about a fault that is over."""
    if result.held:
        return f"held, {result.rounds} rounds, {result.events:,} events, {result.seconds:.0f} s"
    counted = [f"{count} {kind}" for kind, count in result.counts.items() if count]
    different = [f"{result.different} different"] if result.different else []
    return f"BROKEN: {'; '.join([*counted, *different, *result.broken])}"


@contextmanager
def _progress(console: Console, began: float) -> Iterator[Callable[[str, bool], None]]:
    """Takes words, and whether they stay; without a terminal all do."""
    if not console.is_terminal:

        def say(what: str, stays: bool) -> None:
            console.print(f"{time.monotonic() - began:7.1f} s  {what}", markup=False, soft_wrap=True)

        yield say
        return
    with console.status("starting") as status:

        def show(what: str, stays: bool) -> None:
            status.update(what)
            if stays:
                console.print(what, markup=False, soft_wrap=True)

        yield show
