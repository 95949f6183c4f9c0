"""`cdc poll`: has a running connector poll now. Touches the bridge's HTTP address and standard output."""

from __future__ import annotations

from typing import Annotated

import typer

from cdc.commands.options import Config
from cdc.commands.snapshot import Listen, ask, requests
from cdc.config import load

Name = Annotated[str, typer.Argument(metavar="NAME", help="The connector.")]
Tables = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TABLE", help='Tables ("public.orders") and patterns ("sales.*"); all of them if not given.'
    ),
]


def poll(name: Name, tables: Tables = None, config: Config = None, listen: Listen = None) -> None:
    """Have a running connector that polls do so now, whenever its schedule would.

    How tables are polled is their matter in the YAML, never this command's.
    """
    settings = load(config)
    ask(settings, listen, requests(settings, tables or [], name, "poll"), "poll")
