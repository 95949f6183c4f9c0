"""`cdc init`: writes a commented YAML to start from. Touches that one file."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from cdc.config import DEFAULT
from cdc.errors import ConfigError, Problem

File = Annotated[Path, typer.Argument(help="The file to write; it must not be there yet.")]


def init(file: File = Path(DEFAULT)) -> None:
    """Write a commented YAML to start from."""
    text = files("cdc.commands").joinpath("starter.yaml").read_text(encoding="utf-8")
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        hint = f"nothing was changed; give another name: cdc init {file.stem}-new{file.suffix}"
        raise ConfigError([Problem("is there already", file=str(file))], hint=hint) from None
    except OSError as error:
        raise ConfigError([Problem(f"cannot be written: {error.strerror}", file=str(file))]) from None
    typer.echo(f"wrote {file}: edit it, then run `cdc check --config {file}` and `cdc run --config {file}`")
