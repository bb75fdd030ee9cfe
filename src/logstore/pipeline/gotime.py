"""Go's times, as templates use them: nanoseconds with a zone, and layouts written as the reference time.

Source: https://pkg.go.dev/time#pkg-constants. The reference time is Mon Jan 2 15:04:05 MST 2006.
"""

from __future__ import annotations

import re
import time as clock
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

_PIECES = re.compile(
    r"January|Jan|Monday|Mon|MST|2006|Z07:00|Z0700|-07:00|-0700|-07|002|01|02|03|04|05|06|15|_2|[.,]0+|[.,]9+|PM|pm|1|2|3|4|5"
)
_DIRECTIVES = {
    "January": "%B",
    "Jan": "%b",
    "Monday": "%A",
    "Mon": "%a",
    "MST": "%Z",
    "2006": "%Y",
    "002": "%j",
    "01": "%m",
    "02": "%d",
    "03": "%I",
    "04": "%M",
    "05": "%S",
    "06": "%y",
    "15": "%H",
    "PM": "%p",
}
_UNPADDED = {"1": "%m", "2": "%d", "3": "%I", "4": "%M", "5": "%S"}


@dataclass(frozen=True)
class Time:
    """An instant, and the zone it is shown in."""

    nanoseconds: int
    zone: str = "UTC"

    def local(self) -> datetime:
        """Without what is below a second. Raises ValueError for years that datetime does not know."""
        try:
            return datetime.fromtimestamp(self.nanoseconds // 10**9, UTC).astimezone(_zone(self.zone))
        except (OverflowError, OSError):
            raise ValueError("the time is out of range") from None


def _zone(name: str) -> Any:
    offset = re.fullmatch(r"([+-])(\d\d):?(\d\d)", name)
    if offset:
        delta = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return timezone(-delta if offset[1] == "-" else delta)
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return UTC


_LONGEST = 300  # characters of a layout, and of a time
_ZERO = Time(-62_135_596_800 * 10**9)  # Go's, the year 1


def now() -> Time:
    """The time at which the line is formatted."""
    return Time(clock.time_ns())


def as_time(value: Any) -> Time:
    """What functions on times take: a time, or seconds since 1970."""
    if isinstance(value, Time):
        return value
    if isinstance(value, int):
        return Time(value * 10**9)
    raise ValueError(f"wrong type for value; expected time.Time; got {type(value).__name__}")


def from_epoch(text: str) -> Time:
    """A time from days, seconds, milliseconds, microseconds or nanoseconds, told apart by the number of digits."""
    scale = {5: 86_400 * 10**9, 10: 10**9, 13: 10**6, 16: 10**3, 19: 1}.get(len(text))
    if scale is None or not text.isdigit():
        raise ValueError(f"unable to parse time '{text}'")
    return Time(int(text) * scale)


def default_format(time: Time) -> str:
    """As a template prints a time."""
    return format_time("2006-01-02 15:04:05.999999999 -0700 MST", time)


def format_time(layout: str, time: Time) -> str:
    """The time in Go's layout."""
    if len(layout) > _LONGEST:
        raise ValueError("the layout is too long")
    local, fraction = time.local(), f"{time.nanoseconds % 10**9:09d}"

    def piece(match: re.Match[str]) -> str:
        return _format_piece(match[0], local, fraction)

    return _PIECES.sub(piece, layout)


def _format_piece(word: str, local: datetime, fraction: str) -> str:  # noqa: PLR0911
    if word == "2006":
        return f"{local.year:04d}"
    if word in _DIRECTIVES:
        return local.strftime(_DIRECTIVES[word])
    if word in _UNPADDED:
        return local.strftime(_UNPADDED[word]).lstrip("0") or "0"
    if word == "_2":
        return f"{local.day:2d}"
    if word == "pm":
        return local.strftime("%p").lower()
    if word[0] in ".,":
        digits = fraction[: len(word) - 1]
        if word[1] == "9":
            digits = digits.rstrip("0")
        return word[0] + digits if digits else ""
    offset = local.strftime("%z")
    if word[0] == "Z" and offset == "+0000":
        return "Z"
    if word.endswith(":00"):
        return f"{offset[:3]}:{offset[3:5]}"
    return offset[:3] if word == "-07" else offset[:5]


def parse_time(layout: str, text: str, zone: str) -> Time:
    """A time from text in Go's layout; the zero time of Go, year 1, when it does not fit."""
    if len(layout) > _LONGEST or len(text) > _LONGEST:
        return _ZERO
    fraction = 0
    found = re.search(r"(?<=\d)[.,](\d{1,9})(?!\d)", text)
    layout = re.sub(r"[.,](0+|9+)(?!\d)", "", layout)
    if found and re.search(r"05|5", layout):
        fraction = int(found[1].ljust(9, "0"))
        text = text[: found.start()] + text[found.end() :]

    def directive(match: re.Match[str]) -> str:
        word = match[0]
        if word in ("Z07:00", "Z0700", "-07:00", "-0700", "-07"):
            return "%z"
        return _DIRECTIVES.get(word) or _UNPADDED.get(word) or {"_2": "%d", "pm": "%p"}.get(word, word)

    try:
        parsed = datetime.strptime(text, _PIECES.sub(directive, layout.replace("%", "%%")))
    except (ValueError, re.error):
        return _ZERO
    local = parsed if parsed.tzinfo else parsed.replace(tzinfo=_zone(zone))
    return Time(int(local.timestamp()) * 10**9 + fraction, zone if parsed.tzinfo is None else local.strftime("%z"))
