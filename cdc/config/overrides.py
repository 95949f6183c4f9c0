"""`CDC_SECTION__KEY` variables → the document. Pure.

`CDC_KAFKA__BOOTSTRAP_SERVERS` sets `kafka.bootstrap_servers`. Keys are matched without regard to
case and with `_` for every character a variable's name cannot have; a key that is not there yet
is made in lower case. Text stays text (the models turn it into numbers and flags), but for JSON
objects and lists.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from cdc.config.documents import Document
from cdc.errors import Problem
from cdc.kafka import PROPERTIES
from cdc.settings import Path, Place, Settings, dotted

PREFIX = "CDC_"


def override(document: Document, environ: Mapping[str, str]) -> None:
    """Put the variables that begin with `CDC_` into `document`.

    Without `__` only a setting at the top that is no section (`CDC_NAME`) is meant, so that other
    variables (`CDC_CONFIG`) may stand beside it.
    """
    for variable in sorted(environ):
        keys = variable.removeprefix(PREFIX).split("__")
        if variable.startswith(PREFIX) and all(keys) and (len(keys) > 1 or keys[0].upper() == "NAME"):
            _set(document, variable, keys, _value(environ[variable]))


def _set(document: Document, variable: str, keys: list[str], value: Any) -> None:
    place = Place(f"environment variable {variable}")
    here: Any = document.data
    path: Path = ()
    for number, key in enumerate(keys):
        if not isinstance(here, dict):
            message = "is no section, so nothing below it can be set"
            document.problems.append(Problem(message, dotted(path), place.file, None, "set all of it"))
            return
        path = (*path, _known(here, path, key))
        if number < len(keys) - 1:
            if here.get(path[-1]) is None:
                here[path[-1]] = {}
            document.places.setdefault(path, place)
            here = here[path[-1]]
    for old in [p for p in document.places if p[: len(path)] == path]:
        del document.places[old]
    here[path[-1]] = value
    document.places[path] = place
    document.substituted.add(path)


def _known(section: Mapping[str, Any], path: Path, key: str) -> str:
    """The key that the variable's part `key` means."""
    candidates = list(section)
    if not path:
        candidates += Settings.model_fields
    if path == ("kafka", "properties"):
        candidates += PROPERTIES
    wanted = _plain(key)
    return next((known for known in candidates if _plain(known) == wanted), key.lower())


def _plain(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", key.lower())


def _value(text: str) -> Any:
    if text[:1] in ("{", "["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
