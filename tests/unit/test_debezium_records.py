"""Messages, transactions and heartbeats as Debezium 3.6.3 wrote them through Kafka Connect's JsonConverter."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from cdc.formats.debezium_json import Order, SourceInfo
from cdc.formats.debezium_records import MESSAGES, KeyValue, Place, RecordFormat
from cdc.formats.handling import Binaries

RECORDED = json.loads(Path(__file__).with_name("debezium_records.json").read_text(encoding="utf-8"))
"""Records of the conformance cases that `file` names, with their text as it was on the wire."""

SOURCE = SourceInfo("conf", "conformance", "3.6.3.Final")


@pytest.mark.parametrize("recorded", RECORDED, ids=[f"{number}-{one['file']}" for number, one in enumerate(RECORDED)])
def test_records_are_byte_for_byte_those_of_debezium(recorded: dict[str, str]) -> None:
    schemas = "schemas" in recorded["file"]
    value = json.loads(recorded["value"])
    binary: Binaries = "hex" if "hex" in recorded["file"] else "bytes"
    made = rewritten(RecordFormat(SOURCE, binary, schemas), value["payload"] if schemas else value)
    assert (made.key.decode(), made.value.decode()) == (recorded["key"], recorded["value"])


def rewritten(form: RecordFormat, value: dict[str, Any]) -> KeyValue:
    """The record that has this payload."""
    if "message" in value:
        source, content = value["source"], value["message"]["content"]
        decoded = bytes.fromhex(content) if form.binary == "hex" else base64.b64decode(content)
        last, lsn = json.loads(source["sequence"])
        place = Place(int(lsn), source["ts_us"], int(last) if last else None, source["txId"])
        return form.message(value["message"]["prefix"], decoded, place, value["ts_ms"], None)
    if "status" not in value:
        return form.heartbeat(value["ts_ms"])
    xid, lsn = map(int, value["id"].split(":"))
    if value["status"] == "BEGIN":
        return form.begin(xid, lsn, value["ts_ms"] * 1000)
    order = Order()
    for one in value["data_collections"]:
        for _ in range(one["event_count"]):
            order.count(one["data_collection"])
    return form.end(xid, lsn, value["ts_ms"] * 1000, order)


@pytest.mark.parametrize(("quirks", "within"), [(False, 2), (True, 1)])
def test_messages_are_counted_among_the_events_of_their_transaction(quirks: bool, within: int) -> None:
    """Debezium makes an id without `toString` for each message, and so each is the first of its own."""
    form, order = RecordFormat(SOURCE, quirks=quirks), Order()
    for _ in range(2):
        _, value = form.message("p", b"", Place(300, 0, 100, xid=7), 0, order)
    block = {"id": "7:300", "total_order": 2, "data_collection_order": within}
    assert json.loads(value)["transaction"] == block
    _, end = form.end(7, 400, 0, order)
    name = "io.debezium.connector.postgresql.LogicalDecodingMessageMonitor$LogicalDecodingMessageId@"
    told = [(one["data_collection"], one["event_count"]) for one in json.loads(end)["data_collections"]]
    assert told == ([(name + "1", 1), (name + "2", 1)] if quirks else [(MESSAGES, 2)])


def test_messages_outside_of_transactions_are_not_counted() -> None:
    order = Order()
    _, value = RecordFormat(SOURCE).message("p", b"", Place(300, 0, 300), 0, order)
    assert (json.loads(value)["transaction"], order.total) == (None, 0)


@pytest.mark.parametrize(
    ("binary", "content"), [("bytes", "+/8="), ("base64", "+/8="), ("base64-url-safe", "-_8="), ("hex", "fbff")]
)
def test_contents_are_as_binary_says(binary: Binaries, content: str) -> None:
    _, value = RecordFormat(SOURCE, binary).message("p", b"\xfb\xff", Place(300, 0, None), 0, None)
    assert json.loads(value)["message"]["content"] == content
