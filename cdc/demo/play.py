"""The demo's story, act by act. Touches the stage, signals and clocks; kills two workers of its own bridge.

fill the warehouse → keep writing → start the bridge → kill its connector → kill a sink
worker → stop writing → compare every service's table with the warehouse
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from cdc.demo.bridge import Bridge
from cdc.demo.compare import Comparison, Table, compare
from cdc.demo.probe import Arrival, Probe, percentiles
from cdc.demo.stage import SERVICES, Stage, stage
from cdc.demo.view import Frame, View, milliseconds, view
from cdc.demo.warehouse import Extent, close_the_books, fill
from cdc.demo.writers import Writers
from cdc.errors import CdcError

PATIENCE = 120.0
"""Seconds until the demo gives up waiting for one thing."""

LOOK_EVERY = 0.2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Options:
    """What can be chosen.

    Args:
        postgres: URL of a server of your own; its role must be allowed to create databases and to
            replicate, and `wal_level` must be logical. None: an embedded one.
        kafka: bootstrap servers of your own. None: an embedded broker.
        seconds: how long the sessions keep writing once both services are up to date.
        rows: about how many rows the warehouse has at first.
        seed: of everything random.
    """

    postgres: str | None = None
    kafka: str | None = None
    seconds: float = 20.0
    rows: int = 150_000
    seed: int = 1


def play(options: Options) -> int:
    """Run the demo; everything it started or made is gone when it returns or raises.

    Returns:
        0 when every table of every service equals the warehouse's, 1 when one differs.

    Raises:
        CdcError: it could not be played to its end.
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    with _terminated_as_interrupted(), view() as shown, stage(options.postgres, options.kafka, shown.say) as place:
        return _Play(place, options, shown).run()


class _Play:
    """One performance."""

    def __init__(self, place: Stage, options: Options, shown: View) -> None:
        self._place, self._options, self._view = place, options, shown
        self._extent = Extent.of(options.rows)
        self._bridge = Bridge(place.config, place.listen, place.folder / "bridge.log")
        self._writers = Writers(place.warehouse, self._extent, options.seed)
        self._probe = Probe(place.warehouse, place.services["billing"])
        self._status: dict[str, Any] = {}
        self._written: deque[tuple[float, int]] = deque(maxlen=round(3 / LOOK_EVERY))
        self._kills: list[tuple[str, float, float]] = []  # what, when, recovered when

    def run(self) -> int:
        try:
            self._fill()
            self._start()
            self._wait(self._options.seconds / 3)
            self._kill_connector()
            self._wait(self._options.seconds / 3)
            self._kill_sink_worker()
            self._wait(self._options.seconds / 3)
            self._finish()
            comparisons = self._compare()
            self._stop_bridge()
        except CdcError:
            for line in self._bridge.last_words():
                self._view.say(f"  bridge: {line}")
            raise
        finally:
            self._bridge.stop()
            for sessions in (self._writers, self._probe):
                with suppress(Exception):  # what ended the demo matters more
                    sessions.stop()
        return self._tell_the_end(comparisons)

    def _fill(self) -> None:
        started = time.monotonic()
        with psycopg.connect(self._place.warehouse, autocommit=True) as connection:
            fill(connection, self._extent, self._options.seed)
        self._view.say(
            f"filled the warehouse: {self._extent.rows:,} rows in 5 tables, {time.monotonic() - started:.1f} s"
        )

    def _start(self) -> None:
        self._view.say(f"the bridge's settings: {self._place.config}")
        self._writers.start()
        self._view.say("4 sessions write to the warehouse; starting the bridge: cdc run --config bridge.yaml")
        started = time.monotonic()
        self._bridge.start()
        self._until("both services have the rows that were there", self._services_are_up)
        seconds = time.monotonic() - started
        captured = self._extent.rows - self._extent.customers + 1
        self._view.say(
            f"both services are up to date: {captured:,} rows were copied, and what was written meanwhile,"
            f" {seconds:.1f} s after the start ({captured / seconds:,.0f} rows/s)"
        )
        self._probe.start()

    def _kill_connector(self) -> None:
        pid = self._status["connectors"]["warehouse"]["pid"]
        with self._between_transactions() if self._place.embedded_broker else nullcontext():
            killed = self._kill("connector warehouse", pid)

        def recovered() -> Arrival | None:
            connector = self._status["connectors"]["warehouse"]
            if connector["state"] != "streaming" or connector["pid"] == pid:
                return None
            return self._probe.first_after(killed)

        arrival = self._until("the connector streams again", recovered)
        self._tell_recovery("connector warehouse", killed, arrival.committed + arrival.seconds)

    @contextmanager
    def _between_transactions(self) -> Iterator[None]:
        """Hold all sessions until what they committed has arrived: the connector has no Kafka transaction open.

        Only for the embedded broker (noida-db 0.2.3): after an aborted transaction its answers let
        read_committed consumers drop what the same producer commits later.
        """
        with self._writers.held(), self._probe.held():
            self._until("what was committed has arrived", lambda: self._probe.under_way == 0)
            yield

    def _kill_sink_worker(self) -> None:
        pid = self._status["sinks"]["billing"]["members"][0]["pid"]
        killed = self._kill("a worker of sink billing", pid)

        def recovered() -> float | None:
            sink = self._status["sinks"]["billing"]
            pids = [member.get("pid") for member in sink["members"]]
            well = all(member["state"] in ("live", "catching_up") for member in sink["members"])
            return time.monotonic() if well and pid not in pids and self._probe.first_after(killed) else None

        self._tell_recovery("a worker of sink billing", killed, self._until("the sink's worker is back", recovered))

    def _finish(self) -> None:
        tally = self._writers.stop()
        self._probe.stop()
        self._view.say(
            f"the sessions stop: {tally.committed:,} transactions committed, {tally.rolled_back:,} rolled back,"
            f" {tally.rows:,} rows inserted, updated or deleted"
        )
        stopped = time.monotonic()
        with psycopg.connect(self._place.warehouse, autocommit=True) as connection:
            moment, touched = close_the_books(connection)
        self._until("the last transaction is in every service", lambda: self._arrived(moment, touched))
        self._view.say(
            f"lag 0: the last transaction ({sum(touched.values()):,} rows over all tables) is in every service,"
            f" {time.monotonic() - stopped:.2f} s later"
        )

    def _compare(self) -> list[tuple[str, Comparison]]:
        self._view.say("comparing every row and column, straight from both databases:")
        comparisons = []
        for service, table in self._place.tables():
            with (
                psycopg.connect(self._place.warehouse) as source,
                psycopg.connect(self._place.services[service]) as target,
            ):
                comparison = compare(source, target, table)
            comparisons.append((service, comparison))
            self._view.say(f"  {_verdict(service, comparison)}")
            for example in comparison.examples:
                self._view.say(f"    {example}")
        return comparisons

    def _stop_bridge(self) -> None:
        asked = time.monotonic()
        code = self._bridge.stop()
        if code != 0:
            raise CdcError(f"`cdc run` did not stop cleanly after SIGTERM: exit code {code}")
        self._view.say(f"the bridge stopped within {time.monotonic() - asked:.1f} s")

    def _tell_the_end(self, comparisons: list[tuple[str, Comparison]]) -> int:
        calm = [arrival.seconds for arrival in self._probe.arrivals if not self._in_a_kill(arrival)]
        if calm:
            shown = ", ".join(f"{name} {milliseconds(value)}" for name, value in percentiles(calm).items())
            self._view.say(
                f"commit in the warehouse → visible in billing: {shown} ({len(calm):,} changes, kills aside)"
            )
        through = [arrival.seconds for arrival in self._probe.arrivals if self._in_a_kill(arrival)]
        if through:
            self._view.say(f"the longest way through a kill: {milliseconds(max(through))}")
        rows = sum(comparison.rows for _, comparison in comparisons)
        wrong = [comparison for _, comparison in comparisons if not comparison.equal]
        if wrong:
            self._view.say(f"NOT EQUAL: {len(wrong)} of {len(comparisons)} tables differ from the warehouse")
            return 1
        self._view.say(f"ALL EQUAL: {rows:,} rows in {len(comparisons)} tables of {len(SERVICES)} services")
        return 0

    def _kill(self, what: str, pid: int) -> float:
        os.kill(pid, signal.SIGKILL)
        self._view.say(f"kill -9 {pid}: {what}")
        return time.monotonic()

    def _tell_recovery(self, what: str, killed: float, recovered: float) -> None:
        self._kills.append((what, killed, recovered))
        self._view.say(f"{what} is back after {recovered - killed:.1f} s, by itself")

    def _in_a_kill(self, arrival: Arrival) -> bool:
        end = arrival.committed + arrival.seconds
        return any(arrival.committed < recovered and end > killed for _, killed, recovered in self._kills)

    def _services_are_up(self) -> bool:
        """Whether the workers say so, and every service's table has as many rows, give or take what is under way."""
        connectors, sinks = self._status.get("connectors", {}), self._status.get("sinks", {})
        if not connectors or any(worker["state"] != "streaming" for worker in connectors.values()):
            return False
        if any(worker["state"] != "live" or worker["lag_events"] is None for worker in sinks.values()):
            return False
        return all(self._has_about_all(service, table) for service, table in self._place.tables())

    def _has_about_all(self, service: str, table: Table) -> bool:
        counts = []
        for url, name in ((self._place.warehouse, table.source), (self._place.services[service], table.target)):
            with psycopg.connect(url) as connection:
                query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*name))
                try:
                    counts.append(connection.execute(query).fetchone())
                except psycopg.errors.UndefinedTable:
                    return False
        (there,), (here,) = ((count or (0,)) for count in counts)
        return bool(here >= 0.99 * there)

    def _arrived(self, moment: datetime, touched: Mapping[str, int]) -> bool:
        for service, tables in SERVICES.items():
            with psycopg.connect(self._place.services[service]) as connection:
                for table in tables:
                    query = sql.SQL("SELECT count(*) FROM {} WHERE updated_at = %s").format(sql.Identifier(table))
                    if connection.execute(query, [moment]).fetchone() != (touched[table],):
                        return False
        return True

    def _wait(self, seconds: float) -> None:
        over = time.monotonic() + seconds
        self._until("time passes", lambda: time.monotonic() >= over)

    def _until(self, what: str, fact: Callable[[], T | None]) -> T:
        """Look until `fact` is something, showing how things stand; returns it.

        Raises:
            CdcError: it took too long, or the bridge ended.
        """
        give_up = time.monotonic() + PATIENCE + self._options.seconds
        while True:
            self._status = self._bridge.status() or self._status
            self._view.show(self._frame())
            if found := fact():
                return found
            if time.monotonic() > give_up:
                raise CdcError(f"gave up after {PATIENCE:.0f} s; waited until {what}")
            time.sleep(LOOK_EVERY)

    def _frame(self) -> Frame:
        tally = self._writers.tally
        self._written.append((time.monotonic(), tally.rows))
        (first, before), (last, now) = self._written[0], self._written[-1]
        recent = [arrival.seconds for arrival in self._probe.arrivals[-200:]]
        return Frame(
            status=self._status,
            committed=tally.committed,
            rolled_back=tally.rolled_back,
            rows=tally.rows,
            rows_per_second=(now - before) / (last - first) if last > first else 0.0,
            latency=percentiles(recent) if recent else {},
            kills=tuple(what for what, _, _ in self._kills),
        )


def _verdict(service: str, comparison: Comparison) -> str:
    table = ".".join(comparison.table.source)
    counts = [
        f"{count:,} {kind}"
        for kind, count in (
            ("missing", comparison.missing),
            ("too many", comparison.extra),
            ("different", comparison.differs),
        )
        if count
    ]
    said = ", ".join(counts) if counts else "equal"
    return f"{service}.{comparison.table.target[1]} = {table}: {comparison.rows:,} rows, {said}"


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM clears up as Ctrl-C does."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
