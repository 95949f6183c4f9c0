"""The JSON of a connector, as Kafka Connect's REST interface takes and gives it → its properties. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from cdc.debezium.values import shown
from cdc.errors import ConfigError, Problem

_HOW = "one connector, as Kafka Connect gives it: GET /connectors/NAME"


class _Literal(str):
    """A number as it is spelled."""


@dataclass(frozen=True, slots=True)
class Source:
    """A connector as it was written.

    Args:
        name: of the connector.
        config: its properties, all text.
        file, text: where it was written.
    """

    name: str
    config: dict[str, str]
    file: str
    text: str

    def problem(self, name: str, message: str) -> Problem:
        """A problem with a property, which is told without a salt."""
        found = re.search(rf"{re.escape(json.dumps(name))}\s*:", self.text) if name else None
        return Problem(message, shown(name), self.file, self.text.count("\n", 0, found.start()) + 1 if found else None)


def read(text: str, file: str) -> Source:
    """`{"name": …, "config": {…}}`, or the properties alone.

    Raises:
        ConfigError: no JSON, or no properties.
    """
    try:
        document = json.loads(text, parse_int=_Literal, parse_float=_Literal, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise ConfigError(
            [Problem(f"is no JSON: {error.msg}, column {error.colno}", "", file, error.lineno)], hint=_HOW
        ) from None
    except RecursionError:
        raise ConfigError([Problem("is nested too deeply", "", file)]) from None
    except _Twice as twice:
        raise ConfigError([Source("", {}, file, text).problem(str(twice), "is given twice")]) from None
    config = document.get("config", document) if isinstance(document, dict) else None
    if not isinstance(config, dict) or not config:
        problem = Problem('must hold a connector: {"name": …, "config": {…}}, or its properties alone', "", file, 1)
        raise ConfigError([problem], hint=_HOW)
    name = document.get("name") if "config" in document else config.get("name")
    source = Source(str(name or ""), {}, file, text)
    problems = [source.problem(key, "must be text") for key, value in config.items() if isinstance(value, (dict, list))]
    if problems:
        raise ConfigError(problems, hint=_HOW)
    for key, value in config.items():
        if value is not None:
            source.config[key] = str(value).lower() if isinstance(value, bool) else str(value)
    return source


class _Twice(Exception):
    """A key that an object has twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Twice(key)
        found[key] = value
    return found
