"""`cdc snapshot`: has a running connector read tables again, or pause. Touches its HTTP address and standard output."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any

import typer

from cdc import patterns
from cdc.commands.options import Config, address_of
from cdc.commands.status import progress
from cdc.config import load
from cdc.errors import CdcError, ConfigError, Gap, Problem, Refused
from cdc.server.client import fetch_status, send_command
from cdc.settings import Settings
from cdc.states import BROKEN

POLL_SECONDS = 1.0

What = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CONNECTOR_OR_TABLE",
        help='Tables ("public.orders"), patterns ("sales.*"), or a connector for all its tables.',
    ),
]
Connector = Annotated[str | None, typer.Option(metavar="NAME", help="The connector, where several capture the table.")]
Listen = Annotated[
    str | None,
    typer.Option("--listen", "--url", metavar="HOST:PORT", help="The bridge's address, instead of `server.listen`."),
]
Pause = Annotated[bool, typer.Option("--pause", help="Pause the snapshot; the stream goes on.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a paused snapshot.")]
Cancel = Annotated[bool, typer.Option("--cancel", help="Give the asked-for snapshot up; what was published stays.")]
Wait = Annotated[bool, typer.Option("--wait", help="Until it is done, with its progress.")]


def snapshot(
    what: What = None,
    connector: Connector = None,
    pause: Pause = False,
    resume: Resume = False,
    cancel: Cancel = False,
    wait: Wait = False,
    config: Config = None,
    listen: Listen = None,
) -> None:
    """Read tables again on a running connector, while its stream goes on.

    Which rows are read is the tables' matter in the YAML, never this command's.
    """
    chosen = [action for action, on in (("pause", pause), ("resume", resume), ("cancel", cancel)) if on]
    if len(chosen) > 1:
        raise typer.BadParameter("give one of --pause, --resume and --cancel")
    action = chosen[0] if chosen else "snapshot"
    settings = load(config)
    asked = requests(settings, what or [], connector, action)
    host, port = ask(settings, listen, asked, action)
    if wait and action in ("snapshot", "resume"):
        for name in asked:
            follow(host, port, name)


def requests(settings: Settings, what: Sequence[str], connector: str | None, action: str) -> dict[str, list[str]]:
    """Which connector is asked for which tables (none: all of them).

    Args:
        what: connectors, tables and patterns of tables.
        connector: the one that is meant, or None.
        action: `snapshot`, `poll`, or one that is about a connector's snapshot as a whole.
    Raises:
        ConfigError: a table that no connector captures, or several do; no such connector.
    """
    known = list(settings.connectors)
    if connector is not None and connector not in known:
        raise ConfigError([_unknown(connector, known)])
    if not what:
        return {_only(known, connector, action): []}
    whole = [each for each in what if each in known and connector in (None, each)]
    asked: dict[str, list[str]] = {name: [] for name in whole}
    for each in [each for each in what if each not in whole]:
        names = [name for name in known if connector in (None, name) and _captures(settings, name, each)]
        # Written just so in one section, it is that one that is meant.
        names = [name for name in names if each in (settings.connectors[name].captured() or [])] or names
        if not names:
            raise ConfigError([_not_captured(settings, each, connector)])
        if len(names) > 1:
            hint = "say which with --connector NAME"
            raise ConfigError([Problem(f"{each} is captured by {' and '.join(names)}")], hint=hint)
        if names[0] not in whole:
            asked.setdefault(names[0], []).append(each)
    return {name: tables if action in ("snapshot", "poll") else [] for name, tables in asked.items()}


def ask(settings: Settings, listen: str | None, asked: Mapping[str, Sequence[str]], action: str) -> tuple[str, int]:
    """Ask the running bridge and print what its connectors answer.

    Args:
        listen: the bridge's address, if it is not that of the settings.
        asked: connector → tables; none: all of them.
        action: as `Connector.ask` takes it.
    Returns: the bridge's address.
    Raises:
        CdcError: no bridge answers, or a connector refuses.
    """
    host, port = settings.server.address() if listen is None else address_of(listen)
    token = settings.server.token
    secret = None if token is None else token.get_secret_value()
    for name, tables in asked.items():
        typer.echo(f"{name}: {send_command(host, port, 'connector', name, action, tables, secret)}")
    return host, port


def follow(host: str, port: int, name: str) -> None:
    """Print how far the snapshot is, until there is none any more.

    Raises:
        Gap, Refused: the connector is in `gap` or `failed`.
        CdcError: the bridge answers no more, or does not run it.
    """
    told = ""
    while True:
        found = fetch_status(host, port)["connectors"].get(name)
        if found is None:
            raise CdcError(f"the bridge runs no connector {name!r} any more")
        if found["state"] in BROKEN:
            error: Mapping[str, Any] = found.get("error") or {}
            form = Gap if found["state"] == "gap" else Refused
            raise form(f"{name} is in state {found['state']}: {error.get('message')}", hint=error.get("hint"))
        if found["pid"] is not None and not found.get("snapshot") and found["state"] == "streaming":
            typer.echo(f"{name}: done")
            return
        text = progress(found.get("snapshot") or {}) if found.get("snapshot") else str(found["state"])
        if text != told:
            typer.echo(f"{name}: {text}")
            told = text
        time.sleep(POLL_SECONDS)


def _only(known: Sequence[str], connector: str | None, action: str) -> str:
    if connector is not None:
        return connector
    if action == "snapshot":
        raise typer.BadParameter("name tables, patterns, or a connector for all its tables")
    if len(known) != 1:
        raise ConfigError([Problem(f"which connector? there is {', '.join(known) or 'none'}")])
    return known[0]


def _captures(settings: Settings, connector: str, table: str) -> bool:
    """Whether what is asked for may be among what is captured; either may be a pattern."""
    captured = settings.connectors[connector].captured() or []
    return any(patterns.matches(entry, table) or patterns.matches(table, entry) for entry in captured)


def _not_captured(settings: Settings, table: str, connector: str | None) -> Problem:
    captured = [
        entry
        for name, section in settings.connectors.items()
        if connector in (None, name)
        for entry in section.captured() or []
    ]
    close = get_close_matches(table, [*captured, *settings.connectors], n=1)
    who = f"connector {connector} does not capture" if connector else "no connector captures"
    suggestion = f"did you mean {close[0]}?" if close else "add it under `tables:`, which reads its rows as well"
    return Problem(f"{who} {table}", suggestion=suggestion)


def _unknown(name: str, known: Sequence[str]) -> Problem:
    close = get_close_matches(name, known, n=1)
    suggestion = f"did you mean {close[0]}?" if close else f"there is {', '.join(known) or 'none'}"
    return Problem(f"no connector is called {name!r}", suggestion=suggestion)
