"""Valid bytes, damaged: what a fuzzer feeds. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

GARBAGE: Final = (
    b"",
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98",
    b"NaN",
    b"Infinity",
    b"-",
    b"e",
    b"1e99999",
    b"9" * 30,
    b"9" * 5000,
    b"0" * 20,
    b"{" * 100,
    b"[" * 1100,
    b"}" * 3,
    b"NULL",
    b'"',
    b"\\",
    b"\\u",
    b"\\ud800",
    b"=>",
    b",",
    b":",
    b"T24:60:61.9999999",
    b"99999999-99-99",
    b" BC",
    b"+99:99:99",
    b"2147483648 years",
    b"null",
    b"\t\n",
    b"\\N",
    b"\\777\\x",
    b"-9223372036854775809",
    b"\xc0\x80",
)
"""What hurts parsers of values."""

_LENGTHS: Final = (0, 1, 2, 3, 0x7F, 0x80, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF)


def mutated(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """The same bytes with some damage: one to four kinds of it, one after the other.

    Args:
        random: what is chosen by.
        data: valid, or damaged before.
        others: more of the kind, to splice with.
    """
    damaged = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        random.choice(_DAMAGES)(random, damaged, others)
    return bytes(damaged)


def _flip(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _byte(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[random.randrange(len(data))] = random.randrange(256)


def _character(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """One that means something to some parser."""
    if data:
        data[random.randrange(len(data))] = random.choice(b'0123456789+-.:,;/ {}[]()<>"\\=\tNtfnuKOIUDeE')


def _cut(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[random.randrange(len(data) + 1) :]


def _drop(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    start = random.randrange(len(data) + 1)
    del data[start : start + random.choice((1, 1, 2, 4, 5, 16))]


def _repeat(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    start = random.randrange(len(data) + 1)
    piece = data[start : start + random.choice((1, 1, 2, 5, 40))]
    data[start:start] = piece * random.choice((1, 1, 2, 9, 300))


def _splice(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    other = random.choice(others)
    start = random.randrange(len(other) + 1)
    data[random.randrange(len(data) + 1) :] = other[start:]


def _insert(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    data[at:at] = random.choice(GARBAGE)


def _value(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """Garbage as the value of a column, with its length right, so that the value's own parser gets it."""
    places = [place for place in range(len(data) - 4) if data[place] == 116]
    if not places:
        return
    at = random.choice(places)
    end = min(len(data), at + 5 + int.from_bytes(data[at + 1 : at + 5]))
    value = bytearray(random.choice(GARBAGE) if random.random() < 0.5 else data[at + 5 : end])
    for _ in range(random.randrange(3)):
        random.choice((_flip, _character, _drop, _repeat, _insert))(random, value, ())
    data[at:end] = b"t" + len(value).to_bytes(4) + value


def _length(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """Two or four bytes as if they were a length."""
    size = random.choice((2, 4))
    if len(data) >= size:
        at = random.randrange(len(data) - size + 1)
        known = int.from_bytes(data[at : at + size])
        length = random.choice((random.choice(_LENGTHS), known + 1, known - 1)) % (1 << 8 * size)
        data[at : at + size] = length.to_bytes(size)


_DAMAGES: Final[Sequence[Callable[[Random, bytearray, Sequence[bytes]], None]]] = (
    _flip,
    _byte,
    _character,
    _cut,
    _drop,
    _repeat,
    _splice,
    _insert,
    _value,
    _value,
    _length,
)
