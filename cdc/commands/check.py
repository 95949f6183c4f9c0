"""`cdc check`: connects to everything and says what is missing, with the line that mends it. Changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.text import Text

from cdc import kafka_check, logs, plugins
from cdc.commands.options import Config, Json
from cdc.commands.run import tasks_of
from cdc.config import load
from cdc.errors import CdcError
from cdc.formats.contract import formats
from cdc.plugins import Finding
from cdc.settings import Settings

Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Connectors and sinks; all if none.")]

_MARKS = {"ok": ("✓", "green"), "note": ("·", "dim"), "warning": ("!", "yellow"), "error": ("✗", "bold red")}


def check(names: Names = None, config: Config = None, as_json: Json = False) -> None:
    """Look at Kafka, sources and targets, and say what is missing and what mends it.

    Exit code 0: would run; 1: errors were found; 2: the settings are wrong; 3: a gap, or
    something that is refused for safety.
    """
    logs.configure()
    settings = load(config)
    exit_code = 0
    findings: list[Finding] = []
    console = Console(highlight=False, soft_wrap=True)
    for finding, code in examine(settings, names or []):
        exit_code = max(exit_code, code)
        findings.append(finding)
        if not as_json:
            console.print(lines(finding))
    if as_json:
        typer.echo(orjson.dumps([asdict(finding) for finding in findings], option=orjson.OPT_INDENT_2).decode())
    else:
        console.print(summary(findings))
    raise typer.Exit(exit_code)


def examine(settings: Settings, names: Sequence[str]) -> Iterator[tuple[Finding, int]]:
    """All findings, as they are made, each with the exit code it asks for.

    Args:
        names: connectors and sinks; all if empty.

    Raises:
        ConfigError: a name that is neither.
    """
    chosen = dict.fromkeys(task.name for task in tasks_of(settings, names))
    yield from _examined("kafka", kafka_check.findings(settings, chosen))
    written = {one for name, section in settings.connectors.items() if name in chosen for one in section.formats()}
    for one in sorted(written):
        yield from _examined(f"format {one}", formats()[one].check(settings))
    for name, connector in settings.connectors.items():
        if name in chosen:
            checked = plugins.connector_plugins()[connector.type].check(settings, name, connector)
            yield from _examined(f"connector {name}", checked)
    for name, sink in settings.sinks.items():
        if name in chosen:
            checked = plugins.sink_plugins()[sink.type].check(settings, name, sink)
            yield from _examined(f"sink {name}", checked)


def _examined(subject: str, findings: Iterable[Finding]) -> Iterator[tuple[Finding, int]]:
    """An error while looking is a finding too: the other things are still looked at."""
    try:
        for finding in findings:
            yield finding, 1 if finding.level == "error" else 0
    except CdcError as error:
        yield Finding("error", subject, error.message, error.hint), error.exit_code


def lines(finding: Finding) -> Text:
    """A finding for people: what, and below it the line that mends it, ready to be copied."""
    mark, style = _MARKS[finding.level]
    said = Text.assemble((mark, style), " ", (finding.subject, "bold"), "  ", finding.message)
    for line in (finding.mend or "").splitlines():
        said.append(f"\n      {line}", style="cyan")
    return said


def summary(findings: Iterable[Finding]) -> Text:
    """How many of each level."""
    count = Counter(finding.level for finding in findings)
    if not count["error"]:
        return Text(f"\nready: {count['ok']} checks are well, {_many(count['warning'], 'warning')}", style="green")
    return Text(
        f"\nnot ready: {_many(count['error'], 'error')}, {_many(count['warning'], 'warning')}", style="bold red"
    )


def _many(count: int, word: str) -> str:
    return f"{count or 'no'} {word}{'' if count == 1 else 's'}"
