"""Connections to the gateway, no faster than Discord bears.

discord.py connects again at once when a session breaks, which is right once. A gateway that accepts and closes, with a
code after which one may resume, or without a word, would be asked forty times a second, and Discord bans who does that.
"""

from __future__ import annotations

import asyncio
import random
import time
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

from discord.gateway import DiscordWebSocket

LEAST_S = 1.0
"""Between the beginnings of two connections of a shard; twice as long with each that did not last, up to MOST_S."""
MOST_S = 8.0
LASTING_S = 60.0
"""A connection that has lasted so long was a good one."""
_JITTER = 0.5

_paces: weakref.WeakKeyDictionary[object, dict[int | None, Pace]] = weakref.WeakKeyDictionary()


class Pace:
    """When a shard may connect next."""

    def __init__(self) -> None:
        self._began = float("-inf")
        self._pause = LEAST_S

    def wait_s(self, now: float) -> float:
        """Seconds until the connection that is wanted now may begin; it is taken to begin then."""
        lasted = now - self._began
        if lasted >= LASTING_S:
            self._pause = LEAST_S
        wait = max(0.0, self._pause * random.uniform(1, 1 + _JITTER) - lasted)  # noqa: S311 (no secret)
        if lasted < LASTING_S:
            self._pause = min(2 * self._pause, MOST_S)
        self._began = now + wait
        return wait


def pace_connections() -> None:
    """From now on every client of this process keeps the pace, also one of the user's own. Calling it again is idle."""
    connect: Callable[..., Awaitable[Any]] = DiscordWebSocket.from_client
    if getattr(connect, "paced", False):
        return

    async def paced(client: Any, *, shard_id: int | None = None, **words: Any) -> Any:
        pace = _paces.setdefault(client, {}).setdefault(shard_id, Pace())
        await asyncio.sleep(pace.wait_s(time.monotonic()))
        return await connect(client, shard_id=shard_id, **words)

    paced.paced = True  # type: ignore[attr-defined]
    DiscordWebSocket.from_client = paced  # type: ignore[method-assign]
