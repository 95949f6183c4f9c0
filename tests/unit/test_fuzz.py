"""Damaged messages and events: a short run of `make fuzz`, and that a fuzzer's finds are told."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import pytest

from cdc.formats.postgres import encode_cy
from cdc.formats.postgres.form import Transcoder
from tests.fuzz.feed import INPUTS, Fuzz, Wrong
from tests.fuzz.run import run

SEED = 6


@pytest.mark.long
def test_damaged_messages_and_events_do_no_worse_than_being_refused() -> None:
    rounds = 240 if encode_cy.__file__.endswith(".py") else 400
    fuzz = Fuzz(SEED)
    fed = sum(1 for number in range(rounds) for _ in fuzz.round(number))
    assert fed == rounds * INPUTS
    assert 0.05 < fuzz.taken / fed < 0.95, "almost all are refused (or taken) before anything is looked at"
    assert fuzz.transcoders == set(Transcoder), "tests/fuzz/tables.py has no type for a transcoder"


class Broken:
    """Stands in for what is fuzzed; its third round does what no parser may."""

    taken = 0

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def round(self, number: int) -> Iterator[bytes]:
        yield b"input of round %d" % number
        if number == 2:
            self.break_()

    def break_(self) -> None:
        raise Wrong("taken")


class Endless(Broken):
    def break_(self) -> None:
        while True:
            pass


class Crashing(Broken):
    def break_(self) -> None:
        ctypes.string_at(0)


class Hungry(Broken):
    def break_(self) -> None:
        bytearray(8 << 30)


@pytest.mark.parametrize(
    ("broken", "words"),
    [(Broken, "Wrong: taken"), (Endless, "in break_"), (Crashing, "Segmentation fault"), (Hungry, "MemoryError")],
)
def test_a_crash_a_loop_and_a_memory_bomb_are_told_with_the_input(broken: type[Broken], words: str) -> None:
    result = run(4 * INPUTS, SEED, 1, make=broken, seconds=1)
    (failure,) = result.failures
    assert failure.startswith(f"seed {SEED}, round 2: the process ended with ")
    assert words in failure
    assert b"input of round 2".hex() in failure


@pytest.mark.long
def test_rounds_are_shared_out() -> None:
    result = run(4 * INPUTS, SEED, 2, make=_Whole)
    assert (result.inputs, result.failures) == (4, [])


class _Whole(Broken):
    def break_(self) -> None:
        pass
