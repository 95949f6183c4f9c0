"""Where a connector stands. Touches nothing.

The core stores and compares positions; only the connector that made one reads its state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Position:
    """An orderable place in a source, as stored on the offsets topic.

    Args:
        order: text that orders the positions of one connector when compared as a string;
            "" before the first change.
        state: what the connector needs to go on from here; JSON values only; small, since it
            is written with every batch.
        ledger: what it must remember but changes rarely (which tables were snapshotted);
            written only when given, so None means "as it was".
    """

    order: str
    state: Mapping[str, Any] = field(default_factory=dict)
    ledger: Mapping[str, Any] | None = None


def dump(document: Mapping[str, Any]) -> bytes:
    """A stored document as JSON, with the version of its format."""
    return orjson.dumps({"version": FORMAT_VERSION, **document})


def load(data: bytes) -> dict[str, Any]:
    """Read what `dump` wrote.

    Raises:
        ValueError: not such a document, or one that a newer release wrote.
    """
    document = orjson.loads(data)
    if not isinstance(document, dict) or document.get("version") != FORMAT_VERSION:
        raise ValueError(f"not a document of format version {FORMAT_VERSION}")
    return document
