"""The command `cdc`: mounts the commands, and turns what goes wrong into words and exit codes.

Exit codes: 0 well, 1 anything else, 2 usage or settings, 3 a gap or refused for safety.
"""

from __future__ import annotations

import sys
import traceback
from importlib.metadata import version
from typing import Annotated

import typer

from cdc import compiled, logs
from cdc.commands import dead_letters
from cdc.commands.check import check
from cdc.commands.demo import demo
from cdc.commands.heal import heal
from cdc.commands.import_debezium import import_debezium
from cdc.commands.init import init
from cdc.commands.poll import poll
from cdc.commands.prove import prove
from cdc.commands.run import run
from cdc.commands.schema import schema
from cdc.commands.snapshot import snapshot
from cdc.commands.status import status
from cdc.commands.tail import tail
from cdc.errors import CdcError
from cdc.failures import describe

app = typer.Typer(
    name="cdc",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Change data capture from PostgreSQL to Kafka, exactly once, and back into tables.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cdc-bridge {version('cdc-bridge')}\n{compiled.summary()}")
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Version, and what is compiled.")
    ] = False,
) -> None: ...


for command in (init, check, run, status, snapshot, poll, tail, heal, import_debezium, schema, demo, prove):
    app.command()(command)
app.add_typer(dead_letters.app, name="dead-letters")


def main() -> None:
    """Entry point of `cdc`."""
    try:
        app(prog_name="cdc")
    except CdcError as error:
        sys.exit(_tell(error))
    except Exception as error:
        if logs.debugging():
            traceback.print_exc()
        sys.exit(_tell(error))


def _tell(error: Exception) -> int:
    told = describe(error)
    hint = f"\n  hint: {told['hint']}" if told["hint"] else ""
    print(f"error: {told['message']}{hint}", file=sys.stderr)
    return int(told["exit_code"])


if __name__ == "__main__":
    main()
