"""`cdc run`: all workers, or the named ones. Touches processes, signals and the local HTTP address."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated

import structlog
import typer

from cdc import logs
from cdc.commands.options import Config, address_of
from cdc.config import load
from cdc.errors import ConfigError, Problem
from cdc.server.address import is_loopback
from cdc.server.http import Server
from cdc.settings import Settings
from cdc.supervisor import Supervisor, Task

Names = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Connectors and sinks; all if none.")]
Listen = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Where `cdc status` asks, instead of `server.listen`.")
]


def run(names: Names = None, config: Config = None, listen: Listen = None) -> None:
    """Run all connectors and sinks, or the named ones.

    Each is a process of its own, and started again when it may be. Ctrl-C or SIGTERM stops
    all; a bridge that is killed goes on where it was.
    """
    logs.configure()
    settings = load(config)
    tasks = tasks_of(settings, names or [])
    host, port = settings.server.address() if listen is None else _loopback(listen)
    # The same for the same bridge started again on this machine, another for another one beside it.
    instance = f"{socket.gethostname()}-{port or os.getpid()}"
    command = [sys.executable, "-m", "cdc.worker", "--instance", instance]
    command += ["--config", str(config)] if config else []
    supervisor = Supervisor(tasks, command)
    server = Server(host, port, supervisor.status)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop())
    log = structlog.get_logger("cdc")
    log.info("bridge started", name=settings.name, workers=len(tasks), status=f"{server.url}/status")
    try:
        supervisor.run()
    finally:
        server.close()
    log.info("bridge stopped", name=settings.name)


def tasks_of(settings: Settings, names: Sequence[str]) -> list[Task]:
    """The workers of the named connectors and sinks, or of all: one per connector, `workers` per sink.

    Raises:
        ConfigError: a name that is neither, or nothing to run.
    """
    known = [*settings.connectors, *settings.sinks]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError([_unknown(name, known) for name in unknown])
    tasks = [Task("connector", name) for name in settings.connectors if not names or name in names]
    for name, sink in settings.sinks.items():
        if not names or name in names:
            tasks += [Task("sink", name, member) for member in range(sink.workers)]
    if not tasks:
        raise ConfigError([Problem("there is nothing to run")], hint="name a connector or a sink in the settings")
    return tasks


def _unknown(name: str, known: Sequence[str]) -> Problem:
    close = get_close_matches(name, known, n=1)
    suggestion = f"did you mean {close[0]}?" if close else f"there is {', '.join(known)}" if known else None
    return Problem(f"no connector or sink is called {name!r}", suggestion=suggestion)


def _loopback(listen: str) -> tuple[str, int]:
    host, port = address_of(listen)
    if not is_loopback(f"[{host}]" if ":" in host else host):
        raise typer.BadParameter(f"{listen!r}: must be a loopback address: nothing guards it", param_hint="--listen")
    return host, port
