"""The prover proves something: of a bridge with a deliberate defect it says so.

The defects are put into a copy of the packages, which the bridge's processes are given by PYTHONPATH.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cdc.prove.fault import Fault
from cdc.prove.faults import ALL
from cdc.prove.prover import NOT_BEGUN, Result, prove
from cdc.prove.servers import Servers
from cdc.prove.stage import Extent, Stage

ROOT = Path(__file__).parents[2]
PACKAGES = ("cdc", "connectors", "sinks")
EXTENT = Extent(bulk_rows=60_000)
SEED = 1


@dataclass(frozen=True)
class Defect:
    """What is wrong in the copy.

    Args:
        file, right, wrong: where, what stands there once, and what instead.
        fault: that brings it to light.
        rounds: how often that strikes at most; 0: as often as it wants.
        prepare: what the fault's own setting needs besides.
    """

    file: str
    right: str
    wrong: str
    fault: str
    rounds: int
    prepare: Callable[[Stage], None] = lambda stage: None


def small_queue(stage: Stage) -> None:
    """The connector waits for Kafka in the middle of most of its transactions."""
    stage.yaml["kafka"]["properties"] = {"queue.buffering.max.messages": 20}
    stage.yaml["connectors"]["source"]["batch"] = {"rows": 20_000}


def large_batches(stage: Stage) -> None:
    """However slow the defect makes it, the connector keeps up, and its reader looks at what it may confirm."""
    stage.yaml["connectors"]["source"]["batch"] = {"rows": 20_000}


DEFECTS = {
    "confirm before commit": Defect(
        "cdc/pipeline.py",
        "            if difference is None:\n                publisher.publish(batch)\n",
        "            if difference is None:\n"
        "                connector.confirm(batch.position)\n"
        "                __import__('time').sleep(0.3)\n"
        "                publisher.publish(batch)\n",
        "failpoints-running",
        0,
        large_batches,
    ),
    "no fence": Defect(
        "cdc/publisher.py",
        '"transactional.id": names.transactional_id(group, self.connector),',
        '"transactional.id": names.transactional_id(group, self.connector) + str(time.time_ns()),',
        "frozen",
        4,
    ),
    "position by LSN alone": Defect(
        "connectors/postgres_wal/position.py",
        "            return self.ordinal, self.messages\n",
        "            return EVERY_ROW, 0\n",
        "huge-transaction-killed",
        1,
    ),
    "the sink applies again what it has": Defect(
        "sinks/postgres/offsets.py",
        "            held[place] = Held(next_offset,",
        "            held[place] = Held(next_offset and max(0, next_offset - 200),",
        "sink-killed",
        3,
    ),
    "an abort is ignored": Defect(
        "cdc/publisher.py",
        "self._producer.abort_transaction(",
        "self._producer.commit_transaction(",
        "stopped",
        5,
        small_queue,
    ),
}


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers() as shared:
        if shared.available.no_real_kafka:
            pytest.skip(f"no real Kafka: {shared.available.no_real_kafka}")
        yield shared


@pytest.mark.defects
@pytest.mark.parametrize("name", DEFECTS)
def test_the_prover_finds(name: str, servers: Servers, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    defect = DEFECTS[name]
    copy_with(defect, tmp_path)
    result = prove(with_defect(defect, tmp_path), servers, max(1, defect.rounds), SEED, print, EXTENT, tmp_path)
    with capsys.disabled():
        print(f"\n  {name}: {', '.join(found_by(result)) or f'NOT FOUND, {result.broken}'}, {result.seconds:.0f} s")
    assert found_by(result), result.broken


def copy_with(defect: Defect, folder: Path) -> None:
    """The packages as they are, but for one text, which must stand there once."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / defect.file
    text = file.read_text()
    assert text.count(defect.right) == 1, f"{defect.file} has {text.count(defect.right)} times: {defect.right}"
    file.write_text(text.replace(defect.right, defect.wrong))


def with_defect(defect: Defect, folder: Path) -> Fault:
    """The fault that brings it to light, against the copy."""
    [fault] = [fault for fault in ALL if fault.name == defect.fault]

    def prepare(stage: Stage) -> None:
        fault.setting.prepare(stage)
        defect.prepare(stage)
        stage.environment["PYTHONPATH"] = str(folder)

    rounds = {"times": 1, "rounds": 1, "most": defect.rounds} if defect.rounds else {}
    setting = replace(fault.setting, prepare=prepare, sessions=6)
    return replace(fault, setting=setting, patience=300.0, **rounds)  # type: ignore[arg-type]


def found_by(result: Result) -> list[str]:
    """What betrayed it: what was counted, or a state that a bridge without defect is never in. Being slow does not."""
    counted = [f"{count} {kind}" for kind, count in result.counts.items() if count]
    different = [f"{result.different} rows differ"] if result.different else []
    states = [what for what in result.broken if "in state gap" in what or "in state failed" in what]
    return [*counted, *different, *(what[:160] for what in states if not what.startswith(NOT_BEGUN))]
