"""The state of the failover and of the parts around it, read for all who look, and not at all while nobody does."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rectbot.console.alerts import Alert, Alerts, firing_in, merged
from rectbot.console.asked import Asked
from rectbot.console.reach import Part, Reach, Unknown, of
from rectbot.console.upstream import Upstream
from rectbot.errors import RectbotError
from rectbot.failover.events import Event, Snapshot
from rectbot.failover.store import LeaseStore

log = logging.getLogger(__name__)
EVERY_SECONDS = 1.0
EVENTS_SHOWN = 60
PAGE_PATIENCE_SECONDS = 2.0  # the toolkit gives a page three
_PUSH_SECONDS, _ALERT_SECONDS, _LOG_SECONDS = 3.0, 3.0, 3.0
_SHORT, _LONG = 0.4, 1.6  # patience with a part that answered before, and with one that never did
_STORE_SILENT_SECONDS = 2.0  # so long without an answer, and the state is unknown


@dataclass(frozen=True)
class Heard:
    """What Prometheus says: the last pushes in Unix time, by job, and what fires."""

    pushes: Mapping[str, float]
    firing: tuple[Alert, ...]


@dataclass(frozen=True)
class Now:
    """What is known at the Unix time `time`, and which parts are not."""

    at: float  # of `time.monotonic()`
    time: float = 0.0
    unknown: tuple[Unknown, ...] = ()
    snapshot: Snapshot | None = None  # None: unknown
    last: Snapshot | None = None  # the last one that was read, at `read`, which may be long ago
    read: float | None = None
    events: tuple[Event, ...] = ()  # oldest first
    pushes: Mapping[str, float] | None = None  # by job; the last that was heard; None: nothing yet
    alerts: tuple[Alert, ...] | None = None  # likewise

    def silent(self, *parts: Part) -> Unknown | None:
        """The first of these parts that does not answer."""
        return of(self.unknown, *parts)


Watcher = Callable[[Now], None]


class Live:
    """Tells its watchers, a second apart."""

    def __init__(
        self, store: LeaseStore, prometheus: Upstream, alerts: Alerts, *, loki: Upstream, reach: Reach
    ) -> None:
        self._store, self._reach = store, reach
        self._failover = Asked("store", self._ask_store, EVERY_SECONDS / 2)
        self._heard = Asked("prometheus", lambda: _ask_prometheus(prometheus, reach), _PUSH_SECONDS)
        self._told = Asked("alertmanager", alerts.firing, _ALERT_SECONDS)
        self._logs = Asked("loki", lambda: loki.probe("/loki/api/v1/status/buildinfo"), _LOG_SECONDS)
        self._watchers: list[Watcher] = []
        self._task: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[Now] | None = None
        self._now = Now(at=float("-inf"))
        self._events: tuple[Event, ...] = ()
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

    def fresh(self) -> Now | None:
        """The last look, if it is not older than a few seconds."""
        return self._now if time.monotonic() - self._now.at < 3 * EVERY_SECONDS else None

    async def now(self) -> Now:
        """The last look, if it is not older than a second, else a new one; a page does not wait long for it."""
        if time.monotonic() - self._now.at < EVERY_SECONDS:
            return self._now
        try:
            async with asyncio.timeout(PAGE_PATIENCE_SECONDS):
                return await self.look()
        except TimeoutError:
            self._reach.failed("store", f"no answer within {PAGE_PATIENCE_SECONDS:.0f} s")
            return replace(self._now, time=time.time(), snapshot=None, unknown=self._reach.all())

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
        for asked in (self._failover, self._heard, self._told, self._logs):
            asked.cancel()
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
        others: tuple[Asked[Any], ...] = (self._heard, self._told, self._logs)
        looks = (each.look(_LONG if each.at is None and each.refused is None else _SHORT) for each in others)
        known, *_ = await asyncio.gather(self._failover.look(1.0 if self._failover.at else _LONG), *looks)
        if not known and time.time() - (self._failover.at or 0) > _STORE_SILENT_SECONDS:
            self._reach.failed("store", f"no answer within {_STORE_SILENT_SECONDS:.0f} s")
        unknown = self._unknown()
        heard = self._heard.answer
        last = self._failover.answer
        self._now = Now(
            at=time.monotonic(),
            time=time.time(),
            unknown=unknown,
            snapshot=None if of(unknown, "store") else last,
            last=last,
            read=self._failover.at,
            events=self._events,
            pushes=heard.pushes if heard else None,
            alerts=self._alerts(unknown),
        )
        return self._now

    def _unknown(self) -> tuple[Unknown, ...]:
        """What does not answer at all, and what refuses what is asked here."""
        found = self._reach.all()
        if of(found, "prometheus"):  # who told of the hub
            found = tuple(each for each in found if each.part != "hub")
        refusals = (each.refused for each in (self._failover, self._heard, self._told) if each.refused)
        return found + tuple(each for each in refusals if of(found, each.part) is None)

    def _alerts(self, unknown: tuple[Unknown, ...]) -> tuple[Alert, ...] | None:
        """Of the one that answers, else of both; None: neither has said anything yet."""
        told, heard = self._told.answer, self._heard.answer
        if of(unknown, "alertmanager") and heard is not None and not of(unknown, "prometheus"):
            return heard.firing
        if told is None:
            return None
        return merged(told, heard.firing if heard and not of(unknown, "prometheus") else (), time.time())

    async def _ask_store(self) -> Snapshot:
        try:
            snapshot = await self._store.snapshot()
            if snapshot.counts != self._counted or not self._events:
                self._events = tuple(await self._store.events(EVENTS_SHOWN))
                self._counted = snapshot.counts
        except RectbotError as error:
            raise self._reach.failed("store", str(error)) from error
        self._reach.answered("store")
        return snapshot


async def _ask_prometheus(prometheus: Upstream, reach: Reach) -> Heard:
    queries = ("push_time_seconds", 'up{job="hub"}')
    answers = [await prometheus.get("/api/v1/query", {"query": each}) for each in queries]
    pushes, hub = (answer["data"]["result"] for answer in answers)
    firing = firing_in(await prometheus.get("/api/v1/alerts"))
    if [entry["value"][1] for entry in hub] == ["0"]:
        reach.failed("hub", "Prometheus cannot read the hub's exporter")
    else:
        reach.answered("hub")
    return Heard({entry["metric"].get("job", "?"): float(entry["value"][1]) for entry in pushes}, firing)
