"""A question that is asked again and again for all who look: its last answer stands in until the next one is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

from rectbot.console.reach import Part, Unknown, Unreachable
from rectbot.errors import RectbotError

T = TypeVar("T")


class Asked(Generic[T]):
    """Asks `part` at most each `every` seconds. `answer` is None until there is one, which is of the Unix time `at`."""

    def __init__(self, part: Part, ask: Callable[[], Coroutine[Any, Any, T]], every: float) -> None:
        self.answer: T | None = None
        self.at: float | None = None
        self.refused: Unknown | None = None  # it answers, but not this
        self._part, self._ask, self._every = part, ask, every
        self._task: asyncio.Task[T] | None = None
        self._due = 0.0

    async def look(self, patience: float) -> bool:
        """Waits for an answer that is due, but not for long; False when one is still under way."""
        if self._task is None:
            if time.monotonic() < self._due:
                return True
            self._task = asyncio.create_task(self._ask())
            self._due = time.monotonic() + self._every
        await asyncio.wait({self._task}, timeout=patience)
        if not self._task.done():
            return False
        task, self._task = self._task, None
        await self._take(task)
        return True

    async def _take(self, task: Awaitable[T]) -> None:
        try:
            self.answer, self.at, self.refused = await task, time.time(), None
        except Unreachable:
            self.refused = None
        except RectbotError as error:
            since = self.refused.since if self.refused else time.time()
            self.refused = Unknown(self._part, since, str(error), self.at)

    def cancel(self) -> None:
        """Ends what is under way."""
        if self._task is not None:
            self._task.cancel()
