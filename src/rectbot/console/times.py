"""The time that is looked at, as Grafana's addresses write it: now-6h, now/d, 1700000000000, 2026-11-27T10:00:00Z.

https://grafana.com/docs/grafana/latest/dashboards/use-dashboards/#time-units-and-relative-ranges
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

ZONE_COOKIE = "rectbot_zone"
_STEP = re.compile(r"([+-])(\d{0,6})(ms|fQ|fy|[yMwdhmsQ])|/(fQ|fy|[yMwdhmsQ])")
_DIGITS = re.compile(r"-?[0-9]{1,16}")
_LATEST = 1e11  # seconds since 1970, some thousand years from now; servers refuse what is later
_SHORTEST = 1.0  # seconds between the ends
_FIXED = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_MONTHS = {"M": 1, "Q": 3, "fQ": 3, "y": 12, "fy": 12}
_CLOCK = {"s": 1, "m": 2, "h": 3}  # how many of the smaller parts are zero at its beginning
_LONGEST_TEXT = 64


@dataclass(frozen=True)
class TimeRange:
    """Both ends as they stand in an address."""

    start: str
    end: str

    def at(self, now: float, zone: tzinfo) -> tuple[float, float]:
        """Both ends in seconds since 1970. Raises ValueError when there is no such time."""
        start, end = moment(self.start, now, zone), moment(self.end, now, zone, up=True)
        if start is None or end is None or end - start < _SHORTEST:
            raise ValueError(f"{self.start} to {self.end} is no time")
        return start, end

    @property
    def last(self) -> str:
        """The length of one that goes from some time ago until now, such as 6h; else nothing."""
        found = re.fullmatch(r"now-(\d+[smhdwMy])", self.start)
        return found[1] if found and self.end == "now" else ""

    def plain(self, now: float, zone: tzinfo) -> TimeRange:
        """The same with moments as milliseconds, whatever way they were written. Raises ValueError."""
        start, end = self.at(now, zone)
        return TimeRange(
            self.start if self.start.startswith("now") else str(round(start * 1000)),
            self.end if self.end.startswith("now") else str(round(end * 1000)),
        )

    def earlier(self, now: float, zone: tzinfo, share: float = 0.5) -> TimeRange:
        """Moved by a share of its length, towards the past; a negative share towards the future."""
        start, end = self.at(now, zone)
        return between(start - share * (end - start), end - share * (end - start))

    def wider(self, now: float, zone: tzinfo) -> TimeRange:
        """Twice as long around the same middle."""
        start, end = self.at(now, zone)
        half = (end - start) / 2
        return between(start - half, min(end + half, max(end, now)))


def between(start: float, end: float) -> TimeRange:
    """From one moment to another, in seconds since 1970."""
    return TimeRange(str(round(max(0.0, start) * 1000)), str(round(end * 1000)))


def last(length: str) -> TimeRange:
    """The last while, such as 6h."""
    return TimeRange(f"now-{length}", "now")


def asked(query: Mapping[str, str], default: TimeRange, now: float, zone: tzinfo) -> TimeRange:
    """The time in an address; the default where it holds none, or one that is none."""
    ends = [_from_address(query.get(name) or own, now) for name, own in (("from", default.start), ("to", default.end))]
    wanted = TimeRange(*ends)
    for found in (wanted, default):
        try:
            return found.plain(now, zone)
        except ValueError:
            continue
    return last("6h")


def _from_address(text: str, now: float) -> str:
    """There a date and time without a zone is UTC, as Grafana has it."""
    if text.strip().startswith("now"):
        return text.strip()
    found = moment(text, now, UTC)
    return text if found is None else str(round(found * 1000))


def moment(text: str, now: float, zone: tzinfo, *, up: bool = False) -> float | None:
    """Seconds since 1970; `up`: a rounded time is the end of its unit. None when the text is no time."""
    text = text.strip()[:_LONGEST_TEXT]
    try:
        found = _relative(text[3:], now, zone, up=up) if text.startswith("now") else _absolute(text, zone)
    except (ValueError, OverflowError, OSError):
        return None
    return found if found is not None and math.isfinite(found) and 0 <= found < _LATEST else None


def _relative(text: str, now: float, zone: tzinfo, *, up: bool) -> float | None:
    found, place = now, 0
    while place < len(text):
        step = _STEP.match(text, place)
        if step is None:
            return None
        place = step.end()
        if step[4]:
            found = _rounded(found, step[4], zone, up=up)
        else:
            count = int(step[2] or 1) * (1 if step[1] == "+" else -1)
            found = _moved(found, count, step[3], zone)
    return found


def _moved(seconds: float, count: int, unit: str, zone: tzinfo) -> float:
    """Days and longer go by the calendar: a day later is the same time of the day."""
    if unit in _FIXED:
        return seconds + count * _FIXED[unit]
    then = datetime.fromtimestamp(seconds, zone)
    if unit in ("d", "w"):
        return (then + timedelta(days=count * (7 if unit == "w" else 1))).timestamp()
    month = then.year * 12 + then.month - 1 + count * _MONTHS[unit]
    first = then.replace(year=month // 12, month=month % 12 + 1, day=1)
    last_day = (_next_month(first) - timedelta(days=1)).day
    return first.replace(day=min(then.day, last_day)).timestamp()


def _next_month(first: datetime) -> datetime:
    return first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)


def _rounded(seconds: float, unit: str, zone: tzinfo, *, up: bool) -> float:
    start = _floor(datetime.fromtimestamp(seconds, zone), unit)
    if not up:
        return start.timestamp()
    return _moved(start.timestamp(), 1, unit, zone) - 0.001


def _floor(then: datetime, unit: str) -> datetime:
    """The beginning of the unit that it is in."""
    count = _CLOCK.get(unit, 4)
    zeros: dict[str, Any] = dict.fromkeys(("microsecond", "second", "minute", "hour")[:count], 0)
    then = then.replace(**zeros)
    match unit:
        case "w":
            return then - timedelta(days=(then.weekday() + 1) % 7)  # weeks begin with Sunday, in both our languages
        case "M":
            return then.replace(day=1)
        case "Q" | "fQ":
            return then.replace(day=1, month=(then.month - 1) // 3 * 3 + 1)
        case "y" | "fy":
            return then.replace(day=1, month=1)
    return then


def _absolute(text: str, zone: tzinfo) -> float | None:
    """Milliseconds since 1970, or a date and a time; without a zone the browser's."""
    if _DIGITS.fullmatch(text) and len(text) != 8:
        return int(text) / 1000
    if not text.isascii():
        return None
    then = datetime.fromisoformat(text.replace("/", "-"))
    return (then if then.tzinfo else then.replace(tzinfo=zone)).timestamp()


def zone_named(name: str) -> tzinfo:
    """The zone of that name; UTC where there is none."""
    try:
        return ZoneInfo(name[:_LONGEST_TEXT]) if name else UTC
    except (ValueError, OSError, KeyError):
        return UTC


def written(seconds: float, zone: tzinfo) -> str:
    """A moment as the browser writes it too."""
    return datetime.fromtimestamp(seconds, zone).strftime("%Y-%m-%d %H:%M:%S")
