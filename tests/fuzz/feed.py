"""Damaged bytes into the parsers and encoders: each may refuse with its one error type, and do nothing worse. Pure.

What they make of bytes that they take is looked at too: it is JSON, and it is the same compiled and interpreted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from types import ModuleType
from typing import Any, Final

import orjson

from cdc.errors import ProtocolError, RowRefused
from cdc.event import Record
from cdc.formats.postgres import encode_cy
from cdc.formats.postgres.encode_cy import Transaction
from cdc.schemas import read
from cdc.sink import Event
from connectors.postgres_wal.ddl import statements
from connectors.postgres_wal.pgoutput import PAYLOAD_OFFSET, parse, parse_header
from sinks.postgres.decode import Decoder
from tests.fuzz.mutate import mutated
from tests.fuzz.tables import Message, Table, random_table
from tests.interpreted import ENCODER, interpreted
from tests.unit.test_pgoutput import MESSAGES

POSITION: Final = "00000000/00000001/0000000000"

INPUTS: Final = 200
"""Inputs of one round: one table, its messages, and what damage makes of them."""

BESIDE: Final = 0.05
"""Of the inputs of an encoder, how many are given to its source as well, which is slow."""

DDL: Final = [
    b'{"command": "ALTER TABLE", "tables": [{"now": ["public", "t"], "oid": 1, "before": null, "partition": null}],'
    b' "cut": false, "text": "ALTER TABLE t ADD \xc3\xa9 int"}'
]

HEADERS: Final = [b"w" + bytes(24), b"k" + bytes(17)]

Answer = tuple[list[Record], int] | str


class Wrong(AssertionError):
    """A parser or encoder took something that it should not have, or the two ways of running differ."""


class Fuzz:
    """Feeds rounds of inputs.

    Args:
        seed: of everything; round 7 of one seed is the same whoever runs it, and whenever.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._plain: ModuleType | None = None if encode_cy.__file__.endswith(".py") else interpreted(ENCODER)
        self.taken = 0
        """Inputs that were damaged and taken all the same."""
        self.transcoders: set[int] = set()
        """Those that tables so far had."""

    def round(self, number: int) -> Iterator[bytes]:
        """Feed one round; yields each input just before it is fed."""
        random = Random(f"{self._seed}/{number}")
        table = random_table(random)
        self.transcoders |= table.transcoders
        target = _Target(table, self._plain)
        messages = [*table.messages, *(Message("parse", data) for data, _ in MESSAGES), Message("header", HEADERS[0])]
        for message in table.messages:
            target.feed(random, message)
        messages += [Message("ddl", data) for data in DDL]
        messages += [Message("event", value) for value in target.values]
        messages += [Message("key", key) for key in target.keys]
        others = [message.data for message in messages]
        kinds = [messages.index(message) for message in messages]
        for _ in range(INPUTS):
            chosen = messages[random.choice(kinds)]
            damaged = Message(chosen.kind, mutated(random, chosen.data, others))
            yield damaged.data
            self.taken += target.feed(random, damaged)


class _Target:
    """The encoders and the decoder of one table."""

    def __init__(self, table: Table, plain: ModuleType | None) -> None:
        self._encoders: list[Any] = [module.RowEncoder(table.plan) for module in (encode_cy, plain) if module]
        for encoder in self._encoders:
            encoder.begin(Transaction(1, 2, 3, None, "false", 4, 5))
        self._decoder = Decoder([table.plan.schema(POSITION)])
        self.values: list[bytes] = []
        self.keys: list[bytes] = []
        """What the encoder made of valid messages."""

    def feed(self, random: Random, message: Message) -> bool:
        """Feed one input; returns whether it was taken.

        Raises:
            Wrong: it should not have been.
            Exception: anything but the one error type; a crash.
        """
        try:
            match message.kind:
                case "row" | "copy":
                    return self._encode(random, message)
                case "event" | "key":
                    self._decode(message)
                case "parse":
                    head = random.choice((b"", bytes(PAYLOAD_OFFSET)))
                    parse(head + message.data, len(head))
                case "header":
                    parse_header(message.data)
                case "ddl":
                    _tell(message.data)
        except (ProtocolError, RowRefused):
            return False
        return True

    def _encode(self, random: Random, message: Message) -> bool:
        fill: dict[int, bytes | None] | None = random.choice((None, None, {}, {0: None, 1: b"1", 2: message.data[:9]}))
        head = random.choice((b"", b"", bytes(PAYLOAD_OFFSET)))
        answer = _answer(self._encoders[0], message, head, fill)
        for encoder in self._encoders[1:]:
            if random.random() < BESIDE and _answer(encoder, message, head, fill) != answer:
                raise Wrong("compiled and interpreted differ")
        if isinstance(answer, str):
            return False
        for _, key, value, *_ in answer[0]:
            for text, known in ((key, self.keys), (value, self.values)):
                if text is None:
                    continue
                if not _is_json(text):
                    raise Wrong("an event is not JSON")
                if len(known) < len(HEADERS) + 8:
                    known.append(text)
        return True

    def _decode(self, message: Message) -> None:
        key, value = (self.keys[0] if self.keys else None, message.data)
        if message.kind == "key":
            key, value = message.data, None
        row = self._decoder.row(Event("shop.public.t", 0, 1, key, value, 0))
        if row is not None and row.line and row.line.count(b"\t") != len(row.columns):
            raise Wrong("a row has not as many fields as columns")


def _tell(content: bytes) -> None:
    for one in statements(content, lambda table, partition: True, position=POSITION, number=1, lsn=1, ts_ms=1):
        if read(one.to_bytes()) != one:
            raise Wrong("a statement is read otherwise than it was written")


def _answer(encoder: Any, message: Message, head: bytes, fill: dict[int, bytes | None] | None) -> Answer:
    records: list[Record] = []
    try:
        if message.kind == "copy":
            size = encoder.encode_copy(message.data, records)
        else:
            data = head + message.data
            size = encoder.encode(data, len(head), 1, 2, records, fill)
            encoder.unchanged_columns(data, len(head))
            encoder.key_text(data, len(head))
    except ProtocolError as error:
        if records:
            raise Wrong("a message was refused and left records behind") from None
        return str(error)
    return records, size


def _is_json(text: bytes) -> bool:
    """Also of numbers and depths that orjson does not take."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            json.loads(text, parse_int=str, parse_float=str)
        except RecursionError:
            return True
        except ValueError:
            return False
    return True
