"""The transforms of one table, one after the other. Pure, but for the Python functions that it is given."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeAlias

from cdc.errors import ConfigError, Problem, TransformFailed
from cdc.event import Record
from cdc.schemas import TableSchema

from .event import Event, parse, record
from .outbox import MissingColumn, Outbox, UnexpectedUpdate
from .rows import rows
from .settings import OutboxSettings, Step
from .steps import Cast, ExtendKey, Filter, Leave, Put, PutHeaders, Rename, Route, StepFunction

Function: TypeAlias = Callable[[Event], Event | Iterable[Event] | None]


@dataclass(frozen=True, slots=True)
class Python:
    """A function of the user's.

    Args:
        name: `package.module:function`.
        function: what that is.
    """

    name: str
    function: Function


class Chain:
    """What happens to the events of one entry under `tables:`.

    Args:
        steps: in order.
        outbox: instead of steps, for an outbox table.
        schemas: whether keys and values have Kafka Connect's schemas.
    """

    def __init__(self, steps: Sequence[StepFunction | Python], outbox: OutboxSettings | None, schemas: bool) -> None:
        self._steps = steps
        self._outbox = outbox
        self._schemas = schemas
        self._units: dict[str, dict[str, int]] = {}

    @property
    def outbox(self) -> bool:
        """Whether events are messages, and no rows of the table."""
        return self._outbox is not None

    @property
    def leaves(self) -> bool:
        """Whether no event keeps the table's own topic."""
        return self._outbox is not None or any(isinstance(step, Route) for step in self._steps)

    @property
    def route_fields(self) -> tuple[str, ...]:
        """Columns, by their names in events, that decide about topics."""
        return tuple(step.settings.field for step in self._steps if isinstance(step, Route))

    def describe(self, schema: TableSchema) -> TableSchema:
        """The table as its events show it behind the declared steps. Raises: ConfigError."""
        for step in self._steps:
            if not isinstance(step, Python):
                schema = step.describe(schema)
        return schema

    def learn(self, schema: TableSchema) -> None:
        """Take in how a table's columns are written."""
        self._units[schema.table] = {c.name: _UNITS[c.semantic] for c in schema.columns if c.semantic in _UNITS}

    def records(self, of: Sequence[Record], table: str) -> list[Record]:
        """The records that some records of the table become.

        A tombstone follows whatever its delete became, as long as that is a delete.

        Args:
            table: to be told in errors.
        Raises: TransformFailed.
        """
        out: list[Record] = []
        ended: list[Event] = []
        for one in of:
            if one[2] is None:
                out += [_tombstone(event) for event in ended]
                ended = []
                continue
            event = parse(one, self._schemas)
            table, position = event.table or table, event.position
            results = self._apply(event, table)
            ended = [result for result in results if result.op == "d"]
            for result in results:
                try:
                    out.append(record(result))
                except TypeError as error:
                    raise _failed(table, position, "an event has no form in JSON", error) from None
        return out

    def gone(self, delete: Record, table: str) -> Record:
        """The delete of a row by the key that readers have, which is one that the transforms made.

        A step that leaves it out or sends it elsewhere is not asked: the row is gone.
        Raises: TransformFailed.
        """
        event = parse(delete, self._schemas)
        key, topic = event.key, event.topic
        made = [one for one in self._apply(event, table) if one.topic == topic and one.op == "d"]
        if not made:
            return delete
        for row in rows(made[0]):
            row.update({name: value for name, value in key.items() if name in row})
        return (topic, delete[1], *record(made[0])[2:])

    def _apply(self, event: Event, table: str) -> list[Event]:
        position = event.position
        if self._outbox is not None:
            try:
                message = Outbox(self._outbox, self._units.get(table, {})).apply(event)
            except UnexpectedUpdate:
                raise _failed(table, position, "a row of the outbox was updated") from None
            except MissingColumn as error:
                raise _failed(table, position, f"as an outbox table: {error}") from None
            except Exception as error:
                raise _failed(table, position, "as an outbox table", error) from None
            return [] if message is None else [message]
        events = [event]
        for number, step in enumerate(self._steps):
            if isinstance(step, Python):
                events = [result for one in events for result in _called(step, one, table, position)]
                if len(events) > 1 and number + 1 < len(self._steps):
                    events = deepcopy(events)  # they may share members, which later steps change
            else:
                try:
                    events = [result for one in events if (result := step.apply(one)) is not None]
                except Exception as error:
                    name = type(step).__name__.lower()
                    raise _failed(table, position, f"step {number + 1} ({name})", error) from None
        return events


_UNITS = {
    "io.debezium.time.Timestamp": 1,
    "io.debezium.time.MicroTimestamp": 1_000,
    "io.debezium.time.NanoTimestamp": 1_000_000,
    "org.apache.kafka.connect.data.Timestamp": 1,
}


def made(steps: Sequence[Step], outbox: OutboxSettings | None, schemas: bool) -> Chain:
    """The chain that settings ask for. Raises: ConfigError: a Python function that is not there."""
    return Chain([_step(step) for step in steps], outbox, schemas)


def _step(step: Step) -> StepFunction | Python:
    kind, given = step.kind
    match kind:
        case "rename":
            return Rename(given)
        case "drop" | "keep":
            return Leave(frozenset(given), kind == "keep")
        case "set":
            return Put(given)
        case "cast":
            return Cast(given)
        case "headers":
            return PutHeaders(given)
        case "key":
            return ExtendKey(given)
        case "filter":
            return Filter(given)
        case "route":
            return Route(given)
    return Python(given, _loaded(given))


def _loaded(name: str) -> Function:
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:
        what = "is not there" if isinstance(error, (ImportError, AttributeError)) else "cannot be imported"
        raise ConfigError(
            [Problem(f"the Python function {name} {what}: {type(error).__name__} {_place(error) or ''}".rstrip())],
            hint="it is imported as Python imports modules: install its package, or set PYTHONPATH to its folder",
        ) from error
    if not callable(found):
        raise ConfigError([Problem(f"{name} is not a function")])
    checked: Function = found
    return checked


def _called(step: Python, event: Event, table: str, position: str) -> list[Event]:
    try:
        result: Any = step.function(event)
        results = [] if result is None else [result] if isinstance(result, Event) else list(result)
    except Exception as error:
        raise _failed(table, position, step.name, error) from None
    for one in results:
        if not isinstance(one, Event):
            raise _failed(table, position, f"{step.name} gave back {type(one).__name__} and no Event")
    return results


def _failed(table: str, position: str, what: str, error: Exception | None = None) -> TransformFailed:
    """Without the exception's own text, which may hold values."""
    place = ""
    if error is not None:
        where = _place(error)
        place = f": {type(error).__name__}" + (f" at {where}" if where else "")
    return TransformFailed(
        f"table {table}: transform failed at position {position}: {what}{place}",
        hint="nothing of the batch is published; mend the transform or the row, and start the connector again",
    )


def _place(error: BaseException) -> str | None:
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith(("<", __file__))]
    return f"{theirs[-1].filename.rpartition('/')[2]}:{theirs[-1].lineno}" if theirs else None


def _tombstone(event: Event) -> Record:
    key = record(event)[1]
    return (event.topic, key, None, event.partition, event.timestamp_ms, event.headers or None)
