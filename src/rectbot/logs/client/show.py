"""`rectbot logs query`: asks Loki or the log store, and shows the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from foundation.durations import DurationError, date, moment
from rectbot.errors import ConfigError
from rectbot.logs.client.query import QueryClient, Range, Sample
from rectbot.logs.client.render import RENDERERS, sample_line
from rectbot.logs.client.target import Target, target_of
from rectbot.settings import Settings

Write = Callable[[str], None]


@dataclass(frozen=True)
class Question:
    """What is asked: a LogQL query, since when and until when (a duration such as 1h30m, or a date), `step` seconds."""

    query: str
    begin: str = "1h"
    end: str | None = None
    limit: int = 100
    step: float | None = None
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
    """The time that is asked for. A duration counts back from now, or from the date that is its end.

    Raises ConfigError.
    """
    end = _moment("--until", question.end, now) if question.end is not None else now
    start = _moment("--since", question.begin, end if date(question.end or "") else now)
    if start >= end:
        raise ConfigError("--since must be before --until")
    return Range(start, end)


def _moment(option: str, text: str, now: int) -> int:
    try:
        return moment(text, now)
    except DurationError as error:
        raise ConfigError(f"{option} {error}") from None
