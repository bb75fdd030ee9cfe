"""Which period a report is about. All in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from foundation.durations import DurationError, parse_seconds
from rectbot.errors import ConfigError
from rectbot.history.lines import LATEST_MS, moment
from rectbot.history.story import Span

DAY_MS = 86_400_000


def period(month: str | None, since: str | None, until: str | None, now: int) -> Span:
    """A month as 2026-11; or from `since` (a date, a time, or so long ago: 30d) to `until` (without it: now).

    Without any of them this month, so far. Raises ConfigError for what is none, or no time at all.
    """
    if month is not None:
        if since is not None or until is not None:
            raise ConfigError("--month is a period already: leave out --since and --until")
        return month_span(month)
    end = now if until is None else _moment(until, "--until", now)
    start = _month_of(min(end, now)).start if since is None else _moment(since, "--since", now)
    if start >= end:
        raise ConfigError("--since must be before --until")
    return Span(start, end)


def month_span(month: str) -> Span:
    """All of a month. Raises ConfigError."""
    if not re.fullmatch(r"\d{4}-\d{2}", month, re.ASCII):
        raise ConfigError(f"--month {month[:20]!r}: write it as 2026-11")
    year, number = int(month[:4]), int(month[5:])
    if not 1 <= number <= 12 or not 1970 <= year < 9999:
        raise ConfigError(f"--month {month!r}: there is no such month")
    following = (year, number + 1) if number < 12 else (year + 1, 1)
    return Span(_first(year, number), _first(*following))


def month_before(now: int) -> str:
    """The last month that is over, as 2026-10."""
    before = _at(_month_of(now).start - 1)
    return f"{before.year:04}-{before.month:02}"


def days(span: Span) -> list[Span]:
    """The days that the span touches, cut at its ends."""
    found = []
    start = span.start
    while start < span.end:
        end = min(span.end, (start // DAY_MS + 1) * DAY_MS)
        found.append(Span(start, end))
        start = end
    return found


def date_of(ms: int) -> str:
    """2026-11-27"""
    return _at(ms).strftime("%Y-%m-%d")


def _month_of(ms: int) -> Span:
    found = _at(ms)
    return month_span(f"{found.year:04}-{found.month:02}")


def _moment(text: str, name: str, now: int) -> int:
    try:
        return moment(text, name)
    except ValueError:
        pass
    try:
        return max(0, now - round(parse_seconds(text) * 1000))
    except DurationError:
        raise ConfigError(
            f"{name} {text[:40]!r}: write a date (2026-11-27), a time (2026-11-27T19:30:00Z), or how long ago (30d)"
        ) from None


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(min(ms, LATEST_MS) // 1000, UTC)


def _first(year: int, month: int) -> int:
    return round(datetime(year, month, 1, tzinfo=UTC).timestamp() * 1000)
