"""When a `sql_poll` connector polls: durations and cron lines, windows without polls, and clocks that jump."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from cdc.errors import ConfigError
from connectors.sql_poll.due import Cron, read
from connectors.sql_poll.schedule import Schedule
from connectors.sql_poll.settings import SqlPollSettings

BERLIN = ZoneInfo("Europe/Berlin")
SPRING = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
"""Clocks in Berlin go from 02:00 to 03:00."""
AUTUMN = datetime(2026, 10, 25, 1, 0, tzinfo=UTC)
"""Clocks in Berlin go from 03:00 back to 02:00."""

moments = st.one_of(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)).map(lambda naive: naive.replace(tzinfo=UTC)),
    st.builds(
        lambda jump, seconds: jump + timedelta(seconds=seconds),
        st.sampled_from([SPRING, AUTUMN]),
        st.integers(-100_000, 100_000),
    ),
)
times = st.builds(time, st.integers(0, 23), st.sampled_from([0, 1, 15, 30, 59]))
window_lists = st.lists(st.tuples(times, times).filter(lambda pair: pair[0] != pair[1]), max_size=3)
schedules = st.sampled_from(["100ms", "5s", "10m", "1d", "* * * * *", "*/20 * * * *", "30 2 * * *", "0 9 * * mon-fri"])


def section(schedule: str = "10m", **more: Any) -> SqlPollSettings:
    return SqlPollSettings.model_validate({"database": "d", "tables": ["public.t"], "schedule": schedule, **more})


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def berlin(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).astimezone(UTC)


def runs(schedule: Schedule, after: datetime, count: int) -> list[datetime]:
    """The next polls, if none takes any time."""
    found: list[datetime] = []
    while len(found) < count:
        after = schedule.next(after, after)
        found.append(after)
    return found


def inside(windows: list[tuple[time, time]], moment: datetime) -> bool:
    """Whether local clocks show a time that one of the windows holds."""
    wall = moment.astimezone(BERLIN).time()
    return any(start <= wall < end if start < end else wall >= start or wall < end for start, end in windows)


def written(windows: list[tuple[time, time]]) -> list[str]:
    return [f"{start:%H:%M}-{end:%H:%M}" for start, end in windows]


class Refuses:
    """A random number that nobody may ask for."""

    def uniform(self, low: float, high: float) -> float:
        assert (low, high) == (0, 0)
        return 0.0


@given(schedules, window_lists, st.integers(0, 7200), moments, st.integers(0, 200_000), st.integers())
def test_the_next_poll_is_never_in_the_past_nor_inside_a_window(
    line: str, windows: list[tuple[time, time]], jitter: int, after: datetime, took: int, seed: int
) -> None:
    try:
        schedule = Schedule(
            section(line, not_between=written(windows), jitter=jitter, time_zone="Europe/Berlin"), Random(seed)
        )
    except ConfigError:
        assume(False)
    now = after + timedelta(seconds=took)
    found = schedule.next(after, now)
    assert found >= now
    assert not inside(windows, found)
    assert schedule.paused(found) is None
    assert not inside(windows, schedule.first(now))


@given(window_lists, moments)
def test_a_pause_lasts_until_a_moment_outside_all_windows(windows: list[tuple[time, time]], now: datetime) -> None:
    try:
        schedule = Schedule(section(not_between=written(windows), time_zone="Europe/Berlin"))
    except ConfigError:
        assume(False)
    until = schedule.paused(now)
    assert until is not None or not inside(windows, now)
    if until is not None:
        assert until > now
        assert not inside(windows, until)
        just_before = until - timedelta(microseconds=1)
        # Of an end that clocks show twice, as they are set back, the later one counts.
        assert inside(windows, just_before) or until.astimezone(BERLIN).fold == 1


@given(st.sampled_from(["100ms", "5s", "10m"]), st.integers(0, 60), moments, st.integers())
def test_jitter_makes_a_poll_later_by_no_more_than_that(line: str, jitter: int, after: datetime, seed: int) -> None:
    plain = Schedule(section(line)).next(after, after)
    late = Schedule(section(line, jitter=jitter), Random(seed)).next(after, after) - plain
    assert timedelta(0) <= late <= timedelta(seconds=jitter)


@pytest.mark.parametrize(("line", "seconds"), [("100ms", 0.1), ("5s", 5), ("10m", 600), ("1.5h", 5400), ("30", 30)])
def test_an_interval_is_counted_from_the_begin_of_the_last_poll(line: str, seconds: float) -> None:
    began = utc("2026-05-01 12:00")
    schedule = Schedule(section(line), Refuses())  # type: ignore[arg-type]
    assert schedule.next(began, began + timedelta(seconds=seconds / 2)) == began + timedelta(seconds=seconds)


@pytest.mark.parametrize("line", ["10m", "*/10 * * * *"])
def test_polls_missed_while_one_ran_long_become_one_that_begins_at_once(line: str) -> None:
    schedule = Schedule(section(line))
    began, ended = utc("2026-05-01 12:00"), utc("2026-05-01 14:03:20")
    assert schedule.next(began, ended) == ended
    assert schedule.next(ended, ended) > ended


def test_the_first_poll_of_an_interval_begins_at_once() -> None:
    schedule = Schedule(section("1d", jitter="1h"))
    assert not schedule.waits_first
    assert schedule.first(utc("2026-05-01 12:00")) == utc("2026-05-01 12:00")


def test_the_first_poll_of_a_cron_line_waits_for_its_match() -> None:
    schedule = Schedule(section("30 14 * * *"))
    assert schedule.waits_first
    assert schedule.first(utc("2026-05-01 12:00")) == utc("2026-05-01 14:30")


def test_the_first_poll_waits_for_the_end_of_a_window() -> None:
    schedule = Schedule(section("5s", not_between=["11:00-12:30"]))
    assert schedule.first(utc("2026-05-01 12:00")) == utc("2026-05-01 12:30")


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-05-01 21:59:59", None),
        ("2026-05-01 22:00", "2026-05-02 06:00"),
        ("2026-05-02 00:00", "2026-05-02 06:00"),
        ("2026-05-02 05:59:59", "2026-05-02 06:00"),
        ("2026-05-02 06:00", None),
    ],
)
def test_a_window_may_pass_midnight(now: str, until: str | None) -> None:
    schedule = Schedule(section(not_between=["22:00-06:00"], time_zone="Europe/Berlin"))
    assert schedule.paused(berlin(now)) == (berlin(until) if until is not None else None)


def test_windows_that_adjoin_or_overlap_are_one() -> None:
    schedule = Schedule(section(not_between=["22:00-00:00", "00:00-02:00", "01:30-04:00"]))
    assert schedule.paused(utc("2026-05-01 23:00")) == utc("2026-05-02 04:00")


@pytest.mark.parametrize("windows", [["00:00-12:00", "11:00-00:00"], ["05:00-05:00"]])
def test_windows_that_leave_no_time_are_refused(windows: list[str]) -> None:
    with pytest.raises(ConfigError, match="leaves no time for a poll"):
        Schedule(section(not_between=windows))


def test_a_window_whose_end_the_clock_skips_ends_when_it_jumps() -> None:
    schedule = Schedule(section(not_between=["01:30-02:30"], time_zone="Europe/Berlin"))
    assert schedule.paused(berlin("2026-03-29 01:45")) == SPRING


def test_a_window_whose_start_the_clock_skips_begins_when_it_jumps() -> None:
    schedule = Schedule(section(not_between=["02:30-04:00"], time_zone="Europe/Berlin"))
    assert schedule.paused(SPRING - timedelta(seconds=1)) is None
    assert schedule.paused(SPRING) == berlin("2026-03-29 04:00")


@given(st.integers(-10_000, 10_000))
def test_a_window_that_the_clock_skips_whole_is_left_out(seconds: int) -> None:
    schedule = Schedule(section(not_between=["02:10-02:50"], time_zone="Europe/Berlin"))
    assert schedule.paused(SPRING + timedelta(seconds=seconds)) is None


@pytest.mark.parametrize("window", ["01:00-02:30", "02:15-02:30"])
def test_a_window_that_ends_in_an_hour_that_comes_twice_ends_in_the_later_one(window: str) -> None:
    schedule = Schedule(section(not_between=[window], time_zone="Europe/Berlin"))
    until = berlin("2026-10-25 02:30", fold=1)
    assert schedule.paused(berlin("2026-10-25 02:20")) == until
    assert schedule.paused(berlin("2026-10-25 02:45")) == until


def test_a_window_that_starts_in_an_hour_that_comes_twice_starts_in_the_earlier_one() -> None:
    schedule = Schedule(section(not_between=["02:30-04:00"], time_zone="Europe/Berlin"))
    assert schedule.paused(berlin("2026-10-25 02:30")) == berlin("2026-10-25 04:00")
    assert schedule.paused(berlin("2026-10-25 02:00", fold=1)) == berlin("2026-10-25 04:00")


def test_a_day_that_a_zone_leaves_out_ends_no_search() -> None:
    schedule = Schedule(section(not_between=["22:00-06:00"], time_zone="Pacific/Apia"))
    # At midnight after the 29th it was the 31st; the zone was 10 hours behind UTC, then 14 ahead.
    assert schedule.paused(utc("2011-12-30 09:00")) == utc("2011-12-30 16:00")


@pytest.mark.parametrize("line", ["*/20 * * * *", "* * * * *", "0 * * * *"])
@pytest.mark.parametrize("jump", [SPRING, AUTUMN])
def test_a_line_for_every_hour_keeps_its_pace_over_a_jump_of_the_clock(line: str, jump: datetime) -> None:
    found = runs(Schedule(section(line, time_zone="Europe/Berlin")), jump - timedelta(hours=3), 400)
    assert len({later - earlier for earlier, later in pairwise(found)}) == 1


def test_a_daily_poll_at_a_time_that_the_clock_skips_is_made_up_for_that_day() -> None:
    schedule = Schedule(section("30 2 * * *", time_zone="Europe/Berlin"))
    assert runs(schedule, berlin("2026-03-28 12:00"), 2) == [berlin("2026-03-29 03:30"), berlin("2026-03-30 02:30")]


def test_a_daily_poll_at_a_time_that_comes_twice_is_made_twice() -> None:
    schedule = Schedule(section("30 2 * * *", time_zone="Europe/Berlin"))
    assert runs(schedule, berlin("2026-10-24 12:00"), 3) == [
        berlin("2026-10-25 02:30"),
        berlin("2026-10-25 02:30", fold=1),
        berlin("2026-10-26 02:30"),
    ]


@pytest.mark.parametrize(
    ("weekdays", "days"),
    [
        ("mon-fri", "Mon Tue Wed Thu Fri"),
        ("1-5", "Mon Tue Wed Thu Fri"),
        ("0", "Sun"),
        ("7", "Sun"),
        ("SUN", "Sun"),
        ("sat-sun", "Sat Sun"),
        ("6-7", "Sat Sun"),
        ("0-2", "Mon Tue Sun"),
        ("sun-thu/2", "Tue Thu Sun"),
        ("*/2", "Tue Thu Sat Sun"),
        ("mon,wed,5", "Mon Wed Fri"),
        ("*", "Mon Tue Wed Thu Fri Sat Sun"),
    ],
)
def test_weekdays_are_those_of_crontab(weekdays: str, days: str) -> None:
    monday = utc("2026-05-04 00:00")
    found = runs(Schedule(section(f"0 8 * * {weekdays}")), monday, len(days.split()))
    assert [f"{moment:%a}" for moment in found] == days.split()
    assert found[-1] < monday + timedelta(days=7)


def test_months_have_names_too() -> None:
    schedule = Schedule(section("0 0 1 Jan,apr-may *"))
    assert [f"{moment:%m-%d}" for moment in runs(schedule, utc("2026-02-01"), 4)] == [
        "04-01",
        "05-01",
        "01-01",
        "04-01",
    ]


def test_of_a_day_and_a_weekday_either_is_enough() -> None:
    schedule = Schedule(section("0 0 13 * fri"))
    found = runs(schedule, utc("2026-05-01 12:00"), 4)
    assert [f"{moment:%a %d}" for moment in found] == ["Fri 08", "Wed 13", "Fri 15", "Fri 22"]


def test_a_day_that_never_comes_does_not_hold_a_weekday_up() -> None:
    assert runs(Schedule(section("0 0 30 2 mon")), utc("2026-02-01"), 1) == [utc("2026-02-02")]


@given(
    st.sampled_from(["*", "0", "*/7", "5-50/15", "1,2,59"]),
    st.sampled_from(["*", "2", "*/5", "0-3", "23"]),
    st.sampled_from(["*", "1", "28-31", "*/10"]),
    st.sampled_from(["*", "2", "mar,oct"]),
    st.sampled_from(["*", "mon-fri", "0", "*/3"]),
    moments,
)
def test_a_cron_line_is_due_when_clocks_match_it_and_not_before(
    minute: str, hour: str, day: str, month: str, weekday: str, after: datetime
) -> None:
    due = read(" ".join((minute, hour, day, month, weekday)), UTC)
    assert isinstance(due, Cron)
    found = due.after(after)
    expected = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
    fields = (minute, hour, day, month, weekday)
    while not matches(fields, expected):
        # By days where the date does not match, so that February is reached.
        whole = not matches(("*", "*", day, month, weekday), expected)
        expected = expected.replace(hour=0, minute=0) + timedelta(days=1) if whole else expected + timedelta(minutes=1)
    assert found == expected


def matches(fields: tuple[str, ...], moment: datetime) -> bool:
    """crontab(5), said the plain way."""
    minute, hour, days, month, weekday = fields
    names = {"mon": 1, "fri": 5, "mar": 3, "oct": 10}

    def holds(text: str, value: int, first: int, last: int) -> bool:
        for part in text.split(","):
            numbers, _, step = part.partition("/")
            low, _, high = ("*" if numbers == "*" else numbers).partition("-")
            low_number = first if low == "*" else int(names.get(low, low))
            high_number = last if low == "*" else int(names.get(high, high)) if high else low_number
            if value in range(low_number, high_number + 1, int(step or 1)):
                return True
        return False

    on_day = holds(days, moment.day, 1, 31)
    on_weekday = holds(weekday, moment.isoweekday() % 7, 0, 6)
    either = not days.startswith("*") and not weekday.startswith("*")
    return (
        holds(minute, moment.minute, 0, 59)
        and holds(hour, moment.hour, 0, 23)
        and holds(month, moment.month, 1, 12)
        and (on_day or on_weekday if either else on_day and on_weekday)
    )


@pytest.mark.parametrize("line", ["5s", "500ms", "1.5h", "30", 30, "*/5 8-18 * * mon-fri", " 0 0 1 * * ", "0 0 29 2 *"])
def test_durations_and_cron_lines_are_taken(line: Any) -> None:
    assert section(line).schedule == str(line)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "must be a duration, such as 5s, or a cron line of five fields"),
        ("often", "must be a duration, such as 5s, or a cron line of five fields"),
        ("@hourly", "must be a duration, such as 5s, or a cron line of five fields"),
        ("0 */5 * * * *", "must be a duration, such as 5s, or a cron line of five fields"),
        ("0s", "must be from 1ms to 366d"),
        ("9" * 400, "must be from 1ms to 366d"),
        ("60 * * * *", "minute: 60 is not 0-59"),
        ("0 24 * * *", "hour: 24 is not 0-23"),
        ("0 0 0 * *", "day: 0 is not 1-31"),
        ("0 0 * marchy *", "month: marchy is not 1-12 or jan-dec"),
        ("0 0 * * 8", "weekday: 8 is not 0-7 or sun-sat"),
        ("0 0 * * fri-mon", "weekday: fri-mon runs backwards"),
        ("0 22-6 * * *", "hour: 22-6 runs backwards"),
        ("*/90 * * * *", r"minute: \*/90 needs a range that its step fits into, such as 0-59/2"),
        ("5/15 * * * *", "minute: 5/15 needs a range"),
        ("*/0 * * * *", r"minute: \*/0 needs a range"),
        ("0 0 L * *", "day: l is not 1-31"),
        ("0 0 * * mon#1", "weekday: 'mon#1' is no number, range, or step"),
        ("0,, * * * *", "minute: '' is no number"),
        ("0 0 30 2 *", "never comes: no 30 in month 2"),
    ],
)
def test_what_is_neither_a_duration_nor_a_cron_line_is_refused(line: str, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        section(line)


@given(st.text(max_size=30) | st.from_regex(r"\A[\d*/,\-a-z]+( [\d*/,\-a-z]{1,6}){4}\Z"))
def test_no_text_breaks_the_check(line: str) -> None:
    with suppress(ValidationError):
        section(line)
