"""Figures in words for people. Pure."""

from __future__ import annotations

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB")


def duration(seconds: float | None) -> str:
    """`12 ms`, `3.4 s`, `5 min 10 s`, `2 h 3 min`; empty for None."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    if seconds < 86400:
        return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
    return f"{seconds // 86400:.0f} d {seconds % 86400 // 3600:.0f} h"


def size(count: float | None) -> str:
    """`512 B`, `1.5 MiB`; empty for None."""
    if count is None:
        return ""
    for unit in _SIZES[:-1]:
        if abs(count) < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {_SIZES[-1]}"


def amount(count: float | None, unit: str) -> str:
    """`12,345 events`; empty for None."""
    return "" if count is None else f"{count:,.0f}{unit}"
