"""`cdc import-debezium`: settings of a Debezium connector → YAML. Reads one file, writes one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from cdc.config import parse
from cdc.debezium.offset import start_from
from cdc.debezium.source import read
from cdc.debezium.text import text_of
from cdc.debezium.translate import translate
from cdc.errors import ConfigError, Problem

File = Annotated[
    Path, typer.Argument(metavar="CONNECTOR.json", help="As Kafka Connect's REST interface takes or gives it.")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Where to; it must not be there yet. Else standard output."),
]
Offset = Annotated[
    Path | None,
    typer.Option(
        metavar="OFFSET.json", help="Go on where the connector was stopped: the answer of GET /connectors/NAME/offsets."
    ),
]


def import_debezium(file: File, output: Output = None, offset: Offset = None) -> None:
    """Take over the settings of a Debezium PostgreSQL connector, and with its offset its place.

    Writes YAML with `compatibility: debezium`, whose events are Debezium's. What has no counterpart is told on standard
    error, and in the YAML. Passwords and salts are never written.
    """
    source = read(_text(file), str(file))
    translation = translate(source.name, source.config)
    if offset is not None:
        translation.start_from(start_from(_text(offset), str(offset)))
    if translation.wrong:
        problems = [source.problem(told.name, told.words) for told in translation.wrong]
        raise ConfigError(problems, hint="nothing was written")
    written = text_of(translation, file.name)
    for told in translation.lost:
        typer.echo(f"{source.problem(told.name, f'is not taken over: {told.words}')}", err=True)
    for remark in translation.remarks:
        typer.echo(f"{file}: {remark}", err=True)
    for problem in _left(written):
        typer.echo(f"{file}: the settings want a hand: {problem}", err=True)
    if output is None:
        typer.echo(written, nl=False)
        return
    try:
        with output.open("x", encoding="utf-8") as opened:
            opened.write(written)
    except FileExistsError:
        raise ConfigError([Problem("is there already", file=str(output))], hint="nothing was changed") from None
    except OSError as error:
        raise ConfigError([Problem(f"cannot be written: {error.strerror}", file=str(output))]) from None
    typer.echo(f"wrote {output}: look at it, then run `cdc check --config {output}`", err=True)


def _left(written: str) -> list[str]:
    """What is wrong with the settings, once their variables are set."""
    try:
        parse(written, dict.fromkeys(re.findall(r"(?<!\$)\$\{(\w+)\}", written), "1"))
    except ConfigError as error:
        return [str(Problem(one.message, one.path, suggestion=one.suggestion)) for one in error.problems]
    return []


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError([Problem(f"cannot be read: {error.strerror}", file=str(file))]) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem("is not UTF-8 text", file=str(file))]) from None
