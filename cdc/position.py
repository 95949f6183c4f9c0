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
        state: what the connector needs to go on from here; JSON values only.
    """

    order: str
    state: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        return orjson.dumps({"version": FORMAT_VERSION, "order": self.order, "state": dict(self.state)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Position:
        """Read a stored position.

        Raises:
            ValueError: not a position, or one that a newer release wrote.
        """
        document = orjson.loads(data)
        if not isinstance(document, dict) or document.get("version") != FORMAT_VERSION:
            raise ValueError("not a position of format version 1")
        return cls(order=document["order"], state=document["state"])
