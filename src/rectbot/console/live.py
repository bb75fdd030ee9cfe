"""The state of the failover, read once a second for all who look, and not at all while nobody does."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from rectbot.console.alerts import Alert, Alerts
from rectbot.console.upstream import Upstream
from rectbot.errors import RectbotError
from rectbot.failover.events import Event, Snapshot
from rectbot.failover.store import LeaseStore

log = logging.getLogger(__name__)
EVERY_SECONDS = 1.0
EVENTS_SHOWN = 60
PAGE_PATIENCE_SECONDS = 2.0  # the toolkit gives a page three
_PUSH_SECONDS, _ALERT_SECONDS = 5.0, 3.0
_SLOW_SECONDS = 0.4
_NOT_YET = "no answer yet"


@dataclass(frozen=True)
class Now:
    """What was found at `at` (of `time.monotonic()`); an error in place of what could not be asked."""

    at: float
    snapshot: Snapshot | None = None
    redis_error: str = ""
    events: tuple[Event, ...] = ()  # oldest first
    pushes: dict[str, float] = field(default_factory=dict)  # Unix time of the last one, by job
    push_error: str = ""
    alerts: tuple[Alert, ...] = ()
    alert_error: str = ""


Watcher = Callable[[Now], None]
T = TypeVar("T")


class Live:
    """Tells its watchers, a second apart."""

    def __init__(self, store: LeaseStore, prometheus: Upstream, alerts: Alerts) -> None:
        self._store = store
        self._pushes = _Slow[tuple[dict[str, float], str]](lambda: _pushes(prometheus), ({}, _NOT_YET))
        self._alerts = _Slow[tuple[tuple[Alert, ...], str]](lambda: _firing(alerts), ((), _NOT_YET))
        self._watchers: list[Watcher] = []
        self._task: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[Now] | None = None
        self._now = Now(at=float("-inf"))
        self._counted: dict[str, int] | None = None  # the counters at which the events were read

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Calls `watcher` each second from now on, until the returned function is called."""
        self._watchers.append(watcher)
        if self._task is None:
            self._task = asyncio.create_task(self._run())

        def unwatch() -> None:
            if watcher in self._watchers:
                self._watchers.remove(watcher)
            if not self._watchers and self._task is not None:
                self._task.cancel()
                self._task = None

        return unwatch

    async def now(self) -> Now:
        """The last look, if it is not older than a second, else a new one; a page does not wait long for it."""
        if time.monotonic() - self._now.at < EVERY_SECONDS:
            return self._now
        try:
            async with asyncio.timeout(PAGE_PATIENCE_SECONDS):
                return await self.look()
        except TimeoutError:
            return replace(self._now, snapshot=None, redis_error=f"no answer within {PAGE_PATIENCE_SECONDS:.0f} s")

    async def look(self) -> Now:
        """A new look; who asks while one is under way gets that one."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(self._looking)

    async def close(self) -> None:
        """Ends it for all watchers."""
        for task in (self._task, self._looking):
            if task is not None:
                task.cancel()
        self._pushes.cancel()
        self._alerts.cancel()
        self._watchers.clear()

    async def _run(self) -> None:
        while True:
            began = time.monotonic()
            now = await self.look()
            for watcher in tuple(self._watchers):
                self._tell(watcher, now)
            await asyncio.sleep(max(0.1, EVERY_SECONDS - (time.monotonic() - began)))

    def _tell(self, watcher: Watcher, now: Now) -> None:
        try:
            watcher(now)
        except Exception:  # a page that fails must not keep the others from being told
            log.exception("a page cannot show the state; it is not told any more")
            self._watchers.remove(watcher)

    async def _look(self) -> Now:
        (snapshot, redis_error, events), (pushes, push_error), (alerts, alert_error) = await asyncio.gather(
            self._failover(), self._pushes.get(), self._alerts.get()
        )
        self._now = Now(time.monotonic(), snapshot, redis_error, events, pushes, push_error, alerts, alert_error)
        return self._now

    async def _failover(self) -> tuple[Snapshot | None, str, tuple[Event, ...]]:
        events = self._now.events
        try:
            snapshot = await self._store.snapshot()
            if snapshot.counts != self._counted or not events:
                events = tuple(await self._store.events(EVENTS_SHOWN))
                self._counted = snapshot.counts
        except RectbotError as error:
            return None, str(error), events
        return snapshot, "", events


class _Slow(Generic[T]):
    """An answer that the failover's state does not wait for: the one before stands in until it is there."""

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, T]], before: T) -> None:
        self._ask = ask
        self._value = before
        self._task: asyncio.Task[T] | None = None

    async def get(self) -> T:
        if self._task is None:
            self._task = asyncio.create_task(self._ask())
        await asyncio.wait({self._task}, timeout=_SLOW_SECONDS)
        if self._task.done():
            self._value, self._task = self._task.result(), None
        return self._value

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


async def _pushes(prometheus: Upstream) -> tuple[dict[str, float], str]:
    try:
        answer: Any = await prometheus.get("/api/v1/query", {"query": "push_time_seconds"}, _PUSH_SECONDS)
        result = answer["data"]["result"]
        return {entry["metric"].get("job", "?"): float(entry["value"][1]) for entry in result}, ""
    except RectbotError as error:
        return {}, str(error)


async def _firing(alerts: Alerts) -> tuple[tuple[Alert, ...], str]:
    try:
        return await alerts.firing(_ALERT_SECONDS), ""
    except RectbotError as error:
        return (), str(error)
