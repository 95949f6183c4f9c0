"""One pass over one table: pages, what changed in them, what is gone; and how far that is stored. Reads the source.

A pass that was cut short goes on behind its last page that was published. Its watermark is from when it began: what
changed since on pages that were read before is behind that, and comes with the next pass. Each page has a position of
its own: a row that is read twice in a pass is newer the second time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import sqlalchemy as sa

from cdc import names
from cdc.errors import CdcError
from cdc.event import BY_KEY, Batch, EventTopic, Record
from cdc.settings import Settings

from .events import Events
from .forms import TopicForm
from .known import Known
from .marks import Mark, Marks
from .modes import Pass
from .pages import BlockPages, Pages
from .rows import Polled
from .settings import SqlPollSettings
from .source import Found, Identity, Source

ROWS_AT_ONCE = 1_000
"""Looked up together, at most."""

GONE_AT_ONCE = 5_000


class Altered(Exception):
    """The table is not as it was found: it has to be found again."""


@dataclass(slots=True)
class Told:
    """What `cdc status` says of a table.

    Args:
        read, published: rows in the last pass that ended.
        seconds: that it took.
        ended: when, seconds since the Unix epoch; None: no pass has ended.
        unmet: whether another process began it, so that what is gone is found by the next one only.
    """

    read: int = 0
    published: int = 0
    seconds: float = 0.0
    ended: float | None = None
    unmet: bool = False


@dataclass(slots=True)
class TablePoll:
    """Polls one table, pass by pass. For one thread.

    Args:
        found: the table as it is.
        source: where it is.
        settings, section: the bridge's and the connector's.
        form: of its topic's records.
        known: what readers have of it.
        marks: how far all tables are.
        rest: called before each page; raises when it is time to stop, and says whether it may be read now.
        took: told of each page how many rows it had, and when it was begun (monotonic).
    """

    found: Found
    source: Source
    settings: Settings
    section: SqlPollSettings
    form: TopicForm
    known: Known
    marks: Marks
    rest: Callable[[sa.Connection], bool]
    took: Callable[[int, float], None]
    told: Told = field(default_factory=Told)
    _announced: bool = False
    _stored_at: float = 0.0
    _met: int | None = None
    _read_us: int = 0
    _read_ns: int = 0

    @property
    def name(self) -> str:
        return self.found.polled.name

    @property
    def event_topic(self) -> EventTopic:
        polled = self.found.polled
        return EventTopic(polled.topic, polled.name, polled.key)

    def run(self, connection: sa.Connection) -> Iterator[Batch]:
        """One pass, and what was deleted.

        Raises:
            Altered: nothing was read; it has to be found again.
            CdcError: what was read before that is in the batches; the next pass goes on from there.
        """
        if not self.rest(connection):
            return
        mark = self.marks.of_mode(self.name, _by(self.found.polled))
        yield from self._rows(connection, mark)
        if self.found.log is not None and mark.place is None:
            yield from self._deletes(connection)

    def _rows(self, connection: sa.Connection, mark: Mark) -> Iterator[Batch]:
        began = time.monotonic()
        opened = self._open(connection, mark)
        if opened is None:
            self.told = Told(0, 0, time.monotonic() - began, time.time())
            if time.monotonic() - self._stored_at > self.section.idle_interval:
                yield self._batch([], changed=True)
            return
        met, resumed = self._meets(mark)
        read = published = 0
        while True:
            page, started = _Page(self, met, opened.pages, mark), time.monotonic()
            for records in page.records(connection):
                published += len(records)
                yield self._batch(records)
            self.took(page.count, started)
            read += page.count
            published += len(page.left)
            mark.place = opened.pages.end(mark.place, page.count, page.last)
            if page.identity != mark.identity:
                # Rewritten: rows have moved to blocks that were read before. It begins anew, under the old watermark.
                mark.to_come = mark.place = None
                yield self._batch(page.left, changed=True)
                return
            if mark.place is None:
                break
            yield self._batch(page.left, changed=True)
            if not self.rest(connection):
                return
        unmet = resumed and mark.whole and self.deletes_by_comparing
        yield from self._finish(mark, page.left, met, resumed=resumed)
        self.told = Told(read, published, time.monotonic() - began, time.time(), unmet)

    def _finish(self, mark: Mark, left: list[Record], met: int, *, resumed: bool) -> Iterator[Batch]:
        """All pages are read: what readers have beside them is gone."""
        if mark.whole and not resumed and self.deletes_by_comparing:
            events, behind = self.events(mark), b""
            while keys := self.known.unmet(met, behind, GONE_AT_ONCE):
                yield self._batch(left)
                behind, left = keys[-1], events.gone(keys)
                self.known.forget(keys)
        mark.watermark, mark.to_come, mark.place, self._met = mark.to_come, None, None, None
        complete: tuple[str, ...] = ()
        if mark.whole:
            # A pass that another process began has not met all; deletes are left to the next one.
            mark.compared_at = 0.0 if resumed else time.time()
            if not resumed:
                self.marks.healed(self.name)
                complete = (self.found.polled.topic,)
        yield self._batch(left, changed=True, complete=complete)

    def _open(self, connection: sa.Connection, mark: Mark) -> Pass | None:
        """Begin a pass, or go on with the one that was cut short."""
        mode = self.found.mode
        resumes = mark.to_come is not None and mark.place is not None
        whole = mark.whole if resumes else self._compares(mark)
        opened = mode.open(connection, mark.watermark, whole=whole)
        identity = self._looked(connection)
        if mark.identity is not None and identity != mark.identity:
            if {oid for oid, _ in identity} != {oid for oid, _ in mark.identity}:
                # Another table, or more of it: no watermark says anything of its rows.
                opened, resumes = mode.open(connection, None, whole=True), False
                identity = self._looked(connection)
            elif opened is not None and isinstance(opened.pages, BlockPages):
                resumes = False
        if opened is None:
            mark.to_come = mark.place = None
            return None
        # A clock that was set back since makes it one over all rows, in another order.
        resumes = resumes and opened.whole == mark.whole
        self.marks.begin()
        if not resumes:
            mark.to_come, mark.place, mark.whole, self._met = opened.watermark, None, opened.whole, None
            mark.identity = identity
        masked = (self.found.polled.options.mask_of(self.name, str(one.key)) for one in opened.pages.extras)
        mark.private = any(mask is not None for mask in masked)
        return opened

    def _meets(self, mark: Mark) -> tuple[int, bool]:
        """The number that this pass marks rows with, and whether another process has begun it."""
        resumed = mark.place is not None and self._met is None
        self._met = self._met or self.marks.polls
        return self._met, resumed

    def _looked(self, connection: sa.Connection) -> Identity:
        """What the table is, and when that was. Behind the watermark: what a column that came since holds is not below
        it.

        Raises: Altered.
        """
        with connection.begin():
            if not self.source.still(connection, self.found):
                raise Altered
            self._read_us, self._read_ns = self.source.now_us(connection), time.time_ns()
            return self.source.identity(connection, self.found)

    def _compares(self, mark: Mark) -> bool:
        """Whether it is time to compare all rows."""
        if self.marks.heals(self.name):
            return True
        options = self.found.polled.options
        return options.deletes == "compare" and time.time() - mark.compared_at >= options.compare_every

    @property
    def deletes_by_comparing(self) -> bool:
        """Whether a pass over all rows finds what is gone."""
        options = self.found.polled.options
        return options.mode == "full" or options.deletes == "compare" or self.marks.heals(self.name)

    def events(self, mark: Mark) -> Events:
        """Of the next page."""
        position, polled = self.marks.step(), self.found.polled
        unknown, first = self.found.rows.unknown(), mark.watermark is None
        return Events(polled, self.source.info, unknown, self.form, position, self._read_us, self._read_ns, first=first)

    def _deletes(self, connection: sa.Connection) -> Iterator[Batch]:
        """What the log of deletes has, and the table has not."""
        log = self.found.log
        assert log is not None
        mark = self.marks.of_mode(f"{self.name} deletes", f"{self.found.polled.options.delete_log} {_by(log.polled)}")
        opened = log.mode.open(connection, mark.watermark, whole=False)
        if opened is None:
            return
        self.marks.begin()
        mark.to_come, mark.place, mark.private = opened.watermark, None, True
        while self.rest(connection):
            started, events = time.monotonic(), self.events(self.marks.of(self.name))
            rest = opened.pages.select(log.polled.source, mark.place)
            keys: list[bytes] = []
            last: Sequence[Any] = ()
            with connection.begin():
                for key, _, last in log.rows.read(connection, opened.pages.extras, rest):  # noqa: B007
                    keys.append(key)
            self.took(len(keys), started)
            mark.place = opened.pages.end(mark.place, len(keys), log.rows.stored(last))
            there = self.known.having(keys)
            records = events.gone(there)
            self.known.forget(there)
            if mark.place is None:
                mark.watermark, mark.to_come = mark.to_come, None
            yield self._batch(records, changed=True)
            if mark.place is None:
                return

    def _batch(self, records: list[Record], *, changed: bool = False, complete: tuple[str, ...] = ()) -> Batch:
        topics: tuple[EventTopic, ...] = ()
        if records or complete:
            description = self._description()
            topics = () if self._announced else (self.event_topic,)
            records = [*description, *records]
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


def _by(polled: Polled) -> str:
    options = polled.options
    return sha256(repr((options.mode, options.column, options.query, polled.key)).encode()).hexdigest()[:16]


class _Page:
    """What is read in one transaction.

    `count` rows were read, `last` is where it ends, `left` the records that were not yielded, `identity` what the table
    was by then, if it is read by block.
    """

    def __init__(self, poll: TablePoll, met: int, pages: Pages, mark: Mark) -> None:
        self._poll, self._met, self._pages, self._mark = poll, met, pages, mark
        self._events = poll.events(mark)
        self.count = 0
        self.last: Sequence[Any] = ()
        self.left: list[Record] = []
        self.identity = mark.identity

    def records(self, connection: sa.Connection) -> Iterator[list[Record]]:
        """Records of rows that changed, in parts of a bounded size; the last part is `left`."""
        found, pages, most = self._poll.found, self._pages, self._poll.section.page.bytes
        some: list[tuple[bytes, bytes]] = []
        extras: Sequence[Any] = ()
        held = size = 0
        try:
            with connection.begin():
                rest = pages.select(found.polled.source, self._mark.place)
                for key, row, extras in found.rows.read(connection, pages.extras, rest):  # noqa: B007
                    some.append((key, row))
                    held += len(key) + len(row)
                    if len(some) < ROWS_AT_ONCE and size + held < most:
                        continue
                    size, held = size + self._take(some), 0
                    if size >= most:
                        records, self.left, size = self.left, [], 0
                        yield records
                if isinstance(pages, BlockPages):
                    # While our lock keeps the rows from being moved.
                    self.identity = self._poll.source.identity(connection, found)
            self._take(some)
        except CdcError:
            # What was taken for known has to be published all the same.
            with suppress(CdcError):
                self._take(some)
            if self.left:
                yield self.left
                self.left = []
            raise
        self.last = found.rows.stored(extras)

    def _take(self, some: list[tuple[bytes, bytes]]) -> int:
        """Rows become records; where one has no form, those before it do, and the error is raised."""
        digest, rows, refusal = self._poll.form.digest, list[tuple[bytes, bytes, bytes]](), None
        try:
            for key, row in some:
                rows.append((key, row, digest(row)))
        except CdcError as error:
            refusal = error
        some.clear()
        changes = self._poll.known.changes(rows, self._met)
        self.count += len(rows)
        self.left += self._events.changed(changes)
        if refusal is not None:
            raise refusal
        return sum(len(change.key) + len(change.row) for change in changes) + 400 * len(changes)
