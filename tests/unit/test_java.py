"""What Java 17 does in its own way, as its own output shows it."""

from __future__ import annotations

import pytest

from cdc.formats.postgres.java import digits_of_float, order_of_numbers, order_of_texts

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
