"""What is said of WAL that is held back: the cause, the warning, the limit, the age of what is not confirmed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.postgres_wal.options import RetainedWalSettings
from connectors.postgres_wal.retention import Ages, Cause, Held, Retention, Writer, cause_of

MIB = 1024 * 1024
HELD = Held(
    active=True,
    status="reserved",
    safe=None,
    retained=0,
    unconfirmed=0,
    confirmed="0/1",
    now="1/0",
    now_bytes=2**32,
    inactive_seconds=None,
)
BEHIND = Cause("behind", "the stream is behind")


class Noted:
    """A log that keeps what it is told."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.infos: list[str] = []

    def warning(self, event: str, **details: Any) -> None:
        self.warnings.append(event)

    def info(self, event: str, **details: Any) -> None:
        self.infos.append(event)


@pytest.fixture
def log() -> Noted:
    return Noted()


@pytest.fixture
def retention(log: Noted) -> Retention:
    return Retention(RetainedWalSettings(warn_at=100 * MIB), "cdc_shop", "shop", log=log)


def held(mib: int, **more: Any) -> Held:
    return replace(HELD, **{"retained": mib * MIB, "unconfirmed": mib * MIB, **more})


def test_it_warns_once_and_again_only_when_the_cause_is_another_one(retention: Retention, log: Noted) -> None:
    for number in range(3):
        figures = retention.judge(held(100 + number), Cause("behind", f"the stream is {number} behind"))
        assert (
            figures["wal_warning"]
            == f"slot cdc_shop holds back {100 + number}.0 MiB of WAL: the stream is {number} behind"
        )
    assert len(log.warnings) == 1
    for _ in range(2):
        retention.judge(held(120), Cause("kafka", "Kafka is away"))
        retention.judge(held(120), Cause("behind", "the stream is behind"))
    assert log.warnings[1:] == ["slot cdc_shop holds back 120.0 MiB of WAL: Kafka is away"]


def test_it_says_when_it_is_over_and_does_not_flicker_at_the_limit(retention: Retention, log: Noted) -> None:
    for mib in (100, 99, 101, 81):
        assert retention.judge(held(mib), BEHIND)["wal_warning"]
    assert (len(log.warnings), log.infos) == (1, [])
    assert retention.judge(held(79), BEHIND)["wal_warning"] is None
    assert retention.judge(held(99), BEHIND)["wal_warning"] is None
    assert (len(log.warnings), len(log.infos)) == (1, 1)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (held(60, safe=10 * MIB), "the server gives the slot up after 10.0 MiB more"),
        (held(60, status="unreserved", safe=-5), "the server gives the slot up after 0 B more"),
        (held(0, status="lost", retained=None), "the server has given up slot cdc_shop"),
    ],
)
def test_what_the_server_allows_counts_too(retention: Retention, state: Held, says: str) -> None:
    assert says in str(retention.judge(state, BEHIND)["wal_warning"])


def test_with_little_held_back_there_is_nothing_to_say(retention: Retention) -> None:
    assert retention.judge(held(1, safe=1000 * MIB), None)["wal_warning"] is None


@pytest.mark.parametrize(
    ("given", "kind", "says"),
    [
        ({"held": held(9, active=False), "why": "Kafka is away"}, "unread", "nobody reads the slot: Kafka is away"),
        ({"trailing": True, "writer": Writer("transaction of pid 7 (psql)", 7380.0)}, "transaction", "for 2 h 3 min"),
        ({"trailing": True, "writer": Writer("transaction of pid 7", None)}, "transaction", "pg_read_all_stats"),
        ({"trailing": True, "writer": Writer("transaction of pid 7", 3.0)}, "server", "every 15 s"),
        ({"trailing": True}, "server", "every 15 s"),
        ({"publishing_seconds": 252.0, "held_for": "public.t"}, "kafka", "not stored a batch for 4 min 12 s"),
        ({"publishing_seconds": 0.2, "held_for": "public.t"}, "snapshot", "waits for the rows of public.t"),
        ({"publishing_seconds": 0.2}, "behind", "the stream is 9.0 MiB behind"),
    ],
)
def test_the_cause_is_named(given: dict[str, Any], kind: str, says: str) -> None:
    nothing = {"held": held(9), "trailing": False, "writer": None, "why": None}
    cause = cause_of(**{**nothing, "publishing_seconds": None, "held_for": None, **given})
    assert cause.kind == kind
    assert says in cause.text


def test_the_age_is_that_of_the_oldest_wal_behind_what_is_confirmed() -> None:
    ages = Ages()
    assert ages.seconds(0, 100, 100) == 0
    assert ages.seconds(10, 200, 100) == 0, "it came since the last look"
    assert ages.seconds(20, 300, 100) == 10
    assert ages.seconds(30, 300, 199) == 20
    assert ages.seconds(40, 300, 200) == 20
    assert ages.seconds(50, 300, 300) == 0


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 60)), max_size=1000))
def test_the_age_is_never_more_than_it_is_and_at_most_one_look_less(steps: list[tuple[int, int]]) -> None:
    ages, written, confirmed = Ages(), 0, 0
    history: list[int] = []  # where the WAL was at each second
    for now, (more, stored) in enumerate(steps):
        written += more
        confirmed = min(written, confirmed + stored)
        history.append(written)
        true = next((now - second for second, lsn in enumerate(history) if lsn > confirmed), 0)
        assert ages.seconds(now, written, confirmed) == true


def test_a_slot_that_nobody_reads_is_as_old_as_the_server_says(retention: Retention) -> None:
    figures = retention.judge(held(1, active=False, inactive_seconds=500.0), None)
    assert figures["unconfirmed_seconds"] == 500.0


def test_what_is_remembered_of_ages_is_bounded() -> None:
    ages = Ages()
    for now in range(10_000):
        assert ages.seconds(now, now + 1, 0) == now
    assert len(ages._samples) < 1000
