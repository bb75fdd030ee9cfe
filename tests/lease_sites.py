"""Sites as a lease store sees them: their requests, without protocol or workload."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

from rectbot.failover import FailoverConfig, LeaseStore, StoreUnavailable, open_store
from rectbot.failover.clock import boottime_ms
from rectbot.failover.messages import Campaign, Granted, Refused, Reply, Request
from servers import PASSWORD, RedisServer

TTL_MS = 600


class Server(Protocol):
    """A lease store's server, and what can happen to it."""

    def open(self, config: FailoverConfig) -> LeaseStore: ...

    def kill(self) -> None: ...

    def start(self) -> None: ...

    def flush(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class OnRedis:
    """A real one."""

    def __init__(self, redis: RedisServer) -> None:
        self._redis = redis
        self.kill, self.start, self.pause, self.resume = redis.kill, redis.start, redis.pause, redis.resume

    def open(self, config: FailoverConfig) -> LeaseStore:
        return open_store(config, port=self._redis.port, password=PASSWORD)

    def flush(self) -> None:
        self._redis.command("FLUSHALL")


class Site:
    """A site's view of the store."""

    def __init__(self, server: Server | RedisServer, name: str, **changes: Any) -> None:
        given: dict[str, Any] = {"lock_ttl_ms": TTL_MS, "failback_delay_sec": 0.2}
        self.config = FailoverConfig(site=name, priority=("a", "b", "c"), **given | changes).validate()
        self.store = (OnRedis(server) if isinstance(server, RedisServer) else server).open(self.config)

    async def ask(self, request: Request) -> Reply:
        for _ in range(4):  # the runner asks again, too
            with suppress(StoreUnavailable):  # by a restarted server, or a machine that has no time for it
                return await self.store.request(request, boottime_ms() + 2_000)
        return await self.store.request(request, boottime_ms() + 2_000)

    async def campaign(self, *, eligible: bool = True, epoch_seen: int = 0) -> Reply:
        return await self.ask(Campaign(eligible, epoch_seen))

    async def win(self) -> int:
        reply = await self.campaign()
        assert isinstance(reply, Granted), reply
        return reply.epoch

    async def stand_by(self, for_ms: int) -> None:
        """Sends heartbeats, as who does not for a TTL cannot rely on what it has watched before."""
        until = boottime_ms() + for_ms
        while boottime_ms() < until:
            await self.campaign()
            await asyncio.sleep(min(TTL_MS // 3, max(0, until - boottime_ms())) / 1000)

    async def campaign_until_granted(self) -> int:
        while True:
            match await self.campaign():
                case Granted(epoch):
                    return epoch
                case Refused(wait_ms=wait_ms):
                    await asyncio.sleep(min(wait_ms if wait_ms is not None else 20, TTL_MS // 3) / 1000)  # a heartbeat


Sites = Callable[..., Site]


@asynccontextmanager
async def sites_on(server: Server | RedisServer) -> AsyncIterator[Sites]:
    """Makes sites on a server that knows that it is new."""
    made: list[Site] = []

    def make(name: str, **changes: Any) -> Site:
        made.append(Site(server, name, **changes))
        return made[-1]

    assert await make("c").store.initialise()
    yield make
    for each in made:
        await each.store.close()
