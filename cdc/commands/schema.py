"""`cdc schema`: prints the JSON Schema of the settings, with the sections of all installed plugins."""

from __future__ import annotations

import typer

from cdc.config.json_schema import json_schema, text_of


def schema() -> None:
    """Print the JSON Schema of the settings, for editors.

    Save it, and begin the YAML with: # yaml-language-server: $schema=FILE
    """
    typer.echo(text_of(json_schema()), nl=False)
