"""What was proven, as a table: for a terminal, as plain text, Markdown and JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from cdc.prove.fault import Fault
from cdc.prove.prover import LeftOut, Result

COLUMNS = (
    "fault", "rounds", "events", "lost", "duplicated", "out of order", "phantom", "altered", "sink difference",
    "recovered, s (median)", "(worst)",
)  # fmt: skip

_COUNTS = (("lost",), ("twice",), ("disordered",), ("phantom",), ("altered", "torn"))
_NOTES_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the command.

    Args:
        command: that repeats it.
        servers: what was shown on.
        began: when.
        seconds: how long it took.
        faults: names of those whose results it gave.
    """

    command: str
    servers: str
    began: datetime
    seconds: float
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All results, and how they came about.

    Args:
        runs: that gave them; more than one where a report was added to.
        results: of the faults that struck.
        left_out: the others.
        interrupted: whether the last run was ended early.
    """

    runs: Sequence[Run]
    results: Sequence[Result]
    left_out: Sequence[LeftOut]
    interrupted: bool = False

    def added_to(self, before: Report, faults: Sequence[Fault]) -> Report:
        """With what an earlier report has of other faults, in the faults' own order."""
        own = {result.fault.name for result in self.results}
        kept = [result for result in before.results if result.fault.name not in own]
        place = {fault.name: number for number, fault in enumerate(faults)}
        names = {result.fault.name for result in kept}
        runs = [replace(run, faults=tuple(name for name in run.faults if name in names)) for run in before.runs]
        return Report(
            [*(run for run in runs if run.faults), *self.runs],
            sorted([*kept, *self.results], key=lambda result: place[result.fault.name]),
            [one for one in self.left_out if one.fault.name not in names],
            interrupted=self.interrupted,
        )

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
        minutes = sum(run.seconds for run in self.runs) / 60
        return f"{len(self.results)} faults, {rounds:,} rounds, {events:,} events, {minutes:.0f} min: {end}"


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
    lines = [f"    {run.command}" for run in report.runs]
    days = sorted({f"{run.began.astimezone(UTC):%Y-%m-%d}" for run in report.runs})
    servers = "; ".join(dict.fromkeys(run.servers for run in report.runs))
    lines += ["", f"{', '.join(days)}, on {servers}. {_capital(report.sentence)}.", ""]
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
    """It for programs, and for `read`."""
    return {
        "held": report.held,
        "runs": [
            {
                "command": run.command,
                "servers": run.servers,
                "began": run.began.astimezone(UTC).isoformat(timespec="seconds"),
                "seconds": round(run.seconds, 1),
                "faults": run.faults,
            }
            for run in report.runs
        ],
        "faults": [
            {
                "name": result.fault.name,
                "says": result.fault.says,
                "held": result.held,
                "rounds": result.rounds,
                "events": result.events,
                "counts": result.counts,
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


def read(document: Mapping[str, Any], faults: Sequence[Fault]) -> Report:
    """What `document` wrote, but for faults that are no more.

    Raises: ValueError: it is none.
    """
    known = {fault.name: fault for fault in faults}
    try:
        runs = [
            Run(
                run["command"],
                run["servers"],
                datetime.fromisoformat(run["began"]),
                run["seconds"],
                tuple(run["faults"]),
            )
            for run in document["runs"]
        ]
        results = [
            Result(
                known[one["name"]],
                one["rounds"],
                one["events"],
                one["counts"],
                one["different"],
                one["recovered_seconds"],
                one["broken"],
                one["notes"],
                one["seconds"],
            )
            for one in document["faults"]
            if one["name"] in known
        ]
    except (KeyError, TypeError) as error:
        raise ValueError("not a report of this release") from error
    return Report(runs, results, [])
