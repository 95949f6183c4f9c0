"""Two copies of one bridge: one works, the other waits, and takes over when the first is killed or hangs."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from cdc.prove.bridge import Bridge
from cdc.prove.line import Line
from cdc.prove.load import Load
from cdc.prove.waiting import eventually
from cdc.testing.databases import Database
from cdc.testing.servers import KafkaServer

WORKING = ("snapshotting", "streaming")


def test_of_two_copies_one_works_and_the_other_takes_over_exactly(
    database: Database, target: Database, kafka: KafkaServer, prefix: str, tmp_path: Path
) -> None:
    line = Line(database, target, kafka, prefix, 5_000, tmp_path)
    settings = line.settings(session_timeout="3s", workers=1)
    load = Load(database.url, seed=2, linger=2.0)
    load.start()
    with Bridge(tmp_path, settings, "one") as one, Bridge(tmp_path, settings, "two") as two:
        one.start()
        two.start()
        holder, spare = _who_works(one, two)

        holder.kill()
        spare.until("streaming")
        holder.start()
        holder.until("waiting")
        holder, spare = spare, holder

        [hanging] = holder.workers(kind="connector")
        before = _published(holder)
        os.kill(hanging, signal.SIGSTOP)
        try:
            spare.until("streaming", seconds=30)
            eventually(lambda: _published(spare) > before, 30, "the copy that took over publishes")
        finally:
            os.kill(hanging, signal.SIGCONT)
        holder.until("waiting")
        holder, spare = spare, holder

        load.stop()
        assert line.finish(holder) == []
        assert (holder.state(), spare.state()) == ("streaming", "waiting")
        assert (holder.stop(), spare.stop()) == (0, 0)
        assert "Traceback" not in one.log + two.log
    verdict = line.verdict()
    assert verdict.exact, str(verdict)


def _who_works(one: Bridge, two: Bridge) -> tuple[Bridge, Bridge]:
    """The copy that works and the one that waits."""

    def sorted_out() -> bool:
        states = one.state(), two.state()
        assert not all(state in WORKING for state in states), "both work"
        return "waiting" in states and any(state in WORKING for state in states)

    eventually(sorted_out, 60, "one copy works and the other waits")
    return (one, two) if two.state() == "waiting" else (two, one)


def _published(bridge: Bridge) -> str:
    """The position behind what the copy published last."""
    return bridge.connector().get("position") or ""
