"""`cdc heal`: what is missing, what mends it, and doing that. Touches sources, Kafka, targets and a running bridge."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any

import orjson
import typer

from cdc import logs
from cdc.commands.options import Config, Json, address_of
from cdc.commands.words import amount
from cdc.config import load
from cdc.errors import CdcError, ConfigError, Gap, Problem, Refused
from cdc.plugins import sink_plugins
from cdc.server.client import fetch_status, send_command
from cdc.settings import Settings
from cdc.states import BROKEN

POLL_SECONDS = 0.5
GAP_EXIT_CODE = 3

Name = Annotated[str, typer.Argument(metavar="NAME", help="A connector or a sink.")]
Topics = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TOPIC]...", help="Of a sink: topics and patterns of them; those with a gap if none."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it. Else the plan is shown and nothing is changed.")]
Remove = Annotated[
    bool,
    typer.Option("--remove-unpublished", help="Of a sink: rows that the topic does not have go in any case."),
]
Listen = Annotated[
    str | None,
    typer.Option("--listen", "--url", metavar="HOST:PORT", help="The bridge's address, instead of `server.listen`."),
]


def heal(
    name: Name,
    topics: Topics = None,
    yes: Yes = False,
    remove_unpublished: Remove = False,
    config: Config = None,
    listen: Listen = None,
    as_json: Json = False,
) -> None:
    """Mend a gap: show what is missing and what it takes; do it with --yes.

    A connector's topics are compared with the source, and what differs is published; a sink's
    tables are compared with its topics. Exit code 0: nothing is missing (any more); 3: a gap
    is there, and was not mended.
    """
    logs.configure()
    settings = load(config)
    address = settings.server.address() if listen is None else address_of(listen)
    if name in settings.sinks:
        _heal_sink(settings, name, topics or [], remove_unpublished, yes, address)
    elif name not in settings.connectors:
        known = [*settings.connectors, *settings.sinks]
        close = get_close_matches(name, known, n=1)
        suggestion = f"did you mean {close[0]}?" if close else f"there is {', '.join(known) or 'none'}"
        raise ConfigError([Problem(f"no connector or sink is called {name!r}", suggestion=suggestion)])
    elif topics or remove_unpublished:
        raise typer.BadParameter(f"{name} is a connector: all its tables are healed", param_hint="TOPIC")
    else:
        _heal_connector(settings, name, yes, address, as_json)


def _heal_connector(settings: Settings, name: str, yes: bool, address: tuple[str, int], as_json: bool) -> None:
    # Imported here: it brings the source's and Kafka's clients.
    from cdc import heal as healing

    plan = healing.plan(settings, name)
    if as_json:
        typer.echo(orjson.dumps(plan, option=orjson.OPT_INDENT_2).decode())
    else:
        for line in lines(plan):
            typer.echo(line)
    if plan.gap is None and not plan.begun:
        return
    if not yes:
        raise typer.Exit(GAP_EXIT_CODE)
    if plan.gap is not None:
        healing.begin(settings, name)
    if _restarted(settings, "connector", name, address):
        _follow(name, address)
    else:
        typer.echo(f"no bridge answers at {address[0]}:{address[1]}: {name} runs here until it is healed")
        healing.run(settings, name, lambda text: typer.echo(f"{name}: {text}"))
    typer.echo(f"{name}: healed")


def lines(plan: Any) -> Iterator[str]:
    """A connector's plan for people."""
    if plan.gap is None and not plan.begun:
        yield f"{plan.connector}: nothing is missing"
        return
    yield f"gap: {plan.gap}" if plan.gap else f"{plan.connector}: a heal was begun and has not ended; it begins again"
    yield "mended by a new replication slot: all tables are read as of its making, and compared with their topics"
    for table in plan.tables:
        rows = "" if table.rows is None else f", about {amount(table.rows, ' rows')}"
        how = "by difference: what is changed, new or gone is published" if table.how == "difference" else table.note
        yield f"  {table.table} → {table.topic}{rows}: {how}"


def _heal_sink(
    settings: Settings, name: str, topics: list[str], remove: bool, yes: bool, address: tuple[str, int]
) -> None:
    section = settings.sinks[name]
    plan = sink_plugins()[section.type].rebuild
    if plan is None:
        raise Refused(f"sink {name}: a {section.type} sink holds nothing that could be compared with its topics")
    rebuild = plan(settings, name, section, topics, remove)
    if not rebuild.lines:
        typer.echo(f"{name}: nothing is missing")
        return
    for line in rebuild.lines:
        typer.echo(line)
    if not yes:
        raise typer.Exit(GAP_EXIT_CODE)
    for line in rebuild.apply():
        typer.echo(line)
    if _restarted(settings, "sink", name, address):
        typer.echo(f"{name}: started again; `cdc status` shows how far it is")
    else:
        typer.echo(f"{name}: goes on with it at the next `cdc run`")


def _restarted(settings: Settings, kind: str, name: str, address: tuple[str, int]) -> bool:
    """Have a running bridge start the worker again; False when none answers, or it runs no such worker."""
    try:
        document = fetch_status(*address)
    except CdcError:
        return False
    if name not in document[f"{kind}s"]:
        return False
    token = settings.server.token
    secret = None if token is None else token.get_secret_value()
    typer.echo(f"{name}: {send_command(*address, kind, name, 'restart', token=secret)}")
    return True


def _follow(name: str, address: tuple[str, int]) -> None:
    """Print how far the bridge's worker is, until it has healed.

    Raises:
        Gap, Refused: it stopped in `gap` or `failed`.
        CdcError: the bridge answers no more.
    """
    from cdc.heal import progress

    told, begun = "", False
    while True:
        found: Mapping[str, Any] = fetch_status(*address)["connectors"].get(name, {})
        if found.get("state") in BROKEN:
            error: Mapping[str, Any] = found.get("error") or {}
            form = Gap if found["state"] == "gap" else Refused
            raise form(str(error.get("message")), hint=error.get("hint"))
        # A report from before it was started again says nothing of healing.
        begun = begun or bool(found.get("healing"))
        if found.get("state") == "stopped" or (found.get("healing") is False and (begun or _settled(found))):
            return
        text = progress(dict(found))
        if text != told:
            typer.echo(f"{name}: {text}")
            told = text
        time.sleep(POLL_SECONDS)


def _settled(found: Mapping[str, Any]) -> bool:
    """It heals so quickly that it was not seen to."""
    return found.get("state") == "streaming" and found.get("pid") is not None and not found.get("snapshot")
