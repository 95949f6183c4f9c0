"""Differences that are known and stay, in one place, each with its reason. Pure."""

from __future__ import annotations

from typing import Any


def is_known(theirs: Any, ours: Any) -> bool:
    """Whether a difference of two events is one that stays."""
    return False
