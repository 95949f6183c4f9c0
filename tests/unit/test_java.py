"""What Java 17 does in its own way, as its own output shows it."""

from __future__ import annotations

import pytest

from cdc.formats.postgres.java import (
    digits_of_float,
    interval_seconds,
    order_of_numbers,
    order_of_texts,
    sql_timestamp,
    sql_timestamp_fields,
)

FLOATS = [
    # From `System.out.println` of Java 17: value, size, digits and scale.
    ("1e23", 8, b"9999999999999999", 23),
    ("2e23", 8, b"19999999999999998", 24),
    ("5e-324", 8, b"49", -323),
    ("5.684341886080802e-14", 8, b"56843418860808015", -13),
    ("4611686018427387904", 8, b"46116860184273879", 19),
    ("1234567890123456789", 8, b"123456789012345677", 19),
    ("9007199254740992", 8, b"9007199254740992", 16),
    ("1e-45", 4, b"14", -44),
    ("1.1754944e-38", 4, b"117549435", -37),
    ("20000000512", 4, b"2", 11),
    ("1.3653699e10", 4, b"136536986", 11),
    ("81585328", 4, b"81585328", 8),
]


@pytest.mark.parametrize(("text", "size", "digits", "scale"), FLOATS)
def test_floats_have_java_s_digits(text: str, size: int, digits: bytes, scale: int) -> None:
    assert digits_of_float(text.encode(), size) == (digits, scale)


@pytest.mark.parametrize(("text", "size"), [("1e999", 8), ("1e-999", 8), ("1e39", 4), ("1e-60", 4)])
def test_a_number_that_no_float_is_is_refused(text: str, size: int) -> None:
    with pytest.raises(ValueError, match="not a number that the type holds"):
        digits_of_float(text.encode(), size)


def test_texts_come_in_the_order_of_a_java_hash_map() -> None:
    assert order_of_texts(["key", "k2"]) == [1, 0]
    twenty = [f"key{number}" for number in range(1, 21)]
    assert [place + 1 for place in order_of_texts(twenty)][:9] == [1, 2, 5, 6, 3, 4, 9, 7, 8]


def test_keys_of_one_hash_stay_as_they_came() -> None:
    assert order_of_texts(["AaAa", "BBBB", "AaBB"]) == [0, 1, 2]


def test_numbers_come_by_the_size_of_the_map_that_they_were_counted_for() -> None:
    assert order_of_numbers([1, 3]) == [0, 1]
    assert order_of_numbers([3, 4]) == [1, 0]


OLD = [
    # What Debezium 3.6.3 makes of elements of timestamp[].
    (b"0044-03-15 12:00:00 BC", b"0044-03-13 12:00:00 BC"),
    (b"0001-12-31 23:59:59 BC", b"0001-12-29 23:59:59 BC"),
    (b"4713-11-25 00:00:00 BC", b"4713-10-18 00:00:00 BC"),
    (b"0001-01-01 00:00:00", b"0001-12-30 00:00:00 BC"),
    (b"0004-03-01 00:00:00", b"0004-02-28 00:00:00"),
    (b"0100-03-01 10:00:00", b"0100-02-28 10:00:00"),
    (b"0423-06-27 00:00:00.195319", b"0423-06-28 00:00:00.195319"),
    (b"1500-03-01 00:00:00.5", b"1500-03-11 00:00:00.5"),
    (b"1582-10-04 23:00:00", b"1582-10-14 23:00:00"),
    (b"1582-10-14 23:59:59", b"1582-10-24 23:59:59"),
    (b"1582-10-15 00:00:00", b"1582-10-15 00:00:00"),
]


@pytest.mark.parametrize(("text", "instant"), OLD)
def test_old_dates_are_julian_ones_in_java(text: bytes, instant: bytes) -> None:
    assert sql_timestamp(text) == instant


def test_the_fields_of_an_old_date_have_no_era_and_no_ten_days() -> None:
    assert sql_timestamp_fields(b"0044-03-15 12:00:00+00 BC") == b"0044-03-15 12:00:00+00"
    assert sql_timestamp_fields(b"0005-02-29 12:00:00+00 BC") == b"0005-03-01 12:00:00+00"
    assert sql_timestamp_fields(b"0004-02-29 12:00:00+00") == b"0004-02-29 12:00:00+00"
    assert sql_timestamp_fields(b"1582-10-05 01:00:00+00") == b"1582-10-15 01:00:00+00"
    assert sql_timestamp_fields(b"1582-10-04 01:00:00+00") == b"1582-10-04 01:00:00+00"


def test_no_day_is_no_date() -> None:
    for text in (b"1500-13-01 00:00:00", b"1500-00-01 00:00:00", b"1500-01-32 00:00:00", b"150x-01-01 00:00:00"):
        with pytest.raises(ValueError, match=r"no such day|invalid literal"):
            sql_timestamp(text)


def test_seconds_of_an_interval_are_cut_where_a_double_is_below_them() -> None:
    # From Debezium 3.6.3.
    assert interval_seconds(True, 13_854_622) == b"-13.854621999"
