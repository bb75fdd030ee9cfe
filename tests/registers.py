"""The stores that hold a register, each with its server, for the conformance suite. A new one is one class more."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from rectbot.failover.config import FailoverConfig
from rectbot.failover.endpoint import Endpoint
from rectbot.failover.stores.base import Register
from rectbot.failover.stores.memory import MemoryRegister, MemoryServer
from rectbot.failover.stores.redis import RedisRegister
from servers import PASSWORD, RedisServer


class Host(Protocol):
    """A store's server, and what can happen to it."""

    def open(self, config: FailoverConfig) -> Register:
        """Nothing is connected yet."""

    async def restart(self) -> None:
        """kill -9, and another process with what is on the disk."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    async def cut(self) -> None:
        """All connections break."""


class OnMemory:
    def __init__(self) -> None:
        self._server = MemoryServer()
        self.pause, self.resume = self._server.pause, self._server.resume

    def open(self, config: FailoverConfig) -> Register:
        return MemoryRegister(self._server)

    async def restart(self) -> None:
        self._server.kill()
        await asyncio.sleep(0.05)
        self._server.start()

    async def cut(self) -> None:
        """There are none."""


class OnRedis:
    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def open(self, config: FailoverConfig) -> Register:
        return RedisRegister(Endpoint(port=self._server.port, password=PASSWORD), config)

    async def restart(self) -> None:
        self._server.kill()
        await asyncio.to_thread(self._server.start)

    def pause(self) -> None:
        self._server.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._server.signal(signal.SIGCONT)

    async def cut(self) -> None:
        for kind in ("normal", "pubsub"):
            await asyncio.to_thread(self._server.command, f"CLIENT KILL TYPE {kind}")


STORES = ("memory", "redis")


@asynccontextmanager
async def host_of(store: str, folder: Path) -> AsyncIterator[Host]:
    """A server of its own for one test."""
    if store == "memory":
        yield OnMemory()
        return
    server = RedisServer(folder / "redis")
    try:
        await asyncio.to_thread(server.start)
        yield OnRedis(server)
    finally:
        server.kill()
