"""Topics as settings name them → as librdkafka subscribes to them. Pure."""

from __future__ import annotations

import re

from cdc import patterns


def subscription(topic: str) -> str:
    """A topic or a pattern of topics as librdkafka's subscription wants it: `^` begins a POSIX expression."""
    if not patterns.is_pattern(topic):
        return topic
    parts = re.findall(r"\[!?[^\]]+\]|.", topic)
    return "^" + "".join(_expression(part) for part in parts) + "$"


def _expression(part: str) -> str:
    if part in ("*", "?"):
        return ".*" if part == "*" else "."
    if len(part) > 1:
        return part.replace("[!", "[^", 1)
    return re.escape(part) if part in ".[]" else part
