"""A lease store in this process, for tests of a workload: several sites in one event loop, and no Redis.

    server = MemoryServer()
    await run(config, server.open(config), MyWorkload())

It can hang, go away and come back, with its data or without, as a Redis can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rectbot.failover.clock import boottime_ms
from rectbot.failover.config import FailoverConfig
from rectbot.failover.events import Event, Hold, Leader, Site, Snapshot, iso
from rectbot.failover.messages import Command, Granted, Outcome, Refused, Renewed, Reply, Request
from rectbot.failover.orders import obey
from rectbot.failover.store import StoreUnavailable
from rectbot.failover.table import LeaseTable
from rectbot.failover.watch import Watch


class MemoryServer:
    """What the sites share. `clock` tells milliseconds since 1970, or since anything."""

    def __init__(self, clock: Callable[[], int] = boottime_ms) -> None:
        self.clock = clock
        self.table = LeaseTable()
        self.ears: set[tuple[str, Callable[[], None]]] = set()
        self._up = True
        self._awake = asyncio.Event()
        self._awake.set()

    def open(self, config: FailoverConfig) -> MemoryLeaseStore:
        return MemoryLeaseStore(self, config)

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
        run = self.table.run + 1
        self.table = self.table.copy() if keep_data else LeaseTable()
        self.table.run = run
        self._up = True
        for _, changed in tuple(self.ears):  # they have connected anew, and may have missed something
            changed()

    def flush(self) -> None:
        """The same process forgets everything."""
        run = self.table.run
        self.table = LeaseTable()
        self.table.run = run

    async def ready(self) -> None:
        """Returns when it would answer. Raises StoreUnavailable."""
        await self._awake.wait()
        if not self._up:
            raise StoreUnavailable("the store in memory is away")

    def announce(self, author: str) -> None:
        if self.table.announced:
            for site, changed in tuple(self.ears):
                if site != author:
                    asyncio.get_running_loop().call_soon(changed)


class MemoryLeaseStore:
    """One site's view of a MemoryServer. See LeaseStore."""

    def __init__(self, server: MemoryServer, config: FailoverConfig) -> None:
        self.serving: bool | None = None
        self._server = server
        self._config = config
        self._watch = Watch()

    async def request(self, request: Request, give_up_at: int) -> Reply:
        patience = max(0, give_up_at - boottime_ms()) / 1000
        number = self._watch.number()
        try:
            async with asyncio.timeout(patience):
                await self._server.ready()
        except TimeoutError:
            raise StoreUnavailable(f"the store in memory did not answer within {patience:.1f} s") from None
        seal = self._watch.seal(number, boottime_ms())
        now = self._server.clock()
        done = self._server.table.handle(self._config, request, now, seal)
        assert done is not None, "nothing is overtaken within one process"
        reply, doubt = done
        if isinstance(reply, Granted | Refused | Renewed):
            self._watch.heard(boottime_ms(), now, self._server.table.era, doubt)
        self._server.announce(self._config.site)
        return reply

    async def listen(self, changed: Callable[[], None]) -> None:
        ear = (self._config.site, changed)
        self._server.ears.add(ear)
        changed()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._server.ears.discard(ear)

    async def command(self, command: Command) -> Outcome:
        await self._server.ready()
        outcome = obey(self._server.table, self._config, command, self._server.clock())
        self._server.announce("")
        return outcome

    async def initialise(self) -> bool:
        await self._server.ready()
        return self._server.table.initialise(self._config, self._server.clock())

    async def snapshot(self) -> Snapshot:
        await self._server.ready()
        config, table, now = self._config, self._server.table, self._server.clock()
        lock, operator = table.read_lock(now), table.operator
        hold = operator.hold_until - now
        return Snapshot(
            leader=Leader(lock.site, lock.owner, lock.epoch, iso(lock.since), lock.until - now) if lock else None,
            sites={site: seen for site in config.priority if (seen := self._site(site, now))},
            suspended_ms=max(0, table.suspended_until - now),
            epoch=table.epoch or 0,
            hold=Hold(hold / 1000, operator.hold_site, operator.hold_why) if hold > 0 else None,
            switch_to=operator.switch_to if now < operator.switch_until else "",
            pinned=operator.pinned,
            drained=dict(operator.drained),
            logins_left=table.logins_left(config, now),
            next_login_s=table.next_login_in(config, now) / 1000,
            counts=dict(table.counts),
        )

    def _site(self, site: str, now: int) -> Site | None:
        table, beat = self._server.table, self._server.table.beats.get(site)
        if beat is None or now > beat.until:
            return None
        return Site(
            heartbeat_age_s=(now - beat.at) / 1000,
            eligible=table.is_ready(beat, now),
            priority=self._config.priority.index(site),
            owner=beat.owner,
            waits=beat.waits,
            damped_s=table.damped_for(self._config, site, now) / 1000,
            losses=table.losses_of(self._config, site, now)[0],
        )

    async def events(self, count: int = 100) -> list[Event]:
        await self._server.ready()
        return self._server.table.journal[-count:]

    async def close(self) -> None:
        """Nothing to end."""
