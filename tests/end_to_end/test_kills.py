"""Killed at any moment, the bridge loses nothing, doubles nothing, disorders nothing and invents nothing.

`CDC_KILLS` and `CDC_SEED` make longer and other runs: `CDC_KILLS=200 pytest tests/end_to_end/test_kills.py`.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from cdc.prove.bridge import Bridge
from cdc.prove.line import Line
from cdc.prove.load import Load
from cdc.prove.waiting import eventually
from cdc.testing.databases import Database
from cdc.testing.servers import KafkaServer

KILLS = int(os.environ.get("CDC_KILLS", "22"))
SEED = int(os.environ.get("CDC_SEED", "1"))
ITEMS = 20_000


@pytest.mark.timeout(300 + KILLS * 10)
def test_no_kill_loses_doubles_disorders_or_invents_anything(
    database: Database,
    target: Database,
    kafka: KafkaServer,
    prefix: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    began = time.monotonic()
    rng = Random(SEED)
    line = Line(database, target, kafka, prefix, ITEMS, tmp_path)
    load = Load(database.url, SEED)
    killed: Counter[str] = Counter()
    with Bridge(tmp_path, line.settings(batch_rows=200, workers=1)) as bridge:
        load.start()
        for number in range(KILLS):
            bridge.start()
            killed[_random_moment(bridge, rng, in_snapshot=number < KILLS // 2)] += 1
            bridge.kill()
        bridge.start()
        bridge.until("streaming")
        load.stop()
        unequal = line.finish(bridge)
        assert bridge.stop() == 0
        assert "Traceback" not in bridge.log
    verdict = line.verdict()
    with capsys.disabled():
        print(f"\n  seed {SEED}, {KILLS} kills of the process group: {_words(killed)}")
        print(f"  transactions: {_words(load.tally)}")
        print(f"{verdict}\n  {time.monotonic() - began:.0f} s")
    assert verdict.exact
    assert not unequal
    assert killed["snapshotting"] >= KILLS // 8
    assert verdict.reread or KILLS < 8, "no kill cut a snapshot"
    assert killed["streaming"] >= KILLS // 8


def _random_moment(bridge: Bridge, rng: Random, *, in_snapshot: bool) -> str:
    """Let the bridge run for a random while; returns what the kill hits."""
    if rng.random() < 0.25:
        # Anywhere: while it starts, waits for its lock, reads its position.
        time.sleep(rng.uniform(0.2, 3.0))
    elif in_snapshot:
        eventually(lambda: _rows_read(bridge) or _snapshot_done(bridge), 120, "a snapshot is read")
        time.sleep(rng.uniform(0, 1.5))
    else:
        eventually(lambda: _snapshot_done(bridge), 120, "the snapshot is done")
        bridge.until("streaming")
        time.sleep(rng.expovariate(1 / 0.4))
    state = bridge.state()
    return "snapshotting" if state == "streaming" and not _snapshot_done(bridge) else state


def _rows_read(bridge: Bridge) -> int:
    return int((bridge.connector().get("snapshot") or {}).get("rows", 0))


def _snapshot_done(bridge: Bridge) -> bool:
    return '"snapshot done"' in bridge.log


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.most_common())
