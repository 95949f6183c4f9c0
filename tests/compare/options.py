"""Random settings of a Debezium connector in its words; ours are what `cdc import-debezium` makes of them. Pure."""

from __future__ import annotations

from random import Random
from typing import Final

_CHOICES: Final = {
    "decimal.handling.mode": ("precise", "double", "string"),
    "time.precision.mode": (
        "adaptive",
        "adaptive_time_microseconds",
        "connect",
        "isostring",
        "microseconds",
    ),
    "binary.handling.mode": ("bytes", "base64", "base64-url-safe", "hex"),
    "interval.handling.mode": ("numeric", "string"),
    "hstore.handling.mode": ("json", "map"),
    "money.fraction.digits": ("2", "0", "4"),
    "include.unknown.datatypes": ("false", "true"),
    "tombstones.on.delete": ("true", "false"),
    "skipped.operations": ("t", "none", "u,d"),
    "schema.name.adjustment.mode": ("none", "avro", "avro_unicode"),
    "field.name.adjustment.mode": ("none", "avro", "avro_unicode"),
    "provide.transaction.metadata": ("false", "true"),
    "extended.headers.enabled": ("true", "false"),
    "include.schema.comments": ("false", "true"),
    "column.propagate.source.type": ("", ".*"),
    "column.mask.with.12.chars": ("", r"public\.t.*\.c0"),
    "column.truncate.to.3.chars": ("", r"public\.t.*\.c1"),
    "column.exclude.list": ("", r"public\.t.*\.c2"),
    "unavailable.value.placeholder": ("__debezium_unavailable_value", "hex:6e6f6e65"),
}
"""The first of each is the default. `nanoseconds` is left out: Debezium stops at times before 1677 then."""


def random_options(random: Random) -> dict[str, str]:
    """What is not the default."""
    return {
        name: random.choice(others)
        for name, (_, *others) in _CHOICES.items()
        if random.random() < (0.5 if name.endswith(".mode") and "adjustment" not in name else 0.2)
    }
