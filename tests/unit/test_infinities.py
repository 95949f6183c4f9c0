"""Infinite dates and times as Debezium writes them are read back as such."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from cdc.event import Record
from cdc.formats.handling import Handling, TimePrecision
from cdc.formats.postgres.encode_cy import RowEncoder, Transaction
from cdc.formats.postgres.plan import SourceInfo, plan_table
from connectors.postgres_wal.options import TableOptions
from sinks.postgres.forms import converter
from tests.unit.row_messages import TYPES, column, insert, relation


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("infinity", ["infinity", "-infinity"])
@pytest.mark.parametrize("quirks", [True, False])
@pytest.mark.parametrize("precision", get_args(TimePrecision))
@pytest.mark.parametrize(("type_name", "modifier"), [("date", -1), ("timestamp", 3), ("timestamp", -1)])
def test_an_infinity_is_read_back(
    type_name: str, modifier: int, precision: TimePrecision, quirks: bool, infinity: str, streamed: bool
) -> None:
    plan = plan_table(
        relation(column("v", type_name, modifier=modifier)),
        TYPES,
        options=TableOptions(),
        key_columns=(),
        topic="shop.public.t",
        source=SourceInfo("shop", "warehouse", "0"),
        handling=Handling(time_precision=precision, quirks=quirks),
        mask_key=None,
    )
    encoder = RowEncoder(plan)
    encoder.begin(Transaction(1, 2, 3, None, "false" if streamed else "true", 4, 5))
    records: list[Record] = []
    if streamed:
        encoder.encode(insert([infinity]), 0, 6, 7, records)
    else:
        encoder.encode_copy(infinity.encode() + b"\n", records)
    assert records[0][2] is not None
    value: Any = json.loads(records[0][2])["after"]["v"]
    assert converter(plan.columns[0].description)(value) == infinity
