"""`cdc run`: all workers, or the named ones. Touches processes, signals, the YAML and the local HTTP address."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import IO, Annotated, Any

import structlog
import typer

from cdc import logs
from cdc.commands.options import Config, address_of
from cdc.config import Texts, from_texts, read, write_texts
from cdc.errors import ConfigError, Problem
from cdc.plugins import connector_plugins
from cdc.reload import Reloading
from cdc.server.address import is_loopback
from cdc.server.http import Server
from cdc.settings import ConnectorSettings, Settings, SinkSettings
from cdc.supervised import Task
from cdc.supervisor import Supervisor

Names = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Connectors and sinks; all if none.")]
Listen = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Where `cdc status` asks, instead of `server.listen`.")
]


def run(names: Names = None, config: Config = None, listen: Listen = None) -> None:
    """Run all connectors and sinks, or the named ones.

    Each is a process of its own, and started again when it may be. Ctrl-C or SIGTERM stops
    all; a bridge that is killed goes on where it was. When the YAML changes, what it concerns
    is stopped, started or started again.
    """
    logs.configure()
    texts = read(config)
    settings = from_texts(texts)
    tasks = tasks_of(settings, names or [])
    host, port = settings.server.address() if listen is None else _loopback(listen)
    # The same for the same bridge started again on this machine, another for another one beside it.
    instance = f"{socket.gethostname()}-{port or os.getpid()}"
    command = [sys.executable, "-m", "cdc.worker", "--instance", instance]
    supervisor = Supervisor(tasks, *_start(command, texts))
    token = settings.server.token
    server = Server(host, port, supervisor, None if token is None else token.get_secret_value())
    log = structlog.get_logger("cdc")

    def take(new: Settings, texts: Texts) -> None:
        supervisor.change(tasks_of(new, names or []), *_start(command, texts))
        if new.server != settings.server:
            log.warning("`server` has changed: that counts when `cdc run` is started again")

    reloading = Reloading(config, texts, take)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop())
    # On a terminal it means that the terminal is gone.
    on_terminal = sys.stdin is not None and sys.stdin.isatty()
    signal.signal(signal.SIGHUP, lambda *_: supervisor.stop() if on_terminal else reloading.ask())
    log.info("bridge started", name=settings.name, workers=len(tasks), status=f"{server.url}/status")
    reloading.start()
    try:
        supervisor.run()
    finally:
        reloading.stop()
        server.close()
    log.info("bridge stopped", name=settings.name)


def _start(command: Sequence[str], texts: Texts) -> tuple[list[str], list[IO[bytes]]]:
    """The command of a worker that is to run with these settings, whatever is in the files by then."""
    file = write_texts(texts)
    return [*command, "--settings-fd", str(file.fileno())], [file]


def tasks_of(settings: Settings, names: Sequence[str]) -> list[Task]:
    """The workers of the named connectors and sinks, or of all: one per connector, `workers` per sink.

    Their basis is all that they are made from: their own section, databases, topics and Kafka.

    Raises:
        ConfigError: a name that is neither, or nothing to run.
    """
    known = [*settings.connectors, *settings.sinks]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError([_unknown(name, known) for name in unknown])
    tasks = [
        Task("connector", name, basis=_basis(settings, section), watchable=_watchable(section))
        for name, section in settings.connectors.items()
        if not names or name in names
    ]
    for name, sink in settings.sinks.items():
        if not names or name in names:
            tasks += [Task("sink", name, member, _basis(settings, sink)) for member in range(sink.workers)]
    if not tasks:
        raise ConfigError([Problem("there is nothing to run")], hint="name a connector or a sink in the settings")
    return tasks


def _basis(settings: Settings, section: ConnectorSettings | SinkSettings) -> tuple[Any, ...]:
    own = getattr(section, "database", None)
    databases = {name: found for name, found in settings.databases.items() if own in (None, name)}
    return settings.name, settings.kafka, settings.topics, databases, section


def _watchable(section: ConnectorSettings) -> bool:
    plugin = connector_plugins().get(section.type)
    return plugin is not None and plugin.watch is not None


def _unknown(name: str, known: Sequence[str]) -> Problem:
    close = get_close_matches(name, known, n=1)
    suggestion = f"did you mean {close[0]}?" if close else f"there is {', '.join(known)}" if known else None
    return Problem(f"no connector or sink is called {name!r}", suggestion=suggestion)


def _loopback(listen: str) -> tuple[str, int]:
    host, port = address_of(listen)
    if not is_loopback(f"[{host}]" if ":" in host else host):
        raise typer.BadParameter(
            f"{listen!r}: must be a loopback address: its status is open to all", param_hint="--listen"
        )
    return host, port
