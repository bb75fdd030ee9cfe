"""Following the log: one connection to Loki for each query, whatever the number of pages that follow it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from rectbot.errors import RectbotError
from rectbot.logs.client.query import Entry
from rectbot.logs.client.tail import follow
from rectbot.logs.client.target import Target

GATHER_SECONDS = 0.4  # lines that come within this reach the pages together
BURST = 100  # lines at once, which is 250 a second; of more the newest are shown, and the others counted
RETRY_SECONDS = 3.0
Lines = Callable[[list[Entry], int], None]  # and how many were left out before them
Trouble = Callable[[str], None]


@dataclass
class _Tail:
    readers: list[tuple[Lines, Trouble]] = field(default_factory=list)
    waiting: list[Entry] = field(default_factory=list)
    left_out: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class Tails:
    """The queries that are followed now."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._tails: dict[str, _Tail] = {}

    def follow(self, query: str, lines: Lines, trouble: Trouble) -> Callable[[], None]:
        """Calls `lines` with what comes from now on, until the returned function is called.

        `trouble` is told, in one line, why nothing comes or something is missing; and with "" that it is mended.
        """
        tail = self._tails.get(query)
        if tail is None:
            tail = self._tails[query] = _Tail()
            tail.tasks = [asyncio.create_task(self._read(query, tail)), asyncio.create_task(_hand_on(tail))]
        reader = (lines, trouble)
        tail.readers.append(reader)

        def stop() -> None:
            with suppress(ValueError):
                tail.readers.remove(reader)
            if not tail.readers and self._tails.get(query) is tail:
                del self._tails[query]
                for task in tail.tasks:
                    task.cancel()

        return stop

    async def close(self) -> None:
        """Ends all."""
        tasks = [task for tail in self._tails.values() for task in tail.tasks]
        self._tails.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, query: str, tail: _Tail) -> None:
        start = time.time_ns()
        while True:
            try:
                async for entry in follow(self._target, query, start, partial(_tell, tail), partial(_tell, tail, "")):
                    start = entry.time + 1
                    tail.waiting.append(entry)
                    tail.left_out += max(0, len(tail.waiting) - BURST)
                    del tail.waiting[:-BURST]
            except RectbotError as error:
                _tell(tail, str(error))
            await asyncio.sleep(RETRY_SECONDS)


async def _hand_on(tail: _Tail) -> None:
    while True:
        await asyncio.sleep(GATHER_SECONDS)
        if tail.waiting:
            found, tail.waiting = tail.waiting, []
            left_out, tail.left_out = tail.left_out, 0
            for lines, _ in tuple(tail.readers):
                lines(found, left_out)


def _tell(tail: _Tail, reason: str) -> None:
    for _, trouble in tuple(tail.readers):
        trouble(reason)
