"""What a format of keys and values offers, and how the core finds it: by entry point `cdc.formats`.

Inside of the bridge events are Debezium's JSON. A format makes what stands on a topic of it, and the other way round:

    [project.entry-points."cdc.formats"]
    avro = "cdc.formats.avro:plugin"
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from cdc.plugins import Finding, Plugins
from cdc.settings import Path, Wrong

if TYPE_CHECKING:
    from cdc.settings import Settings


class Writer(Protocol):
    """Makes the records of one table. For one thread at a time.

    The first call may ask a server, so each may raise what that one has to say: a retriable error while it is away.
    """

    def key(self, json: bytes, /) -> bytes:
        """What stands on the topic for a key of a row encoder."""
        ...

    def value(self, json: bytes, /) -> bytes:
        """What stands on the topic for a value of a row encoder."""
        ...


class Reader(Protocol):
    """Makes Debezium's JSON of the records of one topic: `{"before": …, "after": …, …, "op": …, "cdc": {"pos": …}}`."""

    def key(self, data: bytes) -> bytes:
        """Raises: ValueError, without values: it is not of this format."""
        ...

    def value(self, data: bytes) -> bytes:
        """Raises: ValueError, without values: it is not of this format."""
        ...


@dataclass(frozen=True, slots=True)
class Described:
    """A table as its writer needs it.

    Args:
        topic: of its events.
        key, value: Connect's schemas, as JsonConverter writes them; no key's for a table without.
    """

    topic: str
    key: Mapping[str, Any] | None
    value: Mapping[str, Any]


def _nothing(settings: Settings) -> Iterable[Any]:
    return ()


@dataclass(frozen=True, slots=True)
class Format:
    """A format of keys and values.

    Args:
        style: what the row encoder itself does for it: fields of `cdc.formats.handling.Style`.
        writer: settings and a table → what makes its records of the row encoder's. None: they are what it writes.
        reader: settings → what reads a topic's records. None: they are Debezium's JSON.
        wrongs: what the settings lack for it, judged without I/O.
        check: findings of `cdc check`; connects, changes nothing.
    """

    style: Mapping[str, Any] = field(default_factory=dict)
    writer: Callable[[Settings, Described], Writer] | None = None
    reader: Callable[[Settings], Reader] | None = None
    wrongs: Callable[[Settings], Iterable[Wrong]] = _nothing
    check: Callable[[Settings], Iterable[Finding]] = _nothing

    @property
    def takes_transforms(self) -> bool:
        """Whether what a row encoder writes for it is an envelope in JSON, as transforms need it."""
        return self.writer is None and not self.style.get("flat", False)


DEBEZIUM_JSON = Format()
"""What row encoders write by themselves."""


DEBEZIUM_JSON_SCHEMAS = Format(style={"with_schemas": True})
"""The same with Kafka Connect's schemas in every record; whatever reads Debezium's JSON leaves them out."""


@cache
def formats() -> Plugins[Format]:
    """All installed formats."""
    return Plugins("cdc.formats")


def reader_of(settings: Settings, names: Sequence[str]) -> Reader | None:
    """What reads a topic whose events were written in these formats, the newest last; None: all is Debezium's JSON.

    Raises:
        KeyError: a format that is not installed.
        ValueError: what it needs is not in the settings.
    """
    found = [formats()[name].reader for name in dict.fromkeys(reversed(names))]
    readers = [None if make is None else make(settings) for make in found]
    return None if set(readers) <= {None} else _Any(readers)


def wrongs_of(settings: Settings, name: str, path: Path) -> Iterable[Wrong]:
    """What is wrong with a format that the settings name at `path`, judged without I/O."""
    found = formats().get(name)
    if found is None:
        close = get_close_matches(name, formats(), n=1)
        hint = f"did you mean {close[0]}?" if close else f"installed are {', '.join(sorted(formats()))}"
        yield Wrong(path, f"there is no format {name}", hint)
        return
    for wrong in found.wrongs(settings):
        yield wrong._replace(path=path)


def all_readers(settings: Settings) -> list[Reader]:
    """Those of all installed formats for which the settings have what they need."""
    return [
        made.reader(settings) for made in formats().values() if made.reader is not None and not [*made.wrongs(settings)]
    ]


class _Any:
    """Tries the readers in turn: a topic keeps what was written before its format changed."""

    def __init__(self, readers: Sequence[Reader | None]) -> None:
        self._readers = readers

    def key(self, data: bytes) -> bytes:
        return self._first(data, [None if reader is None else reader.key for reader in self._readers])

    def value(self, data: bytes) -> bytes:
        return self._first(data, [None if reader is None else reader.value for reader in self._readers])

    @staticmethod
    def _first(data: bytes, attempts: Sequence[Callable[[bytes], bytes] | None]) -> bytes:
        # Debezium's JSON last, whatever the order: nothing in it says that it is not another JSON.
        for attempt in filter(None, attempts):
            try:
                return attempt(data)
            except ValueError:
                continue
        if None in attempts and data.startswith(b"{"):
            return data
        raise ValueError("of none of the formats of its topic")
