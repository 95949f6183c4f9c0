"""What Java 17, on which Debezium runs, does in its own way: orders of maps, digits of floats, old dates. Pure."""

from __future__ import annotations

import math
import struct
from calendar import isleap
from collections.abc import Sequence
from decimal import ROUND_DOWN, Decimal


def order_of_texts(keys: Sequence[str]) -> list[int]:
    """Places of the keys, put into `new HashMap<>()` one by one, as it gives them back."""
    return _order([_string_hash(key) for key in keys], 16)


def order_of_numbers(keys: Sequence[int]) -> list[int]:
    """The same for `new HashMap<Short, …>(len(keys))`."""
    capacity = 1
    while capacity < len(keys):
        capacity *= 2
    return _order(keys, capacity)


def _order(hashes: Sequence[int], capacity: int) -> list[int]:
    """By bucket of the final table, inside of one as they were put; but buckets of eight became trees."""
    while len(hashes) > capacity * 3 // 4:
        capacity *= 2
    return sorted(range(len(hashes)), key=lambda place: (hashes[place] ^ hashes[place] >> 16) & (capacity - 1))


def _string_hash(text: str) -> int:
    """`String.hashCode`, over UTF-16, as an unsigned number."""
    units = text.encode("utf-16-le")
    value = 0
    for at in range(0, len(units), 2):
        value = (value * 31 + units[at] + (units[at + 1] << 8)) & 0xFFFFFFFF
    return value


def sql_timestamp(text: bytes) -> bytes:
    """The text of a timestamp from java.sql.Timestamp's instant: dates before 1582-10-15 are taken for Julian ones."""
    year, month, day, rest = _date_parts(text)
    if (year, month, day) >= _FIRST_GREGORIAN:
        return text
    # Years begin in March; a Julian day is two days before the Gregorian one of the same name in the year 0.
    of_year = year - (month <= 2)
    days = 365 * of_year + of_year // 4 + (153 * ((month + 9) % 12) + 2) // 5 + day - 3
    era, within = divmod(days, 146_097)
    of_era = (within - within // 1460 + within // 36_524 - within // 146_096) // 365
    within -= 365 * of_era + of_era // 4 - of_era // 100
    shifted = (5 * within + 2) // 153
    month = (shifted + 2) % 12 + 1
    year = of_era + 400 * era + (month <= 2)
    return b"%04d-%02d-%02d%s%s" % (
        1 - year if year < 1 else year,
        month,
        within - (153 * shifted + 2) // 5 + 1,
        rest,
        b" BC" if year < 1 else b"",
    )


def sql_timestamp_fields(text: bytes) -> bytes:
    """The text of a timestamp from java.sql.Timestamp's fields, which know no era nor the ten days of 1582."""
    year, month, day, rest = _date_parts(text)
    if (1582, 10, 4) < (year, month, day) < _FIRST_GREGORIAN:
        return b"1582-10-%02d%s" % (day + 10, rest)
    plain = text.removesuffix(b" BC")
    if (month, day) == (2, 29) and not isleap(int(plain[:4])):  # a leap day BC
        return b"%s-03-01%s" % (plain[:4], rest)
    return plain


def interval_seconds(negative: bool, micros: int) -> bytes:
    """Seconds of an interval as pgjdbc adds them up in a double, cut to nine digits (`Interval.toIsoString`)."""
    whole, fraction = divmod(micros, 1_000_000)
    exact = Decimal(repr(whole + fraction / 1_000_000))
    told = format(exact.quantize(Decimal("1e-9"), rounding=ROUND_DOWN), "f").rstrip("0").rstrip(".")
    return (b"-" if negative else b"") + told.encode()


_FIRST_GREGORIAN = (1582, 10, 15)


def _date_parts(text: bytes) -> tuple[int, int, int, bytes]:
    """Year (0 is 1 BC), month, day, and what is between them and the era."""
    plain = text.removesuffix(b" BC")
    year, month, day = int(plain[:4]), int(plain[5:7]), int(plain[8:10])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        raise ValueError("no such day")
    return (year if plain == text else 1 - year), month, day, plain[10:]


def digits_of_float(text: bytes, size: int) -> tuple[bytes, int]:
    """The digits of a positive float of `size` bytes, and the power of ten that 0.DIGITS is multiplied with.

    As `jdk.internal.math.FloatingDecimal` makes them before JDK 19: for numbers from 2**24 (or 2**53) on, for
    powers of two and among the smallest ones it has digits more, or others, than the shortest.

    Raises:
        ValueError: no float of that size is so large or small.
    """
    mantissa, exponent, bits = _parts(_rounded(float(text), size), size)
    zeros = (mantissa & -mantissa).bit_length() - 1
    used = 53 - zeros
    tiny = max(0, used - exponent - 1)
    if tiny == 0 and exponent <= 62:
        # Digits of whole numbers that the float's bits are not sure of.
        dropped = max(0, exponent - bits - 1) * 30_103 // 100_000
        whole = mantissa << exponent - 52 if exponent >= 52 else mantissa >> 52 - exponent
        if dropped:
            whole = (whole + 10**dropped // 2) // 10**dropped
        digits = str(whole)
        return digits.rstrip("0").encode(), len(digits) + dropped
    return _hard_case(mantissa, exponent, bits, used, tiny)


def _rounded(value: float, size: int) -> float:
    try:
        (rounded,) = (value,) if size == 8 else struct.unpack("f", struct.pack("f", value))
    except OverflowError:
        rounded = math.inf
    if rounded == 0 or math.isinf(rounded):
        raise ValueError("not a number that the type holds")
    return float(rounded)


def _parts(value: float, size: int) -> tuple[int, int, int]:
    """53 bits of which the first is set, the exponent of that one, and how many of them the float can hold."""
    fraction, exponent = math.frexp(value)
    least, bits = (-149, 24) if size == 4 else (-1074, 53)
    return int(fraction * 2**53), exponent - 1, min(bits, exponent - least)


def _bits_of_five(power: int) -> int:
    """As the JDK reckons how many bits 5**power has."""
    return (5**power).bit_length() if 0 < power <= 26 else 3 * power


def _hard_case(mantissa: int, exponent: int, bits: int, used: int, tiny: int) -> tuple[bytes, int]:
    """Steele and White's digits, with the JDK's tests for an end of them."""
    scale = math.floor((mantissa / 2**52 - 1.5) * 0.289529654 + 0.176091259 + exponent * 0.301029995663981)
    fives, tens = max(0, -scale), max(0, scale)
    b2, s2 = fives + tiny + exponent, tens + tiny
    m2 = b2 - bits
    b2 -= used - 1
    common = min(b2, s2)
    b2, s2, m2 = b2 - common, s2 - common, m2 - common
    if used == 1:
        m2 -= 1
    if m2 < 0:
        b2, s2, m2 = b2 - m2, s2 - m2, 0
    small = used + b2 + _bits_of_five(fives) < 64 and s2 + 1 + _bits_of_five(tens + 1) < 64
    rest = (mantissa >> 53 - used) * 5**fives << b2
    divisor = 5**tens << s2
    margin = 5**fives << m2
    digits: list[int] = []
    high = low = False
    while not (high or low):
        digit, rest = divmod(rest, divisor)
        rest *= 10
        margin *= 10
        low = rest < margin
        high = rest + margin > divisor * 10 or (not small and rest + margin == divisor * 10)
        first = not digits
        if first and not digit and not high:
            scale -= 1
        else:
            digits.append(digit)
        if first and not -3 <= scale < 8:
            high = low = False
    if high and (not low or rest * 2 > divisor * 10 or (rest * 2 == divisor * 10 and digits[-1] % 2)):
        digits[-1] += 1
    number = str(int("".join(map(str, digits[:-1])) or "0") * 10 + digits[-1])
    return number.rstrip("0").encode(), scale + 1 + len(number) - len(digits)
