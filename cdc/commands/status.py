"""`cdc status`: what a running bridge says of its workers. Touches its HTTP address and standard output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import orjson
import typer
from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from cdc.commands.options import Config, Json, address_of
from cdc.commands.words import amount, duration, size
from cdc.config import load
from cdc.server.client import fetch_status
from cdc.states import BROKEN, is_broken

Listen = Annotated[
    str | None,
    typer.Option("--listen", "--url", metavar="HOST:PORT", help="The bridge's address, instead of `server.listen`."),
]

BROKEN_EXIT_CODE = 3


def status(config: Config = None, listen: Listen = None, as_json: Json = False) -> None:
    """Show how the workers of a running bridge are.

    Exit code 0: all is well or on its way; 3: something is in `gap` or `failed`; 1: no
    bridge answers.
    """
    host, port = load(config).server.address() if listen is None else address_of(listen)
    document = fetch_status(host, port)
    if as_json:
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        Console().print(render(document))
    raise typer.Exit(BROKEN_EXIT_CODE if is_broken(document) else 0)


def render(document: Mapping[str, Any]) -> Group:
    """A status document for people."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("worker", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for heading in ("behind", "backlog", "rate", "WAL kept"):
        table.add_column(heading, justify="right", no_wrap=True)
    notes: list[Text] = []
    for name, connector in document["connectors"].items():
        table.add_row(
            Text(name),
            _state(connector),
            duration(connector["lag_seconds"]),
            size(connector["lag_bytes"]),
            amount(connector["rate"], "/s"),
            size(connector["retained_wal_bytes"]),
        )
        notes += _notes(name, connector)
    for name, sink in document["sinks"].items():
        members = sink.get("members", [])
        live = sum(member["state"] == "live" for member in members)
        table.add_row(
            Text(name if len(members) < 2 else f"{name} ({live}/{len(members)} live)"),
            _state(sink),
            duration(sink["lag_seconds"]),
            amount(sink["lag_events"], " events"),
            amount(sink["rate"], "/s"),
            "",
        )
        notes += _notes(name, sink)
    return Group(table, *notes)


def _state(worker: Mapping[str, Any]) -> Text:
    state = worker["state"]
    style = "bold red" if state in BROKEN else "green" if state in ("streaming", "live") else "yellow"
    return Text(state, style=style)


def _notes(name: str, worker: Mapping[str, Any]) -> list[Text]:
    notes = []
    if worker.get("snapshot") and worker["pid"] is not None:
        notes.append(Text.assemble((f"{name}: ", "bold"), "snapshot ", progress(worker["snapshot"])))
    if worker.get("wal_warning"):
        notes.append(Text.assemble((f"{name}: ", "bold"), (str(worker["wal_warning"]), "yellow")))
    if worker.get("put_off"):
        notes.append(Text.assemble((f"{name}: ", "bold"), (f"polls are put off: {worker['put_off']}", "yellow")))
    for table, why in (worker.get("refused_tables") or {}).items():
        notes.append(Text.assemble((f"{name}: ", "bold"), (f"left out: {table}: {why}", "yellow")))
    tables = worker.get("tables")
    for table, told in tables.items() if isinstance(tables, Mapping) else ():
        if told.get("may_miss"):
            notes.append(Text.assemble((f"{name}: ", "bold"), f"{table} may miss {told['may_miss']}"))
    unwatched = (worker.get("watch") or {}).get("error")
    if unwatched and worker["error"] != unwatched:
        message = f"what its source keeps cannot be watched: {unwatched['message']}"
        notes.append(Text.assemble((f"{name}: ", "bold"), (message, "yellow")))
    silent = worker.get("silent_seconds")
    if silent is not None and silent > 10:
        notes.append(Text.assemble((f"{name}: ", "bold"), f"has said nothing for {duration(silent)}"))
    error = worker.get("error")
    if error:
        again = f" (again at {worker['retry_at']})" if worker.get("retry_at") else ""
        notes.append(Text.assemble((f"{name}: ", "bold"), (str(error["message"]), "red"), again))
        if error.get("hint"):
            notes.append(Text(f"  hint: {error['hint']}"))
    return notes


def progress(snapshot: Mapping[str, Any]) -> str:
    """How far a snapshot is, in words."""
    rows, total = amount(snapshot.get("rows"), ""), amount(snapshot.get("total"), "")
    parts = ["paused"] if snapshot.get("paused") else []
    parts.append(f"{rows or 0} of {total} rows" if total else f"{rows or 0} rows")
    if snapshot.get("percent"):
        parts.append(f"{snapshot['percent']:.1f} %")
    for things in ("tables", "ranges"):
        if snapshot.get(things):
            parts.append(f"{snapshot.get(f'{things}_done', 0)} of {snapshot[things]} {things} done")
    if not snapshot.get("paused"):
        parts.append(amount(snapshot.get("rate"), " rows/s"))
        left = duration(snapshot.get("seconds_left"))
        parts.append(f"{left} left" if left else "")
    if snapshot.get("waiting_for"):
        parts.append(f"waiting for {snapshot['waiting_for']}")
    return ", ".join(part for part in parts if part)
