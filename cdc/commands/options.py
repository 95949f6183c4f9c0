"""Options that several commands share. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cdc.server.address import parse

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="CDC_CONFIG",
        metavar="FILE_OR_FOLDER",
        help="The YAML file, or a folder of them; cdc.yaml here if not given.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]


def address_of(text: str, option: str = "--listen") -> tuple[str, int]:
    """Host and port of an address given as an option."""
    try:
        return parse(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: {error}", param_hint=option) from error
