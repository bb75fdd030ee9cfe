"""Lengths of time as people write them, one grammar for every command and setting: 90s, 1h30m, 2d, 1.5h, 500ms."""

from __future__ import annotations

import re
from datetime import datetime

from foundation.errors import OperatorError

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|min|[smhdw])", re.ASCII)
_LONGEST_S = 10 * 365 * 86_400


class DurationError(OperatorError):
    """A text is no length of time, or none that is allowed."""

    exit_code = 2


def parse_seconds(text: str, *, bare: bool = False, zero: bool = False) -> float:
    """Seconds of such a text; with `bare` a number alone is seconds, too.

    Raises DurationError for anything else, and for what is more than ten years or, without `zero`, no time at all.
    """
    text = text.strip()
    if len(text) > 40:
        raise _wrong(text)
    if bare and re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        seconds = float(text)
    elif _PART.sub("", text):
        raise _wrong(text)
    else:
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if not (0.001 <= seconds <= _LONGEST_S or (zero and seconds == 0 and text)):
        raise _wrong(text)
    return seconds


def in_unit(text: str, unit: str) -> float | str:
    """A length of time in `unit` (ms, s, m, ...); a number alone, which is in that unit already, as it was written.

    Raises DurationError for anything else.
    """
    try:
        alone = float(text)
    except ValueError:
        amount = round(parse_seconds(text, zero=True) / _UNITS[unit], 6)
        return int(amount) if amount.is_integer() else amount
    if not abs(alone) <= _LONGEST_S / _UNITS[unit]:  # nor is it not a number
        raise _wrong(text)
    return text


def moment(text: str, now: int) -> int:
    """When it was: a date (2026-11-23T15:00, in local time, or with a zone), or so long before `now` (1h30m).

    Both are nanoseconds since 1970. Raises DurationError for anything else.
    """
    if (at := date(text)) is not None:
        return at
    try:
        return now - round(parse_seconds(text, bare=True) * 10**9)
    except DurationError:
        raise DurationError(
            f"{text[:40]!r} is neither a duration nor a date: write for example 90s, 1h30m or 2d,"
            " or 2026-11-23T15:00, also with a zone, ...+09:00"
        ) from None


def date(text: str) -> int | None:
    """The nanoseconds since 1970 of a date as ISO 8601 has it; None for anything else."""
    try:
        return int(datetime.fromisoformat(text.strip()).timestamp() * 1000) * 10**6
    except (ValueError, OverflowError):
        return None


def _wrong(text: str) -> DurationError:
    return DurationError(f"{text[:40]!r} is not a duration: write for example 90s, 30m, 2h or 1d, also 1h30m")
