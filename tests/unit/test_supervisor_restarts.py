"""When a worker is started again, and after which pause."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from cdc.restarts import Ending, Pauses, Restarts, ending

PAUSES = Pauses(first=0.2, longest=30, well=60)


def retrying(error_type: str = "BrokerUnavailable") -> Ending:
    error = {"type": error_type, "message": "m", "hint": None, "retriable": True, "exit_code": 1}
    return Ending("retrying", error)


def middle() -> float:
    return 0.5


def test_pauses_double_up_to_the_longest() -> None:
    restarts = Restarts(PAUSES, middle)
    pauses = [restarts.after(retrying(), now, None)[1] for now in range(10)]
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30]


def test_pauses_are_spread() -> None:
    assert Restarts(PAUSES, lambda: 0.0).after(retrying(), 0, None)[1] == pytest.approx(0.15)
    assert Restarts(PAUSES, lambda: 0.999).after(retrying(), 0, None)[1] == pytest.approx(0.25, rel=0.01)


def test_a_minute_well_starts_the_pauses_anew() -> None:
    restarts = Restarts(PAUSES, middle)
    for now in range(5):
        restarts.after(retrying(), now, None)
    assert restarts.after(retrying(), 100, well_since=41)[1] == 6.4
    assert restarts.after(retrying(), 200, well_since=140)[1] == 0.2


def test_one_fence_is_a_timeout_and_two_far_apart_too() -> None:
    restarts = Restarts(PAUSES, middle)
    assert restarts.after(retrying("Fenced"), 0, None)[0].state == "retrying"
    assert restarts.after(retrying("Fenced"), 61, None)[0].state == "retrying"
    verdict, pause = restarts.after(retrying("Fenced"), 120, None)
    assert (verdict.state, pause) == ("failed", None)


def test_who_waited_for_another_copy_is_no_rival_of_it() -> None:
    restarts = Restarts(PAUSES, middle)
    for now in range(0, 50, 10):
        assert restarts.after(retrying("Fenced"), now, None, waited=True)[0].state == "retrying"
    assert restarts.after(retrying("Fenced"), 55, None)[0].state == "failed"


@pytest.mark.parametrize("state", ["gap", "failed", "stopped"])
def test_what_ended_for_good_is_not_started_again(state: str) -> None:
    end = Ending(state, {"type": "X", "message": "m"})
    assert Restarts(PAUSES).after(end, 0, None) == (end, None)


def test_internal_errors_that_differ_are_retried() -> None:
    restarts = Restarts(PAUSES, middle)
    for number in range(20):
        error = {"type": "InternalError", "message": f"at line {number}"}
        assert restarts.after(Ending("retrying", error), number, None)[0].state == "retrying"


@pytest.mark.parametrize(
    ("report", "returncode", "state", "says"),
    [
        ({"ended": True, "state": "gap", "error": {"message": "slot lost"}}, 3, "gap", "slot lost"),
        ({"ended": True, "state": "stopped", "error": None}, 0, "stopped", ""),
        ({"state": "streaming"}, -signal.SIGSEGV, "retrying", "SIGSEGV"),
        ({"state": "streaming"}, -signal.SIGKILL, "retrying", "SIGKILL"),
        ({"state": "streaming"}, 0, "retrying", "exit code 0"),
        ({"position": "A/1"}, 1, "retrying", "exit code 1 before it reported anything"),
    ],
)
def test_how_a_process_ended(report: dict[str, Any], returncode: int, state: str, says: str) -> None:
    found = ending(report, returncode)
    assert found.state == state
    assert says in (found.error or {"message": ""})["message"]
