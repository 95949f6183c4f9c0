"""Connector `sql_poll`: the contract, put together. Touches the source through its rooms, Kafka to read its topics."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
import structlog
from confluent_kafka.admin import AdminClient

from cdc import homes
from cdc.connector import Stopped
from cdc.errors import CdcError, ConfigError, Refused, SourceError, SourceUnavailable
from cdc.event import Batch, Record
from cdc.failpoints import reach
from cdc.fold import Spool
from cdc.kafka import client
from cdc.offsets import committed
from cdc.patterns import matching
from cdc.position import Position
from cdc.settings import Settings
from cdc.stored import Home

from .ahead import ahead
from .forms import TopicForm
from .known import Known
from .marks import Marks, healing
from .poll import Altered, TablePoll
from .schedule import Schedule
from .settings import SqlPollSettings
from .source import Found, Source
from .sources import source_of

RATE_SECONDS = 10.0

BUSY_SECONDS = 5.0
"""How long a busy source is left alone."""

FIND_SECONDS = 60.0
"""How often tables are looked for that match by now."""


class SqlPollConnector:
    """Polls the tables of one database, one after the other. See `cdc.connector.Connector`.

    Args:
        settings: all settings.
        name, section: the connector's name and section.
    """

    def __init__(self, settings: Settings, name: str, section: SqlPollSettings) -> None:
        self._settings, self._name, self._section = settings, name, section
        self._subject = f"connector {name}"
        self._source: Source = source_of(settings, name, section, self._check)
        self._schedule = Schedule(section)
        self._log = structlog.get_logger().bind(connector=name)
        self._stop = threading.Event()
        self._awake = threading.Event()
        self._lost = self._waited = False
        self._asked: set[str] = set()
        self._state = "starting"
        self._marks = Marks()
        self._tables: dict[str, TablePoll] = {}
        self._ever: dict[str, TablePoll] = {}
        self._refused: dict[str, str] = {}
        self._problem: str | None = None
        self._found_at = 0.0
        self._forced = self._cut = False
        self._free_at = 0.0
        self._next: datetime | None = None
        self._polled_at: float | None = None
        self._published: deque[tuple[float, int]] = deque()
        self._events = 0
        self._order: str | None = None

    @contextmanager
    def lock(self) -> Iterator[None]:
        self._state = "waiting"

        def lost() -> None:
            self._lost = True
            self._awake.set()

        def wait(seconds: float) -> None:
            if not self._waited:
                self._log.info("waiting: another copy of this connector holds the source's lock")
                self._waited = True
            self._wait(seconds)

        with self._source.lock(wait, lost):
            self._state = "starting"
            reach("stream.after_lock")
            yield

    def start(self, stored: Position | None) -> None:
        self._marks = Marks.stored(stored)
        self._order = stored.order if stored is not None else None

    def batches(self) -> Iterator[Batch]:
        if self._order is None:
            # Before the first event: events without a position would be somebody else's.
            yield Batch([], self._marks.position(changed=True))
        for batch in ahead(self._batches, self.stop):
            self._published.append((time.monotonic(), len(batch.records)))
            self._events += len(batch.records)
            while self._published[0][0] < time.monotonic() - RATE_SECONDS:
                self._published.popleft()
            yield batch

    def confirm(self, position: Position) -> None:
        reach("stream.before_confirm")
        self._order = position.order
        reach("stream.after_confirm")

    def healing(self) -> bool:
        # What readers have is known at every pass: there is no difference left to be found.
        return False

    def inherited(self) -> Sequence[str]:
        return ()

    def heal_position(self, stored: Position | None) -> Position:
        return healing(stored)

    def gone(self, topic: str, keys: Sequence[bytes]) -> list[Record]:
        raise AssertionError("a poll deletes what is gone by itself")

    def ask(self, action: str, tables: Sequence[str]) -> str:
        if action != "poll":
            raise Refused(f"{self._subject} polls: it takes no command {action}", hint="`cdc poll` polls now")
        if not self._tables:
            raise Refused(f"{self._subject} is {self._state}: it takes commands once it polls")
        wanted = {name for name in self._tables if not tables or matching(tables, name)}
        if not wanted:
            raise Refused(f"{self._subject} polls no table {', '.join(tables)}")
        self._asked |= wanted
        self._awake.set()
        return f"polling {', '.join(sorted(wanted))} now"

    def stop(self) -> None:
        self._stop.set()
        self._awake.set()

    def status(self) -> dict[str, Any]:
        since, marks = time.monotonic() - RATE_SECONDS, self._marks
        published = sum(count for moment, count in list(self._published) if moment >= since)
        first = [name for name in list(self._tables) if marks.first(name)]
        return {
            "state": "snapshotting" if first and self._state == "streaming" else self._state,
            "position": self._order,
            "lag_seconds": None if self._polled_at is None else round(time.time() - self._polled_at, 3),
            "lag_bytes": None,
            "retained_wal_bytes": None,
            "rate": round(published / RATE_SECONDS, 1),
            "events": self._events,
            "snapshot": {"tables": len(self._tables), "tables_done": len(self._tables) - len(first)} if first else None,
            "healing": bool(marks.healing),
            "waited": self._waited,
            "next_poll": self._next.isoformat(timespec="seconds") if self._next is not None else None,
            "put_off": self._problem,
            "tables": {name: _words(poll) for name, poll in list(self._tables.items())},
            "refused_tables": dict(self._refused),
        }

    def _batches(self) -> Iterator[Batch]:
        """Poll after poll, until it is time to stop. In a thread of its own."""
        spool = Spool(self._settings.spool)
        try:
            if not self._source.stays:
                yield from self._polls(self._source.connect, spool)
                return
            with self._source.connect() as connection:
                yield from self._polls(lambda: nullcontext(connection), spool)
        finally:
            spool.close()

    def _polls(self, connect: Callable[[], AbstractContextManager[sa.Connection]], spool: Spool) -> Iterator[Batch]:
        with connect() as connection:
            self._find(connection, spool)
        self._state = "streaming"
        self._next = self._schedule.first(datetime.now(UTC))
        while True:
            self._sleep_until(self._next)
            asked, self._asked = self._asked, set()
            now = datetime.now(UTC)
            with connect() as connection:
                if not asked and self._puts_off(connection):
                    continue
                self._problem = None
                yield from self._round(connection, spool, asked)
            if not asked:
                if not self._cut:
                    self._polled_at = now.timestamp()
                ended = datetime.now(UTC)
                # What a window cut short goes on at its end, whatever the schedule says.
                self._next = (self._schedule.paused(ended) or ended) if self._cut else self._schedule.next(now, ended)

    def _round(self, connection: sa.Connection, spool: Spool, asked: Collection[str]) -> Iterator[Batch]:
        """One table after the other: those that were asked for, or all, until a window begins."""
        self._forced, self._cut = bool(asked), False
        if time.monotonic() - self._found_at > FIND_SECONDS:
            self._find(connection, spool)
        for name in sorted(asked or self._tables):
            if name in self._tables and not self._cut:
                yield from self._poll(connection, spool, name)

    def _poll(self, connection: sa.Connection, spool: Spool, name: str, *, found_anew: bool = False) -> Iterator[Batch]:
        """One table; what is wrong with it is told and stops no other."""
        altered = False
        try:
            poll = self._tables[name]
            with self._source.reading(name):
                yield from poll.run(connection)
            if poll.told.unmet:
                poll.told.unmet = False
                why = "a pass that was begun before a restart has ended: deletes wait for one without a restart"
                self._log.warning(why, table=name)
        except Altered:
            altered = True
        except SourceError as error:
            if error.retriable:
                raise
            self._refuse(name, error)
        else:
            self._refused.pop(name, None)
        if altered:
            self._find(connection, spool)
            if name in self._tables and not found_anew:
                yield from self._poll(connection, spool, name, found_anew=True)

    def _refuse(self, name: str, error: CdcError) -> None:
        if self._refused.get(name) != error.message:
            self._log.warning("a table is not polled", table=name, error=error.message, hint=error.hint)
        self._refused[name] = error.message

    def _find(self, connection: sa.Connection, spool: Spool) -> None:
        """Look which tables there are; read what readers have of those that came.

        Raises: ConfigError: at the first look, settings that do not fit.
        """
        wrong: dict[str, CdcError] = {}
        found = {one.polled.name: one for one in self._source.find(connection, wrong.__setitem__)}
        problems = [problem for error in wrong.values() if isinstance(error, ConfigError) for problem in error.problems]
        if problems and not self._found_at:
            raise ConfigError(problems)
        for name in self._refused.keys() - wrong.keys():
            if name not in found:
                del self._refused[name]
        for name, error in wrong.items():
            self._refuse(name, error)
        self._found_at = time.monotonic()
        self._marks.heal(found)
        for name in self._tables.keys() - found.keys() - wrong.keys():
            self._log.info("a table is gone", table=name)
        self._tables = {name: self._taken_over(one, spool) for name, one in sorted(found.items())}

    def _taken_over(self, found: Found, spool: Spool) -> TablePoll:
        """A table as it is now; of one that was gone all is known still: its last events may be under way."""
        before, schemas = self._ever.get(found.polled.name), found.rows.schemas()
        if before is not None and before.found.rows.schemas() == schemas:
            before.found = found
            return before
        form = TopicForm(self._settings, self._section.format_of(found.polled.options), schemas, found.polled.name)
        if before is not None:
            before.found, before.form = found, form
            return before
        known = Known(spool, len(self._ever))
        admin = client(AdminClient, self._settings.kafka)
        home = homes.look(admin, [found.polled.topic]).get(found.polled.topic)
        if home is not None:
            self._load(known, form, found, home)
        settings, section, marks = self._settings, self._section, self._marks
        made = TablePoll(found, self._source, settings, section, form, known, marks, self._rest, self._took)
        self._ever[found.polled.name] = made
        return made

    def _load(self, known: Known, form: TopicForm, found: Found, home: Home) -> None:
        began, topic = time.monotonic(), found.polled.topic
        for messages in committed(self._settings.kafka, topic, home.partitions, self._stop.is_set):
            known.load(messages, form)
        if keys := len(known):
            self._log.info("topic read", topic=topic, keys=keys, seconds=round(time.monotonic() - began, 1))

    def _took(self, rows: int, began: float) -> None:
        """A page was read: the next one, of whatever table, waits as long as its rows have to take."""
        if self._section.rows_per_second is not None:
            self._free_at = began + rows / self._section.rows_per_second

    def _rest(self, connection: sa.Connection) -> bool:
        """Before each page."""
        self._wait(max(0.0, self._free_at - time.monotonic()))
        while not (self._forced or self._asked) and self._puts_off(connection):
            pass
        self._problem = None
        self._cut = not self._forced and self._schedule.paused(datetime.now(UTC)) is not None
        return not self._cut

    def _puts_off(self, connection: sa.Connection) -> bool:
        """Whether the source has enough to do; then it was left alone for a while."""
        before, self._problem = self._problem, self._source.busy(connection)
        if self._problem is None:
            return False
        if before is None:
            self._log.info("poll put off", why=self._problem)
        self._wait(BUSY_SECONDS)
        return True

    def _sleep_until(self, moment: datetime) -> None:
        while not self._asked and (left := (moment - datetime.now(UTC)).total_seconds()) > 0:
            self._awake.wait(min(left, 60.0))
            self._awake.clear()
            self._check()
        self._check()

    def _wait(self, seconds: float) -> None:
        self._stop.wait(seconds)
        self._check()

    def _check(self) -> None:
        if self._stop.is_set():
            raise Stopped
        if self._lost:
            raise SourceUnavailable(f"{self._subject}: the session that held the source's lock was ended")


def _words(poll: TablePoll) -> dict[str, Any]:
    """What the status says of a table."""
    told, options = poll.told, poll.found.polled.options
    mark = poll.marks.tables.get(poll.name)
    compared = mark.compared_at if mark is not None and poll.deletes_by_comparing else 0.0
    return {
        "mode": options.mode,
        "deletes": "compare" if options.mode == "full" else options.deletes or "none",
        "rows_read": told.read,
        "events": told.published,
        "seconds": round(told.seconds, 3),
        "polled_at": _moment(told.ended),
        "compared_at": _moment(compared or None),
        "may_miss": _may_miss(options.look_back),
    }


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat("T", "seconds")


def _may_miss(look_back: float | None) -> str | None:
    if look_back is None:
        return None
    return f"what is committed more than {look_back:g} s after it was written"
