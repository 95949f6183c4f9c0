"""What a look at a source's clock says, and what is said of one that was set."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from connectors.sql_poll.clock import Look, steady

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def look(now: float, oldest: float | None = None, *, prepared: bool = False, wall: float | None = None) -> Look:
    """One so many seconds later than `NOW`; our clock goes as the source's does unless told otherwise."""
    begun = now if oldest is None else oldest
    moments = (NOW + timedelta(seconds=now), NOW + timedelta(seconds=begun))
    return Look(*moments, prepared, wall=now if wall is None else wall)


@pytest.mark.parametrize(
    ("now", "wall", "back"),
    [(10, 10, False), (0, 10, True), (-5, 10, True), (8.5, 10, True), (9.5, 10, False), (3600, 10, False)],
)
def test_a_clock_that_went_slower_than_ours_was_set_back(now: float, wall: float, back: bool) -> None:
    before = look(0).as_json(None)
    assert look(now, wall=wall).set_back(before) is back


def test_our_own_clock_goes_on_when_the_machines_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = look(0, wall=steady()).as_json(None)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert steady() >= before["wall"]
    assert Look(NOW, NOW).set_back(look(0, wall=steady() - 10).as_json(None))


def test_of_what_is_prepared_it_is_known_since_when_it_was_not_there() -> None:
    first = look(0, -3).as_json(None)
    second = look(10, 9, prepared=True).as_json(first)
    assert second["oldest"] == first["oldest"]
    assert look(20, 19, prepared=True).as_json(second)["oldest"] == first["oldest"]


def test_of_what_is_prepared_while_the_clock_is_set_back_nothing_is_known() -> None:
    first = look(0).as_json(None)
    assert look(-20, -20, prepared=True, wall=1).as_json(first)["oldest"] is None
    assert look(1, prepared=True).as_json(None)["oldest"] is None
