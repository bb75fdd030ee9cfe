"""What a line of a program that we do not know says of itself: its level, and its time.

Understood are JSON (pino, zap, Python's loggers), logfmt, and plain text that begins with a date.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from rectbot.logs.client.fields import json_object
from rectbot.logs.ship.lines import level_name

_LEVEL_FIELDS = ("level", "severity", "lvl", "levelname", "log.level")
_TIME_FIELDS = ("time", "timestamp", "ts", "@timestamp", "datetime")
_NAMES = {
    "trace": "trace",
    "debug": "debug",
    "info": "info",
    "information": "info",
    "notice": "info",
    "warn": "warn",
    "warning": "warn",
    "err": "error",
    "error": "error",
    "crit": "critical",
    "critical": "critical",
    "fatal": "critical",
    "panic": "critical",
    "emerg": "critical",
    "alert": "critical",
}
_LOGFMT = re.compile(r'\b(?:level|lvl|severity)="?([A-Za-z]+)"?(?:\s|$)')
_WORD = re.compile(r"\b(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERR|ERROR|CRIT|CRITICAL|FATAL|PANIC)\b")
_DATE = re.compile(r"\[?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?)")
# Colours, with the escape character, without it, or as syslog and others write it.
_COLOUR = re.compile(
    r"(?:\x1b|\x9b|#033|\\x1b|\\033|\\e|\\u001b)?\[[0-9;:]*m|\x1b\[[0-?]*[ -/]*[@-~]|\x9b[0-?]*[ -/]*[@-~]"
)
_LOOKED_AT = 200  # characters of a plain line: a level further on is part of what is said

# Loki refuses what is older than a week, and what is from the future.
OLDEST_NS = 6 * 24 * 3600 * 10**9
NEWEST_NS = 5 * 60 * 10**9


def guess(text: str, now: int) -> tuple[str | None, int]:
    """The level in Loki's words, if the line has one; and its time in nanoseconds, or `now` if it has none of use."""
    fields = json_object(text)
    if fields is not None:
        return _level_of(fields), _usable(_time_of(fields), now)
    text = _plain(text)
    level = _LOGFMT.search(text) or _WORD.search(text[:_LOOKED_AT])
    date = _DATE.match(text)
    return (_NAMES.get(level[1].lower()) if level else None), _usable(_parse(date[1]) if date else None, now)


def _plain(text: str) -> str:
    """Without colours: they stand where a word begins, and hide it."""
    return _COLOUR.sub("", text) if "[" in text or "\x9b" in text else text


def _level_of(fields: dict[str, Any]) -> str | None:
    value = next((fields[name] for name in _LEVEL_FIELDS if name in fields), None)
    if isinstance(value, str):
        return _NAMES.get(_plain(value).strip().lower())
    if isinstance(value, int) and not isinstance(value, bool):  # pino's numbers are ten more than Python's
        return "trace" if value <= 10 else level_name(value - 10)
    return None


def _time_of(fields: dict[str, Any]) -> int | None:
    value = next((fields[name] for name in _TIME_FIELDS if name in fields), None)
    if isinstance(value, str):
        return _parse(_plain(value))
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e20:
        for unit in (1, 10**3, 10**6, 10**9):  # seconds, ms, us, ns: told by their size
            if value / unit < 1e11:
                return int(value * (10**9 // unit))
    return None


def _parse(text: str) -> int | None:
    """A date in ISO 8601; without a zone it is local time."""
    try:
        moment = datetime.fromisoformat(text.replace(",", "."))
        return round(moment.timestamp() * 1e6) * 1000
    except (ValueError, OverflowError, OSError):
        return None


def _usable(time: int | None, now: int) -> int:
    return time if time is not None and now - OLDEST_NS < time < now + NEWEST_NS else now
