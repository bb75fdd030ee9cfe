"""Durations, sizes and numbers as Go and Loki write and read them."""

from __future__ import annotations

import math
import re

NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
CALENDAR = {"d": 86_400 * 10**9, "w": 7 * 86_400 * 10**9, "y": 365 * 86_400 * 10**9}
LONGEST = 400  # characters of a number, a duration or a size: what is longer is none, and takes no time
# Repetitions are possessive (*+): digits that were taken are not given back, so nothing is tried twice.
_TERM = re.compile(r"(\d++(?:\.\d*+)?|\.\d++)([^\d.]++)")
_NUMBER_ONLY = re.compile(r"\d++(?:\.\d*+)?|\.\d++")
_SIZE = re.compile(r"([0-9.,]*)")
_DIGITS = r"\d(?:_?\d)*+"
_FLOAT = re.compile(
    rf"[+-]?({_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})([eE][+-]?\d++)?|[+-]?(inf|infinity)|nan|0x[0-9a-f_.]+p[+-]?\d+",
    re.IGNORECASE,
)
SIZES = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgtpe", start=1):
    SIZES[_letter] = SIZES[f"{_letter}b"] = 1000**_power
    SIZES[f"{_letter}i"] = SIZES[f"{_letter}ib"] = 1024**_power


def parse_duration(text: str, *, calendar: bool = False) -> int:
    """Nanoseconds of a Go duration such as `1h30m` or `-1.5s`; with `calendar` also days, weeks and years.

    Raises ValueError worded as Go's time.ParseDuration words it.
    """
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    body = text[1:] if text[:1] in "+-" and text else text
    if len(text) > LONGEST:
        raise ValueError(f"time: invalid duration {quoted[:LONGEST]}")
    if body == "0":
        return 0
    total, position = 0.0, 0
    if not body:
        raise ValueError(f"time: invalid duration {quoted}")
    exact = 0
    while position < len(body):
        term = _TERM.match(body, position)
        if term is None:
            missing = _NUMBER_ONLY.fullmatch(body, position)
            raise ValueError(f"time: {'missing unit in' if missing else 'invalid'} duration {quoted}")
        number, unit = term.groups()
        scale = NANOSECONDS.get(unit) or (CALENDAR.get(unit) if calendar else None)
        if scale is None:
            raise ValueError(f'time: unknown unit "{unit}" in duration {quoted}')
        if number.isdigit():
            exact += int(number) * scale
        else:
            total += float(number) * scale
        position = term.end()
    value = exact + int(min(total, 2.0**64))
    if value >= 1 << 63:
        raise ValueError(f"time: invalid duration {quoted}")
    return -value if text[0] == "-" else value


def duration_seconds(text: str) -> float:
    """Seconds of a Go duration, as Go adds them up: 2.881s are a little more than 2.881. Raises ValueError."""
    value = parse_duration(text)
    whole = abs(value) // 10**9
    return math.copysign(whole + abs(value) % 10**9 / 1e9, value) if value else 0.0


_RANGE_UNITS = {
    unit: place for place, unit in enumerate(("y", "w", "d", "h", "m", "s", "ms"))
}  # in the order in which they must come
_RANGE_TERM = re.compile(r"([0-9]+)([^0-9]*)")


def parse_range(text: str) -> int:
    """Nanoseconds of a range such as `1h30m`: whole numbers, big units first. Raises ValueError as Prometheus does."""
    if text == "0":
        return 0
    if not text:
        raise ValueError("empty duration string")
    if len(text) > LONGEST:
        raise ValueError("duration out of range")
    total, last, position = 0, -1, 0
    while position < len(text):
        term = _RANGE_TERM.match(text, position)
        if term is None:
            raise ValueError(f'not a valid duration string: "{text}"')
        number, unit = term.groups()
        if unit not in _RANGE_UNITS:
            raise ValueError(f'unknown unit "{unit}" in duration "{text}"')
        if _RANGE_UNITS[unit] <= last:
            raise ValueError(f'not a valid duration string: "{text}"')
        last, position = _RANGE_UNITS[unit], term.end()
        total += int(number) * (NANOSECONDS.get(unit) or CALENDAR[unit])
        if total >= 1 << 63:
            raise ValueError("duration out of range")
    return total


def rounded_size(size: int) -> int:
    """What is left of a size in a query: Loki writes it down with two digits (4640 becomes 4.6kB) and reads that."""
    power = 0
    while size >= 1000 ** (power + 1):
        power += 1
    if size < 10:
        return size
    tenths = math.floor(size / 1000**power * 10 + 0.5)
    rounded: int = (tenths if tenths < 100 else round(tenths / 10) * 10) * 1000**power // 10
    return rounded


def parse_size(text: str) -> int:
    """Bytes of a size such as `1.2MB` (10^6) or `4KiB` (2^10). Raises ValueError worded as go-humanize words it."""
    if len(text) > LONGEST:
        raise ValueError("strconv.ParseFloat: value out of range")
    match = _SIZE.match(text)
    assert match is not None
    number, unit = match[1].replace(",", ""), text[match.end() :].strip()
    try:
        value = float(number)
    except ValueError:
        raise ValueError(f'strconv.ParseFloat: parsing "{number}": invalid syntax') from None
    scale = SIZES.get(unit.lower())
    if scale is None:
        raise ValueError(f"unhandled size name: {unit.lower()}")
    if value * scale >= 2**64:
        raise ValueError(f"too large: {text}")
    return int(value * scale)


def parse_float(text: str) -> float:
    """A number as Go's strconv.ParseFloat reads it. Raises ValueError in its words."""
    if len(text) > LONGEST:
        raise ValueError("strconv.ParseFloat: value out of range")
    if _FLOAT.fullmatch(text) is None:
        raise ValueError(f'strconv.ParseFloat: parsing "{text}": invalid syntax')
    plain = text.replace("_", "")
    try:
        value = float.fromhex(plain) if "x" in plain.lower() else float(plain)
    except OverflowError:
        value = math.inf
    if math.isinf(value) and "i" not in plain.lower():
        raise ValueError(f'strconv.ParseFloat: parsing "{text}": value out of range')
    return value


def format_number(value: float) -> str:
    """The shortest text that reads back as the value, without an exponent, as Prometheus writes sample values."""
    if value != value:  # noqa: PLR0124 - NaN
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == int(value) and abs(value) < 1e15:
        return "-0" if value == 0 and math.copysign(1, value) < 0 else str(int(value))
    text = repr(value)
    if "e" not in text:
        return text
    mantissa, exponent = text.split("e")
    sign, digits = ("-", mantissa[1:]) if mantissa[0] == "-" else ("", mantissa)
    whole, _, fraction = digits.partition(".")
    if fraction == "0":
        fraction = ""
    shift = int(exponent)
    if shift >= 0:
        fraction = fraction.ljust(shift, "0")
        rest = fraction[shift:]
        return sign + whole + fraction[:shift] + (f".{rest}" if rest else "")
    return f"{sign}0.{'0' * (-shift - 1)}{whole}{fraction}"
