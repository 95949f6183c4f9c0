"""Masks that keep equal values equal: what stands for a text. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

Digest: TypeAlias = Callable[[bytes], bytes]
"""A value's text, in UTF-8 → what is published instead."""

ALGORITHMS: Final[Mapping[str, str]] = {
    "MD5": "md5",
    "SHA": "sha1",
    "SHA-1": "sha1",
    "SHA-224": "sha224",
    "SHA-256": "sha256",
    "SHA-384": "sha384",
    "SHA-512": "sha512",
    "SHA3-224": "sha3_224",
    "SHA3-256": "sha3_256",
    "SHA3-384": "sha3_384",
    "SHA3-512": "sha3_512",
}
"""Java's names of algorithms, and Python's."""

_STREAM: Final = b"\xac\xed\x00\x05"
"""What Java's ObjectOutputStream begins with."""


def hmac_digest(key: bytes) -> Digest:
    """HMAC-SHA-256 in hexadecimal."""
    return lambda text: hmac.digest(key, text, "sha256").hex().encode()


def hash_digest(algorithm: str, salt: str, version: int, length: int | None) -> Digest:
    """Debezium's `MaskStrings`: a hash in hexadecimal of salt and text.

    Args:
        algorithm: one of `ALGORITHMS`.
        version: 2 hashes the text itself, 1 the text as Java serialises it.
        length: of the column, which the hash is cut to; None: it is not.
    """
    salted = hashlib.new(ALGORITHMS[algorithm.upper()], salt.encode(), usedforsecurity=False)

    def digest(text: bytes) -> bytes:
        hashed = salted.copy()
        hashed.update(_serialised(text) if version == 1 else text)
        return hashed.hexdigest()[:length].encode()

    return digest


def _serialised(text: bytes) -> bytes:
    """A String in Java's object stream: its length and its modified UTF-8, where a surrogate is a character."""
    units = text.decode().encode("utf-16-be")
    told = b"".join(_modified(units[at] << 8 | units[at + 1]) for at in range(0, len(units), 2))
    if len(told) < 1 << 16:
        return _STREAM + b"t" + len(told).to_bytes(2, "big") + told
    return _STREAM + b"|" + len(told).to_bytes(8, "big") + told


def _modified(unit: int) -> bytes:
    return b"\xc0\x80" if unit == 0 else chr(unit).encode("utf-8", "surrogatepass")
