"""The lease store of one process: requests, commands and views of the record, over any register."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from rectbot.failover import rules
from rectbot.failover.clock import boottime_ms
from rectbot.failover.codec import decode, decode_event, encode, encode_event
from rectbot.failover.commands import obey
from rectbot.failover.config import FailoverConfig
from rectbot.failover.events import Event, Snapshot
from rectbot.failover.messages import Command, Outcome, Renew, Reply, Request
from rectbot.failover.record import Draft, Record, Seen
from rectbot.failover.rules import Forgetful
from rectbot.failover.scribe import Scribe
from rectbot.failover.snapshot import snapshot
from rectbot.failover.stores import open_register
from rectbot.failover.stores.base import Entry, Register, StoreUnavailable, Version
from rectbot.failover.trips import RoundTrips
from rectbot.failover.view import View

__all__ = ["LeaseStore", "StoreUnavailable", "open_store"]

_OPERATOR_PATIENCE_MS = 5_000
_HURRY_MS = 10_000  # before something is due, a register that polls polls faster


def open_store(config: FailoverConfig, *, url: str | None = None, **options: Any) -> LeaseStore:
    """The store at `url`: redis://, rediss://, unix://, redis+sentinel://, s3://, gs://, az:// or etcd://.

    Without one, the Redis at `host` and `port`. Further options are the fields of an Endpoint (`username`, `password`,
    `db`, `tls`, `cacert`), or those of open_register(). Nothing is connected yet. Raises ConfigError for a wrong URL.
    """
    return LeaseStore(open_register(config, url=url, **options), config)


class LeaseStore:
    """What a site, an operator and whoever looks on ask of the record."""

    def __init__(self, register: Register, config: FailoverConfig) -> None:
        self.register = register
        self._config = config
        self._scribe = Scribe(config)
        self._turn = asyncio.Lock()
        self._wanted: Request | None = None
        self._trips = RoundTrips()

    @property
    def serving(self) -> bool | None:
        """What the next heartbeat says of the workload; None: it does not run."""
        return self._scribe.serving

    @serving.setter
    def serving(self, serving: bool | None) -> None:
        self._scribe.serving = serving

    # --- a site's

    async def request(self, request: Request, give_up_at: int) -> Reply:
        """Answers before `give_up_at` (of `boottime_ms()`), or raises StoreUnavailable. A newer request ends this one.

        Raises ConfigError when the store refuses us for good (wrong password).
        """
        self._wanted, began = request, boottime_ms()
        try:
            async with self._turn:
                reply = await self._answer(request, give_up_at)
        except BaseException:
            self._scribe.failed()
            if isinstance(request, Renew):
                self._trips.failed()
            raise
        if isinstance(request, Renew):
            self._trips.took(boottime_ms() - began)
        return reply

    async def _answer(self, request: Request, give_up_at: int) -> Reply:
        while self._wanted is request:
            now = boottime_ms()
            if now >= give_up_at:
                break
            self._scribe.trips = self._trips.as_dict()
            made = self._scribe.propose(request, now, _wall())
            limit = min(now + self._config.patience_ms, give_up_at)
            if made is None:
                mark = self._scribe.mark
                self._scribe.has_read(self._seen(await self.register.read(limit)), mark, boottime_ms())
            elif not isinstance(made, Draft):
                return made
            elif (reply := await self._swap(made, limit)) is not None:
                return reply
        raise StoreUnavailable(f"{self.register.where} did not answer within the time that was left")

    async def _swap(self, draft: Draft, give_up_at: int) -> Reply | None:
        seen, text = draft.seen, encode(draft.record)
        before = Version(seen.token, seen.raw, seen.server)
        version = await self.register.swap(before, text, _outbox(draft.record), give_up_at)
        if version.record == text:
            found = Seen(version.token, version.server, draft.record, raw=text)
        else:
            found = self._seen(version)
        return self._scribe.settle(draft, found, boottime_ms())

    async def listen(self, changed: Callable[[], None]) -> None:
        """Calls `changed` whenever the record may have changed: see due(). Never returns, never fails."""

        def overhear(version: Version | None) -> None:
            if self._scribe.overhear(self._seen(version) if version is not None else None, boottime_ms()):
                changed()

        await self.register.watch(overhear)

    def due(self, *, leads: bool) -> int | None:
        """In how many milliseconds a request would achieve something, as things stand; None: not by waiting."""
        due = self._scribe.due(leads, boottime_ms())
        self.register.hurry = due is not None and due < _HURRY_MS
        return due

    async def close(self) -> None:
        """Ends all connections."""
        await self.register.close()

    # --- an operator's, and whoever looks on

    async def command(self, command: Command) -> Outcome:
        """An operator's act. Raises StoreUnavailable or ConfigError."""
        give_up_at = boottime_ms() + _OPERATOR_PATIENCE_MS
        version = await self.register.read(give_up_at)
        while True:
            seen = self._seen(version)
            view = self._view(seen.record)
            record = seen.record or rules.suspend(
                self._config, None, view, Forgetful(seen.server, seen.flaw or "no memory", self._config.lock_ttl_ms)
            )
            made, outcome = obey(self._config, record, command, view, _age(version, record))
            if made is None:
                return outcome
            mine = encode(made)
            version = await self.register.swap(version, mine, _outbox(made), give_up_at)
            if version.record == mine:
                return outcome

    async def initialise(self) -> bool:
        """Tells a server that it has lost nothing, so that the first grant need not wait for one TTL.

        Call it only when you know: the data directory is brand new, or is as a clean shutdown left it.
        Does nothing, and returns False, once any site has spoken to this server process.
        """
        give_up_at = boottime_ms() + _OPERATOR_PATIENCE_MS
        version = await self.register.read(give_up_at)
        seen = self._seen(version)
        if seen.flaw or (seen.record is not None and seen.record.server in ("", seen.server)):
            return False
        made = rules.initialise(self._config, seen.record, self._view(seen.record), seen.server)
        mine = encode(made)
        return (await self.register.swap(version, mine, _outbox(made), give_up_at)).record == mine

    async def snapshot(self) -> Snapshot:
        """The state at one moment. Raises StoreUnavailable or ConfigError."""
        version = await self.register.read(boottime_ms() + _OPERATOR_PATIENCE_MS)
        seen = self._seen(version)
        record = seen.record
        forgot = record is not None and record.server != seen.server
        return snapshot(self._config, record, _age(version, record) if record else 0, suspended=forgot)

    async def events(self, count: int = 100) -> list[Event]:
        """The last `count` events, newest last. Raises StoreUnavailable or ConfigError."""
        version = await self.register.read(boottime_ms() + _OPERATOR_PATIENCE_MS)
        record = self._seen(version).record
        outbox = _outbox(record) if record else []  # the last ones, also those whose writer died before it journaled
        journal = await self.register.journal(count) if len(outbox) < count else []
        entries = {entry.number: entry for entry in (*outbox, *journal)}
        events = [decode_event(entries[number]) for number in sorted(entries)]
        return [event for event in events if event is not None][-count:]

    # --- between records and bytes

    def _seen(self, version: Version) -> Seen:
        known = self._scribe.known
        if known is not None and known.token == version.token and known.server == version.server:
            return known
        token, text, server, _ = version
        if text is None:
            return Seen(token, server, None)
        try:
            return Seen(token, server, decode(text), raw=text)
        except ValueError as error:
            return Seen(token, server, None, f"what is there is no record: {error}", text)

    def _view(self, record: Record | None) -> View:
        return View(boottime_ms(), record.t if record else 0, _wall(), self._scribe.number(), {})


def _wall() -> int:
    return time.time_ns() // 1_000_000


def _age(version: Version, record: Record) -> int:
    """How long ago the record was written: by the store's clock, or if that does not say, by the sites' and ours."""
    return version.age_ms if version.age_ms is not None else max(0, _wall() - record.wall)


def _outbox(record: Record) -> list[Entry]:
    return [encode_event(event) for event in record.outbox]
