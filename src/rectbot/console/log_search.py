"""A search in slices of time, the newest first: its first lines are there before its last are looked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from rectbot.console.panels.ask import Asker
from rectbot.logs.client.query import Entry

_FIRST_SECONDS = 300.0
_GROWTH = 4.0  # each slice is so many times as long as the one before


@dataclass(frozen=True)
class Found:
    """The lines of a slice, and how far back is looked by now."""

    lines: list[Entry]
    back_to: float
    more: bool  # whether older lines were left out, as there are enough


async def around(asker: Asker, query: str, within: tuple[float, float], moment: float, limit: int) -> Found:
    """The lines before and after a moment, half of them each. Raises RectbotError."""
    start, end = within
    older, newer = await asyncio.gather(
        asker.log(query, start, moment, limit // 2, seconds=0),
        asker.log(query, moment, end, limit // 2, seconds=0, forward=True),
    )
    lines = sorted((*older, *newer), key=lambda entry: entry.time, reverse=True)
    more = len(older) == limit // 2
    return Found(lines, min((entry.time for entry in older), default=round(start * 1e9)) / 1e9, more)


async def search(asker: Asker, query: str, start: float, end: float, limit: int) -> AsyncIterator[Found]:
    """The newest `limit` lines. Raises RectbotError."""
    found, length, until = 0, _FIRST_SECONDS, end
    while until > start and found < limit:
        since = max(start, until - length)
        lines = await asker.log(query, since, until, limit - found + 1, seconds=0)
        lines.sort(key=lambda entry: entry.time, reverse=True)
        more = len(lines) > limit - found
        lines = lines[: limit - found]
        found += len(lines)
        yield Found(lines, lines[-1].time / 1e9 if more else since, more)
        if more:
            return
        until, length = since, length * _GROWTH
        await asyncio.sleep(0)
    if until > start and found >= limit:
        older = await asker.log(query, start, until, 1, seconds=0)
        yield Found([], until, bool(older))
