"""Waiting for facts, within limits. Touches the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Broken(Exception):
    """A promise was broken, or what had to happen did not; the message says which."""


def eventually(fact: Callable[[], T], seconds: float, what: str) -> T:
    """Wait for a fact; returns what it answered.

    Args:
        fact: asked again and again, until what it answers is true.
        seconds: for how long.
        what: the fact in words.

    Raises:
        Broken: it did not come true.
    """
    deadline = time.monotonic() + seconds
    while not (found := fact()):
        if time.monotonic() > deadline:
            raise Broken(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)
    return found
