"""Cases as they are written: settings in Debezium's names, SQL, steps. Reads files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Args:
        name: of the case and of the files with what came out.
        connector: settings in Debezium's names.
        setup: SQL run before the bridge starts.
        stream: steps run while it streams: SQL, or a mapping; `play` knows the kinds.
        schemas: whether it is also run with schemas in every record.
        linger_ms: how long to wait behind the last step.
    """

    name: str
    connector: dict[str, str]
    setup: list[Any]
    stream: list[Any]
    schemas: bool
    linger_ms: int


def read_cases(folder: Path, only: list[str]) -> list[Case]:
    """The cases of a folder, by name; only those named, where any are.

    Raises:
        SystemExit: there is no such folder or case.
    """
    found = {file.stem: file for file in sorted(folder.glob("*.json"))}
    if missing := [name for name in only if name not in found]:
        raise SystemExit(f"{folder} holds no case {', '.join(missing)}")
    if not found:
        raise SystemExit(f"{folder} holds no cases")
    return [_case(found[name]) for name in (sorted(set(only)) or found)]


def _case(file: Path) -> Case:
    read = json.loads(file.read_text(encoding="utf-8"))
    return Case(
        name=read["name"],
        connector=read["connector"],
        setup=read.get("setup", []),
        stream=read.get("stream", []),
        schemas=read.get("schemas", False),
        linger_ms=read.get("linger_ms", 300),
    )
