"""One pass over one table: pages, what changed in them, what is gone; and how far that is stored. Reads the source.

A pass that was cut short goes on behind its last page that was published. Its watermark is from when it began: what
changed since on pages that were read before is behind that, and comes with the next pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import sqlalchemy as sa

from cdc import names
from cdc.errors import CdcError
from cdc.event import BY_KEY, Batch, EventTopic, Record
from cdc.settings import Settings

from .events import Events
from .known import Known
from .marks import Mark, Marks
from .modes import Pass
from .pages import Pages
from .rows import Rows
from .settings import SqlPollSettings
from .source import Found, Source

ROWS_AT_ONCE = 1_000
"""Looked up together; what is read of the source in between is buffered by it."""

GONE_AT_ONCE = 5_000


@dataclass(slots=True)
class Told:
    """What `cdc status` says of a table.

    Args:
        read, published: rows in the last pass that ended.
        seconds: that it took.
        ended: when, seconds since the Unix epoch; None: no pass has ended.
        error: why it is not polled.
    """

    read: int = 0
    published: int = 0
    seconds: float = 0.0
    ended: float | None = None
    error: str | None = None


@dataclass(slots=True)
class TablePoll:
    """Polls one table, pass by pass. For one thread.

    Args:
        found: the table as it is.
        source: where it is.
        settings, section: the bridge's and the connector's.
        known: what readers have of it.
        marks: how far all tables are.
        rest: called between pages with the rows just read and the seconds that it took; raises when it is time to
            stop, and says whether the pass may go on now.
    """

    found: Found
    source: Source
    settings: Settings
    section: SqlPollSettings
    known: Known
    marks: Marks
    rest: Callable[[int, float], bool]
    told: Told = field(default_factory=Told)
    _announced: bool = False
    _stored_at: float = 0.0

    @property
    def name(self) -> str:
        return self.found.polled.name

    @property
    def event_topic(self) -> EventTopic:
        polled = self.found.polled
        return EventTopic(polled.topic, polled.name, polled.key)

    def run(self, connection: sa.Connection) -> Iterator[Batch]:
        """One pass, and what was deleted.

        Raises: CdcError: what was read before that is in the batches; the next pass goes on from there.
        """
        yield from self._rows(connection)
        log = self.found.log
        if log is not None:
            yield from self._deletes(connection)

    def _rows(self, connection: sa.Connection) -> Iterator[Batch]:
        mark, began = self.marks.of(self.name), time.monotonic()
        opened = self._open(connection, mark)
        if opened is None:
            self._ended(0, 0, began)
            yield from self._idle(mark)
            return
        resumed, met = mark.place is not None, self.marks.polls
        events = self._events(connection, mark)
        read = published = 0
        while True:
            page = _Page(self.known, met, events, self.section.page.bytes)
            started = time.monotonic()
            try:
                for records in page.records(connection, self.found.rows, opened.pages, self.found.polled.source, mark):
                    published += len(records)
                    yield self._batch(records)
            finally:
                read += page.count
            mark.place = opened.pages.end(mark.place, page.count, page.last)
            published += len(page.left)
            if mark.place is None:
                break
            yield self._batch(page.left, changed=True)
            if not self.rest(page.count, time.monotonic() - started):
                return
        left = page.left
        if mark.whole and not resumed:
            for records in self._unmet(events, met):
                published += len(records)
                left += records
                if len(left) >= GONE_AT_ONCE:
                    yield self._batch(left)
                    left = []
        complete = self._end(mark, resumed=resumed)
        self._ended(read, published, began)
        yield self._batch(left, changed=True, complete=complete)

    def _open(self, connection: sa.Connection, mark: Mark) -> Pass | None:
        """Begin a pass, or go on with the one that was cut short."""
        resumes = mark.to_come is not None and mark.place is not None
        whole = mark.whole if resumes else self._compares(mark)
        opened = self.found.mode.open(connection, mark.watermark, whole=whole)
        if opened is None:
            mark.to_come = mark.place = None
            return None
        self.marks.polls += 1
        if not resumes:
            mark.to_come, mark.place, mark.whole = opened.watermark, None, opened.whole
        return opened

    def _compares(self, mark: Mark) -> bool:
        """Whether it is time to compare all rows."""
        if self.marks.heals(self.name):
            return True
        options = self.found.polled.options
        return options.deletes == "compare" and time.time() - mark.compared_at >= options.compare_every

    def _end(self, mark: Mark, *, resumed: bool) -> tuple[str, ...]:
        """The pass has ended; returns the topic if all its rows are known to be right."""
        mark.watermark, mark.to_come, mark.place = mark.to_come, None, None
        if not mark.whole or resumed:
            # A pass that was cut short has not met all; deletes are left to the next one.
            mark.compared_at = 0.0 if mark.whole else mark.compared_at
            return ()
        mark.compared_at = time.time()
        self.marks.healed(self.name)
        return (self.found.polled.topic,)

    def _events(self, connection: sa.Connection, mark: Mark) -> Events:
        position = self.marks.text()
        with connection.begin():
            now_us = self.source.now_us(connection)
        schema = self.found.rows.describe(position)
        first = mark.watermark is None
        return Events(self.found.polled, self.source.info, schema, position, now_us, time.time_ns(), first=first)

    def _unmet(self, events: Events, met: int) -> Iterator[list[Record]]:
        """Deletes of what readers have, and the pass has not met."""
        behind = b""
        while keys := self.known.unmet(met, behind, GONE_AT_ONCE):
            behind = keys[-1]
            yield events.gone(self.known.gone(keys))

    def _deletes(self, connection: sa.Connection) -> Iterator[Batch]:
        """What the log of deletes has, and the table has not."""
        log = self.found.log
        assert log is not None
        mark = self.marks.of(f"{self.name} deletes")
        opened = log.mode.open(connection, mark.watermark, whole=False)
        if opened is None:
            return
        self.marks.polls += 1
        mark.to_come, mark.place = opened.watermark, None
        events = self._events(connection, self.marks.of(self.name))
        while True:
            rest = opened.pages.select(log.polled.source, mark.place)
            keys: list[bytes] = []
            last: Sequence[Any] = ()
            with connection.begin():
                for key, _, last in log.rows.read(connection, opened.pages.extras, rest):  # noqa: B007
                    keys.append(key)
            mark.place = opened.pages.end(mark.place, len(keys), log.rows.stored(last))
            records = events.gone(self.known.gone(keys))
            if mark.place is None:
                mark.watermark, mark.to_come = mark.to_come, None
            yield self._batch(records, changed=True)
            if mark.place is None or not self.rest(len(keys), 0.0):
                return

    def _idle(self, mark: Mark) -> Iterator[Batch]:
        """Nothing had changed: that is stored now and then."""
        if time.monotonic() - self._stored_at > self.section.idle_interval:
            yield self._batch([], changed=True)

    def _batch(self, records: list[Record], *, changed: bool = False, complete: tuple[str, ...] = ()) -> Batch:
        topics: tuple[EventTopic, ...] = ()
        if records or complete:
            topics = () if self._announced else (self.event_topic,)
            records = [*self._description(), *records]
            self._announced = True
        if changed:
            self._stored_at = time.monotonic()
        return Batch(records, self.marks.position(changed=changed or bool(topics)), topics, complete)

    def _description(self) -> list[Record]:
        """A record for the schemas topic, if that does not have it yet."""
        mark = self.marks.of(self.name)
        digest = sha256(self.found.rows.describe("").to_bytes()).hexdigest()[:16]
        if mark.described == digest:
            return []
        mark.described = digest
        self._announced = False
        schema = self.found.rows.describe(self.marks.text())
        topic = names.schemas_topic(self.settings.name)
        return [(topic, schema.table.encode(), schema.to_bytes(), BY_KEY, 0, None)]

    def _ended(self, read: int, published: int, began: float) -> None:
        self.told = Told(read, published, time.monotonic() - began, time.time())


class _Page:
    """What is read in one transaction.

    `count` rows were read, `last` are the extras of the last one, `left` the records that were not yielded.
    """

    def __init__(self, known: Known, met: int, events: Events, size: int) -> None:
        self._known, self._met, self._events, self._size = known, met, events, size
        self.count = 0
        self.last: Sequence[Any] = ()
        self.left: list[Record] = []

    def records(
        self, connection: sa.Connection, rows: Rows, pages: Pages, source: sa.FromClause, mark: Mark
    ) -> Iterator[list[Record]]:
        """Records of rows that changed, in parts of a bounded size; the last part is `left`."""
        some: list[tuple[bytes, bytes]] = []
        extras: Sequence[Any] = ()
        size = 0
        try:
            with connection.begin():
                for key, row, extras in rows.read(connection, pages.extras, pages.select(source, mark.place)):  # noqa: B007
                    some.append((key, row))
                    if len(some) < ROWS_AT_ONCE:
                        continue
                    size += self._take(some)
                    if size > self._size:
                        records, self.left, size = self.left, [], 0
                        yield records
        except CdcError:
            # What was taken for known has to be published all the same.
            self._take(some)
            if self.left:
                yield self.left
                self.left = []
            raise
        self._take(some)
        self.last = rows.stored(extras)

    def _take(self, some: list[tuple[bytes, bytes]]) -> int:
        changes = self._known.changes(some, self._met)
        self.count += len(some)
        some.clear()
        self.left += self._events.changed(changes)
        return sum(len(change.key) + len(change.row) for change in changes) + 400 * len(changes)
