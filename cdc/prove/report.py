"""What was proven, as a table: for a terminal, as plain text, Markdown and JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from cdc.prove.prover import LeftOut, Result

COLUMNS = (
    "fault", "rounds", "events", "lost", "duplicated", "out of order", "phantom", "altered", "sink difference",
    "recovered, s (median)", "(worst)",
)  # fmt: skip

_COUNTS = (("lost",), ("twice",), ("disordered",), ("phantom",), ("altered", "torn"))
_NOTES_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Report:
    """All results, and how they came about.

    Args:
        command: that repeats them.
        servers: what they were shown on.
        began: when.
        seconds: how long it took.
        results: of the faults that struck.
        left_out: the others.
        interrupted: whether it was ended early.
    """

    command: str
    servers: str
    began: datetime
    seconds: float
    results: Sequence[Result]
    left_out: Sequence[LeftOut]
    interrupted: bool = False

    @property
    def held(self) -> bool:
        """Whether every promise held, under every fault that was asked for."""
        return bool(self.results) and not self.interrupted and all(result.held for result in self.results)

    @property
    def sentence(self) -> str:
        """The end of it in words."""
        rounds, events = sum(r.rounds for r in self.results), sum(r.events for r in self.results)
        broken = not all(result.held for result in self.results)
        end = "PROMISES WERE BROKEN" if broken else "every promise held" if self.held else "nothing is proven"
        end += " (interrupted)" if self.interrupted else ""
        return f"{len(self.results)} faults, {rounds:,} rounds, {events:,} events, {self.seconds / 60:.0f} min: {end}"


def cells(result: Result) -> list[str]:
    """One line of the table."""
    counts = [sum(result.counts.get(kind, 0) for kind in kinds) for kinds in _COUNTS]
    return [
        result.fault.name,
        f"{result.rounds:,}",
        f"{result.events:,}",
        *(f"{count:,}" for count in counts),
        f"{result.different:,}",
        "" if result.median is None else f"{result.median:.1f}",
        "" if result.worst is None else f"{result.worst:.1f}",
    ]


def total(results: Sequence[Result]) -> list[str]:
    """The last line of the table: sums."""
    sums = [sum(r.rounds for r in results), sum(r.events for r in results)]
    sums += [sum(r.counts.get(kind, 0) for r in results for kind in kinds) for kinds in _COUNTS]
    sums.append(sum(r.different for r in results))
    return ["all", *(f"{count:,}" for count in sums), "", ""]


def remarks(results: Iterable[Result]) -> list[str]:
    """What was broken first, then what faults want to have said."""
    said: list[str] = []
    for result in results:
        said += [f"{result.fault.name}: BROKEN: {what}" for what in result.broken]
        said += [f"{result.fault.name}: {what}" for what in _shortened(result.notes)]
    return said


def _shortened(notes: Sequence[str]) -> list[str]:
    more = [f"and {len(notes) - _NOTES_SHOWN} more"] if len(notes) > _NOTES_SHOWN else []
    return [*notes[:_NOTES_SHOWN], *more]


def show(report: Report, console: Console) -> None:
    """Print it."""
    table = Table(box=box.SIMPLE_HEAD, show_footer=True)
    for column, footer in zip(COLUMNS, total(report.results), strict=True):
        left = column == "fault"
        table.add_column(column, footer=footer, justify="left" if left else "right", no_wrap=left)
    for result in report.results:
        table.add_row(*cells(result), style=None if result.held else "bold red")
    console.print(table)
    for remark in remarks(report.results):
        console.print(f"  {remark}", highlight=False, markup=False, soft_wrap=True)
    for one in report.left_out:
        console.print(f"  left out: {one.fault.name}: {one.why}", highlight=False, markup=False, soft_wrap=True)
    console.print(report.sentence, style="green" if report.held else "bold red", highlight=False)


HEADING = "## The last full run"
"""Below this heading of a page a report is put; what stands above it stays."""


def page(report: Report, there: str) -> str:
    """It as a page: in place of what is under `HEADING` in the page that is there, or one of its own."""
    above, heading, _ = there.partition(HEADING)
    return f"{above}{heading}\n\n{markdown(report)}" if heading else f"# What was proven\n\n{markdown(report)}"


def markdown(report: Report) -> str:
    """It as a part of a page."""
    lines = [f"    {report.command}", ""]
    lines += [f"{report.began.astimezone(UTC):%Y-%m-%d}, on {report.servers}. {_capital(report.sentence)}.", ""]
    lines += [f"| {' | '.join(COLUMNS)} |", "|---|" + "--:|" * (len(COLUMNS) - 1)]
    lines += [f"| {' | '.join(cells(result))} |" for result in report.results]
    lines += [f"| {' | '.join(f'**{cell}**' if cell else '' for cell in total(report.results))} |", ""]
    lines += ["What each fault does:", ""]
    lines += [f"- `{result.fault.name}`: {result.fault.says}" for result in report.results]
    if said := remarks(report.results):
        lines += ["", "Remarks:", "", *(f"- {remark}" for remark in said)]
    if report.left_out:
        lines += ["", "Left out:", ""]
        lines += [f"- `{one.fault.name}` ({one.fault.says}): {one.why}" for one in report.left_out]
    return "\n".join(lines) + "\n"


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def document(report: Report) -> dict[str, Any]:
    """It for programs."""
    return {
        "command": report.command,
        "servers": report.servers,
        "began": report.began.astimezone(UTC).isoformat(timespec="seconds"),
        "seconds": round(report.seconds, 1),
        "held": report.held,
        "faults": [
            {
                "name": result.fault.name,
                "says": result.fault.says,
                "held": result.held,
                "rounds": result.rounds,
                "events": result.events,
                **result.counts,
                "different": result.different,
                "recovered_seconds": [round(seconds, 2) for seconds in result.recovered],
                "broken": result.broken,
                "notes": result.notes,
                "seconds": round(result.seconds, 1),
            }
            for result in report.results
        ],
        "left_out": [{"name": one.fault.name, "says": one.fault.says, "why": one.why} for one in report.left_out],
    }
