"""How fast one process makes records in each format, beside Debezium's JSON. No servers; the registry gives one id.

    python -m benchmarks.formats [ROWS]

The row is the ten-column order that the other benchmarks stream; CPU time, best of five.
"""

from __future__ import annotations

import sys

from benchmarks.encode import COLUMNS, microseconds, order_encoder
from cdc.event import Record
from cdc.formats.avro.codec import AvroWriter
from cdc.formats.avro.schema import Avro
from cdc.formats.contract import formats
from cdc.formats.handling import Style
from cdc.formats.postgres.described import described
from cdc.formats.postgres.encode_cy import RowEncoder


class _Registry:
    """Stands for a registry that has every schema."""

    def register(self, subject: str, schema: Avro) -> int:
        return 1


def _encoder(name: str) -> RowEncoder:
    style = Style(format=name, **formats()[name].style)
    plain = order_encoder(style)
    if formats()[name].writer is None:
        return plain
    return order_encoder(style, AvroWriter(_Registry(), described(plain.plan)))  # type: ignore[arg-type]


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    line = b"\t".join(text.encode() for *_, text in COLUMNS) + b"\n"
    base = 0.0
    for name in ("debezium-json", "debezium-json-schemas", "json", "avro"):
        encoder = _encoder(name)

        def encode(records: list[Record], encoder: RowEncoder = encoder) -> int:
            return encoder.encode_copy(line, records)

        took, size = microseconds(encode, rows)
        base = base or took
        print(
            f"  {name:22} {took:6.2f} µs/row {1e6 / took:12,.0f} rows/s  x {base / took:.2f}   {size} bytes", flush=True
        )


if __name__ == "__main__":
    main()
