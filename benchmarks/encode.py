"""How fast one process makes events from row messages and COPY lines, compiled and interpreted. No servers.

    python -m benchmarks.encode [ROWS]

The row is the ten-column order that the other benchmarks stream; CPU time, best of five.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable

from cdc.compiled import summary
from cdc.event import Record
from cdc.formats.contract import Writer
from cdc.formats.handling import Handling, Style
from cdc.formats.postgres.encode_cy import RowEncoder, Transaction
from cdc.formats.postgres.plan import Facts, SourceInfo, plan_table
from cdc.formats.postgres.relation import Relation, RelationColumn
from cdc.formats.postgres.types import TypeInfo
from connectors.postgres_wal.options import TableOptions
from connectors.postgres_wal.pgoutput import INSERT, PAYLOAD_OFFSET

COLUMNS = [
    ("id", 20, "int8", "8123456"),
    ("customer_id", 20, "int8", "98765"),
    ("status", 25, "text", "shipped"),
    ("amount", 1700, "numeric", "12345.67"),
    ("currency", 25, "text", "EUR"),
    ("note", 25, "text", "a note of middling length about this order"),
    ("paid", 16, "bool", "t"),
    ("created_at", 1184, "timestamptz", "2026-11-22 17:55:41.039123+00"),
    ("updated_at", 1184, "timestamptz", "2026-11-22 17:55:41.5+00"),
    ("attrs", 3802, "jsonb", '{"sku": "A-123", "tags": ["x", "y"], "weight": 1.25}'),
]
BATCH = 1000
PLAIN = Style()


def order_encoder(style: Style = PLAIN, form: Writer | None = None) -> RowEncoder:
    relation = Relation(
        16_400,
        "public",
        "orders",
        "d",
        tuple(RelationColumn(name, oid, -1, name == "id") for name, oid, _, _ in COLUMNS),
    )
    plan = plan_table(
        relation,
        {oid: TypeInfo(oid, type_name, "pg_catalog", "b") for _, oid, type_name, _ in COLUMNS},
        options=TableOptions(),
        key_columns=["id"],
        topic="shop.public.orders",
        source=SourceInfo("shop", "warehouse", "0"),
        handling=Handling(),
        mask_key=None,
        style=style,
        facts=Facts(not_null={"id"}),
    )
    encoder = RowEncoder(plan, form)
    now = time.time_ns()
    encoder.begin(Transaction(0x16_B374D848, now // 1000, 771, 24_023_128, "false", now, now // 1_000_000))
    return encoder


def microseconds(encode: Callable[[list[Record]], int], rows: int) -> tuple[float, int]:
    """CPU µs a row, best of five, and bytes a row."""
    best = float("inf")
    size = 0
    for _ in range(5):
        began = time.process_time()
        for _ in range(rows // BATCH):
            records: list[Record] = []
            for _ in range(BATCH):
                size = encode(records)
        best = min(best, time.process_time() - began)
    return best / (rows // BATCH * BATCH) * 1e6, size


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    texts = [text.encode() for *_, text in COLUMNS]
    message = bytes(PAYLOAD_OFFSET) + struct.pack("!BIcH", INSERT, 16_400, b"N", len(texts))
    message += b"".join(b"t" + struct.pack("!I", len(text)) + text for text in texts)
    line = b"\t".join(texts) + b"\n"
    encoder = order_encoder()
    print(summary(), flush=True)
    for name, encode in (
        ("row message", lambda records: encoder.encode(message, PAYLOAD_OFFSET, 24_023_128, 1, records)),
        ("COPY line", lambda records: encoder.encode_copy(line, records)),
    ):
        took, size = microseconds(encode, rows)
        print(f"  {name:12} {took:8.2f} µs/row {1e6 / took:12,.0f} rows/s   {size} bytes of key and value", flush=True)
    if os.environ.get("CDC_INTERPRETED") != "1":
        environment = {**os.environ, "CDC_INTERPRETED": "1"}
        subprocess.run([sys.executable, "-m", "benchmarks.encode", str(rows // 50)], env=environment, check=True)


if __name__ == "__main__":
    main()
