"""A register in this process, for tests of a workload: several sites in one event loop, and no server.

    server = MemoryServer()
    await run(config, server.open(config), MyWorkload())

It can hang, go away and come back, with its data or without, as a Redis can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from rectbot.failover.clock import boottime_ms
from rectbot.failover.config import FailoverConfig
from rectbot.failover.store import LeaseStore
from rectbot.failover.stores.base import Entry, StoreUnavailable, Version


class MemoryServer:
    """What the sites share."""

    def __init__(self) -> None:
        self.record: bytes | None = None
        self.entries: list[Entry] = []
        self.ears: set[Callable[[Version | None], None]] = set()
        self._version = 0
        self._life = 0
        self._up = True
        self._awake = asyncio.Event()
        self._awake.set()

    def open(self, config: FailoverConfig) -> LeaseStore:
        return LeaseStore(MemoryRegister(self), config)

    def pause(self) -> None:
        """From now on it does not answer; requests wait."""
        self._awake.clear()

    def resume(self) -> None:
        self._awake.set()

    def kill(self) -> None:
        """From now on it cannot be reached."""
        self._up = False

    def start(self, *, keep_data: bool = True) -> None:
        """Another process of the server, with its predecessor's data or without."""
        self._life += 1
        self._up = True
        if not keep_data:
            self.flush()
        for changed in tuple(self.ears):  # they have connected anew, and may have missed something
            changed(None)

    def flush(self) -> None:
        """The same process forgets everything."""
        self._version += 1
        self.record, self.entries = None, []

    async def ready(self) -> None:
        """Returns when it would answer. Raises StoreUnavailable."""
        await self._awake.wait()
        if not self._up:
            raise StoreUnavailable("the store in memory is away")

    def seen(self) -> Version:
        return Version(str(self._version), self.record, f"memory{self._life}")

    def swap(self, seen: Version, record: bytes, outbox: Sequence[Entry]) -> bool:
        """Whether it was done."""
        if (seen.token, seen.server) != self.seen()[::2][:2]:
            return False
        self._version += 1
        self.record = record
        last = self.entries[-1].number if self.entries else 0
        self.entries += [entry for entry in outbox if entry.number > last]
        now = self.seen()
        for changed in tuple(self.ears):
            asyncio.get_running_loop().call_soon(changed, now)
        return True


class MemoryRegister:
    """One site's way to a MemoryServer. See stores/base.py."""

    def __init__(self, server: MemoryServer) -> None:
        self.where = "the store in memory"
        self.hurry = False
        self._server = server

    async def read(self, give_up_at: int) -> Version:
        await self._answer(give_up_at)
        return self._server.seen()

    async def swap(self, seen: Version, record: bytes, outbox: Sequence[Entry], give_up_at: int) -> Version:
        await self._answer(give_up_at)
        self._server.swap(seen, record, outbox)
        return self._server.seen()

    async def _answer(self, give_up_at: int) -> None:
        patience = max(0, give_up_at - boottime_ms()) / 1000
        try:
            async with asyncio.timeout(patience):
                await self._server.ready()
        except TimeoutError:
            raise StoreUnavailable(f"{self.where} did not answer within {patience:.1f} s") from None

    async def watch(self, changed: Callable[[Version | None], None]) -> None:
        self._server.ears.add(changed)
        changed(None)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._server.ears.discard(changed)

    async def journal(self, count: int) -> list[Entry]:
        await self._server.ready()
        return self._server.entries[-count:]

    async def close(self) -> None:
        """Nothing to end."""
