"""Sites with a workload inside of this process. The judge is what the workloads saw."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from rectbot.failover import Ended, FailoverConfig, Lease, open_store, run
from rectbot.failover.clock import boottime_ms
from servers import PASSWORD, RedisServer

TTL_MS = 1_000


@dataclass
class Session:
    site: str
    epoch: int
    opened: int
    closed: int | None = None


@dataclass
class Journal:
    """Every session of every workload: the outside judge."""

    sessions: list[Session] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, met: Callable[[], bool]) -> None:
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(met)

    def live(self) -> list[str]:
        return [session.site for session in self.sessions if session.closed is None]

    def sites(self) -> list[str]:
        return [session.site for session in self.sessions]

    def overlaps(self) -> list[tuple[Session, Session]]:
        end = float("inf")
        return [
            (a, b)
            for i, a in enumerate(self.sessions)
            for b in self.sessions[i + 1 :]
            if a.opened < (b.closed or end) and b.opened < (a.closed or end)
        ]


class Bot:
    """A workload that keeps a session open, and can fail in the ways that a test asks for."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.lease: Lease | None = None
        self.session: Session | None = None
        self.ended: asyncio.Future[Ended] | None = None
        self.stop_takes = 0.0
        self.healthy_now: bool | None = True

    async def start(self, lease: Lease) -> None:
        lease.check()
        self.lease, self.ended = lease, asyncio.get_running_loop().create_future()
        async with self.journal.changed:
            self.session = Session(lease.site, lease.epoch, boottime_ms())
            self.journal.sessions.append(self.session)
            self.journal.changed.notify_all()

    async def wait(self) -> Ended:
        assert self.ended is not None
        return await self.ended

    async def stop(self, timeout: float) -> None:  # noqa: ASYNC109
        await asyncio.sleep(min(self.stop_takes, timeout))
        async with self.journal.changed:
            if self.session is not None:
                self.session.closed = boottime_ms()
            self.journal.changed.notify_all()
        self.session = None

    @property
    def healthy(self) -> bool:
        if self.healthy_now is None:
            raise ValueError("test")
        return self.healthy_now

    def end(self, reason: str, *, fatal: bool = False) -> None:
        assert self.ended is not None
        self.ended.set_result(Ended(reason, fatal))


@dataclass
class Running:
    config: FailoverConfig
    bot: Bot
    stop: asyncio.Event
    task: asyncio.Task[None]

    async def stopped(self) -> None:
        self.stop.set()
        await asyncio.wait_for(self.task, 20)


Start = Callable[..., Running]


@contextlib.asynccontextmanager
async def bots_on(redis: RedisServer, journal: Journal) -> AsyncIterator[Start]:
    """Starts sites on a Redis that knows that it is new; in the end nothing of them is left, and nothing overlapped."""
    sites: list[Running] = []

    def begin(name: str, **changes: Any) -> Running:
        port = changes.pop("port", redis.port)
        given: dict[str, Any] = {"lock_ttl_ms": TTL_MS, "failback_delay_sec": 0.3, "sit_out_ms": 300}
        config = FailoverConfig(site=name, priority=("a", "b"), **given | changes)
        store, bot, stop = open_store(config, port=port, password=PASSWORD), Bot(journal), asyncio.Event()
        sites.append(Running(config, bot, stop, asyncio.create_task(run(config, store, bot, stop=stop))))
        return sites[-1]

    observer = open_store(FailoverConfig(site="", lock_ttl_ms=TTL_MS), port=redis.port, password=PASSWORD)
    await observer.initialise()
    await observer.close()
    yield begin
    for site in sites:
        site.task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await site.task
    assert journal.live() == [], "a site that ended left its workload behind"
    assert journal.overlaps() == []
