"""The stores as registers, each on a real server, with a way that can be cut; what the conformance tests run on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from failover_sites import Link
from lease_servers import CREDENTIALS, S3, Etcd
from rectbot.failover.config import FailoverConfig
from rectbot.failover.endpoint import Endpoint, parse_url
from rectbot.failover.stores.base import Register
from rectbot.failover.stores.bucket import BucketRegister
from rectbot.failover.stores.etcd import EtcdRegister
from rectbot.failover.stores.memory import MemoryRegister, MemoryServer
from rectbot.failover.stores.redis import RedisRegister
from rectbot.failover.stores.urls import Cluster, parse_bucket
from sentinels import Group
from servers import RedisServer

POLL_MS, RETRY_MS = 200, 250


class Server(Protocol):
    """What can happen to a store."""

    def kill(self) -> None: ...

    def start(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


@dataclass
class Backend:
    """A store under test."""

    server: Server
    links: list[Link]
    open: Callable[[], Register]

    def each_link(self, act: Callable[[Link], None]) -> None:
        for link in self.links:
            act(link)


@asynccontextmanager
async def on_etcd(cluster: Etcd, key: str) -> AsyncIterator[Backend]:
    async with AsyncExitStack() as stack:
        links = [await stack.enter_async_context(Link(port)) for port in cluster.ports]
        members = tuple(("127.0.0.1", link.port) for link in links)
        yield Backend(
            cluster, links, lambda: EtcdRegister(Cluster(members), key, retry_ms=RETRY_MS, silence_ms=4 * RETRY_MS)
        )


@asynccontextmanager
async def on_bucket(server: S3, key: str) -> AsyncIterator[Backend]:
    async with Link(server.port) as link:
        place = parse_bucket(server.url.replace(str(server.port), str(link.port)), CREDENTIALS)
        yield Backend(server, [link], lambda: BucketRegister(place, key, poll_ms=POLL_MS))


@asynccontextmanager
async def on_redis(server: RedisServer, key: str) -> AsyncIterator[Backend]:
    async with Link(server.port) as link:
        endpoint = Endpoint(port=link.port, password=server.password)
        yield Backend(server, [link], lambda: RedisRegister(endpoint, _config(key)))


@asynccontextmanager
async def on_sentinel(group: Group, key: str) -> AsyncIterator[Backend]:
    yield Backend(group, [], lambda: RedisRegister(parse_url(group.url), _config(key)))


@asynccontextmanager
async def in_memory(server: MemoryServer, _key: str) -> AsyncIterator[Backend]:
    server.flush()
    yield Backend(server, [], lambda: MemoryRegister(server))


def _config(key: str) -> FailoverConfig:
    return FailoverConfig(
        site="a",
        priority=("a", "b"),
        lock_key=key,
        hb_prefix=f"{key}:hb:",
        lock_ttl_ms=3_000,
        renew_interval_ms=4 * RETRY_MS,
    )


@asynccontextmanager
async def opened(backend: Backend, count: int) -> AsyncIterator[list[Register]]:
    registers = [backend.open() for _ in range(count)]
    try:
        yield registers
    finally:
        await asyncio.gather(*(register.close() for register in registers))


@asynccontextmanager
async def watching(register: Register, changed: Callable[..., None]) -> AsyncIterator[None]:
    watch = asyncio.create_task(register.watch(changed))
    try:
        yield
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
