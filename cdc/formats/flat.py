"""The format `json`: a row's members, and behind them what happened, as Debezium's unwrap transform has it. Pure.

    {"id": 1, "name": "x", "__deleted": "false", "__op": "c", "__pos": "…"}

It is what `io.debezium.transforms.ExtractNewRecordState` makes of Debezium's events with
`delete.tombstone.handling.mode=rewrite-with-tombstone` and `add.fields=op` (`DefaultDeleteHandlingStrategy` adds
`__deleted`, then the transform the fields): a delete is the row before it, with "true", and then a tombstone; nothing
tells what an update changed. `__pos` is `cdc.pos`; where the envelope's `cdc` has more, that follows: `__unchanged`
and `__reselected`, which name columns, and `__gone`. The row encoder writes it (`Style.flat`).
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from cdc.formats.contract import Format, Reader
from cdc.settings import Settings

DELETED: Final = b'"__deleted":"'
"""What begins the members that are ours: no text inside of the row can hold its quotes."""

_TAIL: Final = b',"source":null,"transaction":null,"op":%b,"ts_ms":0,"ts_us":0,"ts_ns":0,"cdc":%b}'


def tail(op: str, position: str) -> bytes:
    """What follows a row in its own object, behind the members that it has, as the row encoder writes it.

    Args:
        op: c, u, d or r.
        position: `cdc.pos`.
    """
    deleted = b"true" if op == "d" else b"false"
    return b',"__deleted":"%b","__op":"%b","__pos":%b}' % (deleted, op.encode(), orjson.dumps(position))


class FlatReader:
    """Reads rows as Debezium's events, which have no source and no time then."""

    def key(self, data: bytes) -> bytes:
        if not data.startswith(b"{"):
            raise ValueError("not JSON")
        return data

    def value(self, data: bytes) -> bytes:
        start = data.rfind(DELETED)
        if start <= 0 or not data.startswith(b"{"):
            raise ValueError("no flattened row")
        ours = orjson.loads(b"{" + data[start:])
        op = ours.get("__op")
        tail = _TAIL % (orjson.dumps(op), orjson.dumps(_cdc(ours)))
        if op == "t":
            return b'{"before":null,"after":null' + tail
        row = data[:start].rstrip(b",") + b"}"
        if op == "d":
            return b'{"before":' + row + b',"after":null' + tail
        return b'{"before":null,"after":' + row + tail


def _cdc(ours: dict[str, Any]) -> dict[str, Any]:
    names = ("pos", "unchanged", "gone", "reselected")
    return {name: ours[f"__{name}"] for name in names if f"__{name}" in ours}


def _reader(settings: Settings) -> Reader:
    return FlatReader()


plugin = Format(style={"flat": True}, reader=_reader)
