"""`rectbot logs query`: asks Loki or the log store, and shows the answer."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from rectbot.errors import ConfigError
from rectbot.logs.client.query import QueryClient, Range, Sample
from rectbot.logs.client.render import RENDERERS, sample_line
from rectbot.logs.client.target import Target, target_of
from rectbot.settings import Settings

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
Write = Callable[[str], None]


@dataclass(frozen=True)
class Question:
    """What is asked: a LogQL query, since when (a duration such as 1h30m, or from a date) and until when."""

    query: str
    since: str = "1h"
    begin: str | None = None
    end: str | None = None
    limit: int = 100
    step: str | None = None
    follow: bool = False
    output: str = "text"
    url: str | None = None


def show(settings: Settings, question: Question, write: Write, warn: Write) -> None:
    """Writes the newest lines, oldest of them first (limit 0: all), or a metric query's values; then goes on to follow.

    The server is `url`, else LOKI_URL, else the one on this machine. Raises ConfigError for a wrong query or date,
    RectbotError when the server does not answer.
    """
    target = target_of(settings, question.url) or Target(f"http://127.0.0.1:{settings.port('loki')}")
    within = time_range(question, time.time_ns())
    client = QueryClient(target)
    render = RENDERERS[question.output]
    last = within.end - 1
    for found in client.answer(question.query, within, question.limit or None, step=question.step):
        if isinstance(found, Sample):
            if question.follow:
                raise ConfigError("only a log query can be followed; leave --follow out for a metric query")
            write(sample_line(found, question.output))
        else:
            last = found.time
            write(render(found))
    if question.follow:
        with suppress(KeyboardInterrupt):
            asyncio.run(_follow(target, question, last + 1, write, warn))


async def _follow(target: Target, question: Question, start: int, write: Write, warn: Write) -> None:
    from rectbot.logs.client.tail import follow  # noqa: PLC0415 - a library that an extra brings

    render = RENDERERS[question.output]
    async for entry in follow(target, question.query, start, warn):
        write(render(entry))


def time_range(question: Question, now: int) -> Range:
    """The time that is asked for. Raises ConfigError."""
    end = _date("--to", question.end) if question.end else now
    start = _date("--from", question.begin) if question.begin else end - duration(question.since) * 10**9
    if start >= end:
        raise ConfigError("--from must be before --to")
    return Range(start, end)


def duration(text: str) -> int:
    """Seconds of a duration such as 90s, 15m, 1h30m or 2d. Raises ConfigError."""
    parts = re.findall(r"(\d{1,9})([smhdw])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ConfigError(f"--since {text}: write a duration like 30s, 15m, 1h30m, 2d or 1w")
    return max(1, sum(int(number) * _UNITS[unit] for number, unit in parts))


def _date(option: str, text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000) * 10**6
    except (ValueError, OverflowError):
        raise ConfigError(f"{option} {text}: write a date like 2026-11-23T15:00, or with a zone, ...+09:00") from None
