"""`cdc tail`: prints a topic's events for a person. Touches Kafka's consumer interface and standard output.

The only command that shows row values: that is what it is for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Annotated, Any

import orjson
import typer
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from cdc import logs
from cdc.commands.options import Config, Json
from cdc.config import load
from cdc.errors import BrokerUnavailable, PublishError
from cdc.formats.contract import Reader, all_readers
from cdc.formats.documents import event_of, key_of, value_of
from cdc.formats.payload import payload_of
from cdc.kafka import kafka_config
from cdc.settings import Settings

TIMEOUT_SECONDS = 10.0
_POLL_SECONDS = 0.25
_AT_ONCE = 500

_OPERATIONS = {"c": "insert", "u": "update", "d": "delete", "r": "row", "t": "truncate", "m": "message"}
_COLOURS = {"insert": "green", "row": "green", "update": "yellow", "delete": "red", "tombstone": "red"}

Topic = Annotated[
    str, typer.Argument(metavar="TOPIC", help="A topic; `public.orders` is taken for `{name}.public.orders`.")
]
FromBeginning = Annotated[bool, typer.Option("--from-beginning", help="All that is there, then what comes.")]
UntilEnd = Annotated[bool, typer.Option("--until-end", help="All that is there, then stop.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Stop after so many.")]


@dataclass(frozen=True, slots=True)
class Shown:
    """One record as `cdc tail` shows it: `key` and `value` as JSON, where they are it or can be read as it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: Any
    value: Any
    headers: Mapping[str, str]


def tail(
    topic: Topic,
    config: Config = None,
    from_beginning: FromBeginning = False,
    until_end: UntilEnd = False,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Print a topic's events for a person.

    Committed ones only, one in a line: time, what happened, key, what changed, partition and
    offset. Prints what comes from now on, until Ctrl-C, if not told otherwise.
    """
    logs.configure()
    settings = load(config)
    readers = all_readers(settings)
    colour = False if "NO_COLOR" in os.environ else None  # None: on a terminal
    for count, shown in enumerate(_read(settings, readers, topic, from_beginning or until_end, until_end), start=1):
        typer.echo(orjson.dumps(shown).decode() if as_json else line(shown, readers), color=colour)
        if count == limit:
            break


def line(shown: Shown, readers: Sequence[Reader] = ()) -> str:
    """A record in one line, coloured as a terminal shows it.

    Args:
        readers: of formats whose values are JSON, but not Debezium's.
    """
    operation, what = _what(event_of(shown.value, readers))
    when = datetime.fromtimestamp(shown.timestamp / 1000).astimezone().strftime("%H:%M:%S.%f")[:-3]
    parts = (
        typer.style(when, dim=True),
        typer.style(f"{operation:9}", fg=_COLOURS.get(operation)),
        typer.style(_brief(payload_of(shown.key)), bold=True),
        what,
        typer.style(f"[{shown.partition}] {shown.offset}", dim=True),
    )
    return "  ".join(parts)


def _what(value: Any) -> tuple[str, str]:
    """What happened, and to which columns; a document that is no change as it is."""
    if value is None:
        return "tombstone", ""
    if not isinstance(value, dict) or "op" not in value:
        return "", _plain(value)
    before, after = value.get("before"), value.get("after")
    operation = _OPERATIONS.get(value["op"], str(value["op"]))
    if operation == "update" and isinstance(before, dict) and isinstance(after, dict):
        return operation, _columns(
            {name: (before.get(name), now) for name, now in after.items() if before.get(name) != now}
        )
    if operation == "delete" or not isinstance(after, dict):
        return operation, ""
    return operation, " ".join(f"{name}={_plain(column)}" for name, column in after.items())


def _columns(changed: Mapping[str, tuple[Any, Any]]) -> str:
    return " ".join(f"{name}: {_plain(old)} → {_plain(new)}" for name, (old, new) in changed.items())


def _brief(key: Any) -> str:
    """A key without its column's name where there is only one."""
    if isinstance(key, dict) and len(key) == 1:
        return _plain(next(iter(key.values())))
    if isinstance(key, dict):
        return " ".join(f"{name}={_plain(value)}" for name, value in key.items())
    return "(no key)" if key is None else _plain(key)


def _plain(value: Any) -> str:
    """JSON, without anything that a terminal would obey."""
    text = orjson.dumps(value).decode()
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in text)


def _read(
    settings: Settings, readers: Sequence[Reader], topic: str, from_beginning: bool, until_end: bool
) -> Iterator[Shown]:
    """Committed records, from all partitions as they come."""
    consumer = Consumer(
        kafka_config(
            settings.kafka,
            **{
                # A consumer must name a group; this one never joins it and stores nothing.
                "group.id": f"{settings.name}.cdc-tail",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            },
        )
    )
    try:
        found, partitions = _find(consumer, settings, topic)
        start = OFFSET_BEGINNING if from_beginning else OFFSET_END
        consumer.assign([TopicPartition(found, partition, start) for partition in partitions])
        unread = set(partitions)
        while unread or not until_end:
            for message in consumer.consume(_AT_ONCE, _POLL_SECONDS):
                error = message.error()
                if error is None:
                    yield _shown(message, readers)
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition())
                elif not error.retriable():
                    raise PublishError(f"topic {found} cannot be read: {error.str()}")
    finally:
        consumer.close()


def _find(consumer: Consumer, settings: Settings, topic: str) -> tuple[str, list[int]]:
    """The topic that was meant, and its partitions."""
    try:
        existing = consumer.list_topics(timeout=TIMEOUT_SECONDS).topics
    except KafkaException as error:
        raise BrokerUnavailable(
            f"Kafka at {settings.kafka.bootstrap_servers} does not answer: {error.args[0].str()}",
            hint="is it running, and are `kafka.bootstrap_servers` and `kafka.properties` right?",
        ) from error
    for name in (topic, f"{settings.name}.{topic}"):
        if name in existing:
            return name, list(existing[name].partitions)
    ours = [name for name in existing if name.startswith(f"{settings.name}.")]
    close = get_close_matches(topic, ours, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"there is {', '.join(sorted(ours)[:10])}" if ours else None
    raise PublishError(f"there is no topic {topic}", hint=hint)


def _shown(message: Message, readers: Sequence[Reader]) -> Shown:
    return Shown(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
        key_of(_bytes(message.key()), readers),
        value_of(_bytes(message.value()), readers),
        {name: str(value_of(_bytes(value), ())) for name, value in dict(message.headers() or ()).items()},
    )


def _bytes(data: str | bytes | None) -> bytes | None:
    return data.encode() if isinstance(data, str) else data
