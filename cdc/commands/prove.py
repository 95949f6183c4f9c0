"""`cdc prove`: faults against the whole line, judged, in a table. Starts servers and processes, writes files."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import orjson
import typer
from rich.console import Console

from cdc.errors import CdcError, ConfigError, Problem

if TYPE_CHECKING:
    from cdc.prove.fault import Fault


PLAIN_WIDTH = 160
"""Columns of the table where there is no terminal."""


def prove(
    faults: Annotated[
        str, typer.Option(metavar="NAMES", help="Which: names and patterns, separated by commas; --list shows them.")
    ] = "*",
    rounds: Annotated[
        int, typer.Option(min=1, help="How often each fault strikes; some strike more often, some less.")
    ] = 1,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 1,
    rows: Annotated[int, typer.Option(min=1000, help="Rows of the largest transaction.")] = 2_000_000,
    postgres: Annotated[
        str | None, typer.Option(metavar="URL", help="Use this PostgreSQL; needs CREATEDB and REPLICATION.")
    ] = None,
    kafka: Annotated[str | None, typer.Option(metavar="BOOTSTRAP", help="Use this Kafka.")] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the table as Markdown, and as JSON beside it.")
    ] = None,
    add: Annotated[
        bool, typer.Option("--add", help="Keep what the report has of other faults: many hours may be done in parts.")
    ] = False,
    keep: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keep the bridge's logs here where a promise was broken.")
    ] = None,
    list_only: Annotated[bool, typer.Option("--list", help="Show the faults, and which can be shown here.")] = False,
) -> None:
    """Let everything that may fail fail, and count what was lost; exit 0 when every promise held, else 1."""
    from cdc.prove.campaign import Campaign, run  # its servers are an extra, and not everybody has it
    from cdc.prove.faults import ALL
    from cdc.prove.report import document, page, read, show
    from cdc.prove.servers import Servers
    from cdc.testing.process import ServerError

    chosen = choose(ALL, faults)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    command = shlex.join(["cdc", "prove", *sys.argv[2:]])
    with _terminated_as_interrupted():
        try:
            with Servers(postgres, kafka) as servers:
                campaign = Campaign(chosen, rounds, seed, rows, command, keep)
                if list_only:
                    campaign.tell(servers, console)
                    return
                result = run(campaign, servers, console)
        except ServerError as error:
            raise CdcError(str(error), hint="install the extra: pip install 'cdc-bridge[demo]'") from error
    show(result, console)
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        written = report.with_suffix(".json")
        if add and written.exists():
            try:
                result = result.added_to(read(orjson.loads(written.read_bytes()), ALL), ALL)
            except ValueError as error:
                raise CdcError(f"{written} cannot be added to: {error}") from None
        report.write_text(page(result, report.read_text() if report.exists() else ""))
        written.write_bytes(orjson.dumps(document(result), option=orjson.OPT_INDENT_2))
    raise typer.Exit(130 if result.interrupted else 0 if result.held else 1)


def choose(faults: Sequence[Fault], names: str) -> list[Fault]:
    """The faults that names and patterns mean, in their own order.

    Raises:
        ConfigError: one means none.
    """
    patterns = [name.strip() for name in names.split(",") if name.strip()]
    for pattern in patterns:
        if not any(fnmatchcase(fault.name, pattern) for fault in faults):
            close = get_close_matches(pattern, [fault.name for fault in faults], n=1)
            suggestion = f"did you mean {close[0]}?" if close else "`cdc prove --list` shows them"
            raise ConfigError([Problem(f"no fault is called {pattern!r}", suggestion=suggestion)])
    return [fault for fault in faults if any(fnmatchcase(fault.name, pattern) for pattern in patterns)]


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does: with its servers."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
