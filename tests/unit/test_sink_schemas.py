"""Versions of a table's description, as the schemas topic gives them, whatever their keys are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from cdc.schema_reader import SchemaReader
from cdc.schemas import TableSchema
from cdc.settings import KafkaSettings, Settings
from tests.sink_events import column, described, position

ORDERS = "shop.public.orders"
MILLIS = [column("id", "bigint"), column("at", "timestamp(3)")]
MICROS = [column("id", "bigint"), column("at", "timestamp")]


@pytest.fixture
def reader() -> Iterator[SchemaReader]:
    """One that is told what it read."""
    with closing(SchemaReader(Settings(name="shop", kafka=KafkaSettings(bootstrap_servers="127.0.0.1:9")))) as made:
        yield made


def _positions(reader: SchemaReader, *added: TableSchema) -> list[str]:
    for each in added:
        reader._add(each)
    return [version.position for version in reader.versions(ORDERS)]


def test_each_version_is_kept_with_its_first_position(reader: SchemaReader) -> None:
    """Published by table and position when it changed, and by table alone at each start of the connector."""
    history = [(MILLIS, 5), (MILLIS, 5), (MILLIS, 20), (MICROS, 30), (MICROS, 30), (MICROS, 40), (MILLIS, 50)]
    found = _positions(reader, *(described(ORDERS, columns, pos=position(lsn)) for columns, lsn in history))
    assert found == [position(5), position(30), position(50)]


def test_what_compaction_leaves_tells_the_same(reader: SchemaReader) -> None:
    history = [(MILLIS, 5), (MICROS, 30), (MICROS, 40)]
    found = _positions(reader, *(described(ORDERS, columns, pos=position(lsn)) for columns, lsn in history))
    assert found == [position(5), position(30)]


def test_a_healed_connectors_positions_follow_all_others(reader: SchemaReader) -> None:
    later = f"g01.{position(1)}"
    assert _positions(reader, described(ORDERS, MILLIS, pos=position(9**9)), described(ORDERS, MICROS, pos=later)) == [
        position(9**9),
        later,
    ]
