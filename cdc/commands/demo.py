"""`cdc demo`: the whole line on embedded servers, with kills, and compared at the end. Starts processes."""

from __future__ import annotations

from typing import Annotated

import typer


def demo(
    postgres: Annotated[
        str | None, typer.Option(metavar="URL", help="Use this PostgreSQL; needs CREATEDB and REPLICATION.")
    ] = None,
    kafka: Annotated[str | None, typer.Option(metavar="BOOTSTRAP", help="Use this Kafka.")] = None,
    seconds: Annotated[float, typer.Option(min=3, help="How long to keep writing once all is copied.")] = 20,
    rows: Annotated[int, typer.Option(min=1000, help="About how many rows the warehouse has at first.")] = 150_000,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 1,
) -> None:
    """Watch a warehouse feed two services exactly once, through kills; exit 0 when all is equal."""
    from cdc.demo.play import Options, play  # its servers are an extra, and not everybody has it

    try:
        raise typer.Exit(play(Options(postgres=postgres, kafka=kafka, seconds=seconds, rows=rows, seed=seed)))
    except KeyboardInterrupt:
        typer.echo("interrupted; everything was stopped and removed", err=True)
        raise typer.Exit(130) from None
