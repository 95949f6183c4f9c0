"""Which partition a key belongs to, as Kafka's default partitioner has it (murmur2). Pure.

Source: org.apache.kafka.common.utils.Utils.murmur2 and librdkafka's `murmur2_random` agree on this.
"""

from __future__ import annotations

from struct import iter_unpack

_M = 0x5BD1E995
_WORD = 0xFFFFFFFF


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key on a topic with so many of them."""
    length = len(key)
    hashed = 0x9747B28C ^ length
    whole = length & ~3
    for (word,) in iter_unpack("<I", key[:whole]):
        mixed = word * _M & _WORD
        mixed = (mixed ^ mixed >> 24) * _M & _WORD
        hashed = hashed * _M & _WORD ^ mixed
    rest = key[whole:]
    if rest:
        hashed = (hashed ^ int.from_bytes(rest, "little")) * _M & _WORD
    hashed = (hashed ^ hashed >> 13) * _M & _WORD
    hashed ^= hashed >> 15
    return (hashed & 0x7FFFFFFF) % partitions
