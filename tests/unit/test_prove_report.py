"""`cdc prove`: which faults are chosen, how often they strike, what the table says of them."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from random import Random

import orjson
import pytest
from rich.console import Console

from cdc.commands.prove import choose
from cdc.errors import ConfigError
from cdc.prove.fault import Fault
from cdc.prove.faults import ALL
from cdc.prove.prover import LeftOut, Result
from cdc.prove.report import COLUMNS, Report, Run, cells, document, markdown, page, read, show
from cdc.prove.stage import Stage


def strike(stage: Stage, rng: Random) -> None:
    raise NotImplementedError


CUT = Fault("cut", "a cable is cut", strike)
GOOD = Result(CUT, 3, 12_345, {"lost": 0, "twice": 0}, recovered=[1.04, 3.0, 2.0])
BAD = Result(CUT, 1, 10, {"lost": 2, "torn": 1}, different=4, broken=["the sink stays down"])


def report(*results: Result) -> Report:
    left_out = [LeftOut(Fault("moved", "a clock is moved", strike), "no C compiler here")]
    run = Run("cdc prove --seed 1", "PostgreSQL 18.6", datetime(2026, 1, 2, tzinfo=UTC), 90.0, ("cut",))
    return Report([run], results, left_out)


def shown(of: Report) -> str:
    console = Console(file=io.StringIO(), width=200)
    show(of, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_fault_has_a_name_of_its_own() -> None:
    assert len({fault.name for fault in ALL}) == len(ALL) > 30


def test_a_promise_is_held_when_nothing_is_counted_and_nothing_broken() -> None:
    assert GOOD.held
    assert not BAD.held
    assert not Result(CUT, broken=["it stayed down"]).held
    assert not Result(CUT, different=1).held
    assert not Result(CUT, counts={"twice": 1}).held


def test_the_table_counts() -> None:
    assert dict(zip(COLUMNS, cells(GOOD), strict=True)) == {
        "fault": "cut", "rounds": "3", "events": "12,345", "lost": "0", "duplicated": "0", "out of order": "0",
        "phantom": "0", "altered": "0", "sink difference": "0", "recovered, s (median)": "2.0", "(worst)": "3.0",
    }  # fmt: skip
    assert cells(BAD)[3:] == ["2", "0", "0", "0", "1", "4", "", ""], "torn transactions count as altered"


def test_the_page_holds_the_command_the_sums_and_what_was_left_out() -> None:
    said = markdown(report(GOOD, BAD))
    assert "    cdc prove --seed 1\n" in said
    assert "| **all** | **4** | **12,355** | **2** |" in said
    assert "cut: BROKEN: the sink stays down" in said
    assert "`moved` (a clock is moved): no C compiler here" in said
    assert "PROMISES WERE BROKEN" in said


def test_a_page_keeps_what_stands_above_its_last_run() -> None:
    first = page(report(BAD), "# Ours\n\nWords.\n\n## The last full run\n\nold\n")
    assert first.startswith("# Ours\n\nWords.\n\n## The last full run\n\n    cdc prove --seed 1\n")
    assert "old" not in first
    assert page(report(BAD), first) == first
    assert page(report(BAD), "").startswith("# What was proven\n")


def test_the_terminal_and_the_document_say_the_same() -> None:
    said = shown(report(GOOD, BAD))
    assert "PROMISES WERE BROKEN" in said
    assert "left out: moved: no C compiler here" in said
    assert "every promise held" in shown(report(GOOD))
    programs = document(report(GOOD, BAD))
    assert programs["held"] is False
    assert [fault["held"] for fault in programs["faults"]] == [True, False]
    assert programs["faults"][1]["counts"]["lost"] == 2
    assert programs["left_out"][0]["why"] == "no C compiler here"


@pytest.mark.parametrize(
    ("rounds", "fault", "strikes"),
    [
        (1, CUT, 1),
        (4, CUT, 4),
        (4, Fault("a", "", strike, times=5), 20),
        (1, Fault("a", "", strike, rounds=8), 8),
        (9, Fault("a", "", strike, most=2), 2),
    ],
)
def test_how_often_a_fault_strikes(rounds: int, fault: Fault, strikes: int) -> None:
    assert fault.strikes(rounds) == strikes


def test_faults_are_chosen_by_name_and_pattern_in_their_own_order() -> None:
    names = [fault.name for fault in choose(ALL, "walsender-terminated, *-killed")]
    assert names == [name for name in (fault.name for fault in ALL) if name in names]
    assert {"walsender-terminated", "connector-killed", "kafka-killed"} < set(names)
    with pytest.raises(ConfigError, match="conector-killed") as refused:
        choose(ALL, "conector-killed")
    assert "did you mean connector-killed?" in str(refused.value)


def test_a_report_that_is_added_to_keeps_the_other_faults_and_both_commands() -> None:
    first, other = ALL[0], ALL[1]
    run = Run("cdc prove", "Kafka", datetime(2026, 1, 1, tzinfo=UTC), 60.0, (first.name, other.name))
    before = Report([run], [Result(first, 2, 20, broken=["it stayed down"]), Result(other, 3, 30)], [])
    again = replace(run, command="cdc prove --faults one", faults=(first.name,))
    read_back = read(orjson.loads(orjson.dumps(document(before))), ALL)
    added = Report([again], [Result(first, 5, 50, {"lost": 0})], []).added_to(read_back, ALL)
    assert [(result.fault, result.rounds) for result in added.results] == [(first, 5), (other, 3)]
    assert [run.faults for run in added.runs] == [(other.name,), (first.name,)]
    assert added.held
    assert "    cdc prove\n    cdc prove --faults one\n" in markdown(added)


def test_what_is_no_report_is_not_added_to() -> None:
    with pytest.raises(ValueError, match="not a report"):
        read({"command": "cdc prove"}, ALL)
