"""The register in Redis: one script that compares, writes, journals and publishes, so one round trip for a swap.

The key of the record is one that earlier versions kept a hash at. So their scripts stop at it with WRONGTYPE: a site of
an earlier version neither leads nor renews beside a record; and no record is written while such a site leads.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from rectbot.errors import ConfigError
from rectbot.failover.clock import boottime_ms
from rectbot.failover.config import FailoverConfig
from rectbot.failover.endpoint import Endpoint
from rectbot.failover.resp import Connection, Disconnected, ServerError
from rectbot.failover.stores.base import Entry, StoreUnavailable, Version
from rectbot.failover.stores.redis import keys
from rectbot.failover.stores.redis.link import Link

T = TypeVar("T")

_log = logging.getLogger(__name__)
_JOURNAL_SECONDS = 5.0


class RedisRegister:
    """See stores/base.py. Nothing is connected yet."""

    def __init__(self, endpoint: Endpoint, config: FailoverConfig) -> None:
        self.endpoint = endpoint
        self.where = f"Redis at {endpoint}"
        self.hurry = False
        self._config = config
        self._keys = keys.names(config)
        self._link = Link(endpoint)

    async def read(self, give_up_at: int) -> Version:
        return await self._run({"swap": False}, b"", give_up_at)

    async def swap(self, seen: Version, record: bytes, outbox: Sequence[Entry], give_up_at: int) -> Version:
        journaled = keys.journaled(seen.record)
        request = {
            "swap": True,
            "token": seen.token,
            "server": seen.server,
            "channel": self._config.channel,
            "events": [keys.event_fields(entry) for entry in outbox if entry.number > journaled],
        }
        return await self._run(request | keys.mirrored(self._config, record), record, give_up_at)

    async def _run(self, request: dict[str, Any], record: bytes, give_up_at: int) -> Version:
        seconds = max(give_up_at - boottime_ms(), 0) / 1000
        answer = await self._patiently(
            lambda: self._link.run(self._keys, lambda term: json.dumps(request | {"term": term}), record, seconds),
            seconds,
        )
        token, kind, text, server, age, old = answer
        age_ms = age if age >= 0 else None
        if kind == b"hash":
            text = keys.of_earlier_version(old, str(self.endpoint))
        elif kind not in (b"string", b"none"):
            text = b"%b, not a string" % kind  # no record, which decode() will say
        return Version(token.decode(), text, server.decode(), age_ms)

    async def journal(self, count: int) -> list[Entry]:
        async def read() -> Any:
            return await self._link.call("XREVRANGE", self._config.events_key, "+", "-", "COUNT", count)

        try:
            found = await self._patiently(read, _JOURNAL_SECONDS)
        except StoreUnavailable as error:
            if "WRONGTYPE" in str(error):  # another program's: the next swap sets it aside
                return []
            raise
        return [entry for words in reversed(found) if (entry := keys.entry(words)) is not None]

    async def watch(self, changed: Callable[[Version | None], None]) -> None:
        pause = self._config.retry_ms / 1000
        while True:
            connection = None
            try:
                async with asyncio.timeout(self._config.patience_ms / 1000):
                    connection = await self._link.connect()
                    await connection.call("SUBSCRIBE", self._config.channel)
                changed(None)  # something may have been published before we listened
                await self._hear(connection, changed)
            except (Disconnected, ServerError, ConfigError, TimeoutError) as error:
                _log.debug("announcements: %s; the heartbeats do without", error or "no answer")
                await asyncio.sleep(pause)
            finally:
                if connection is not None:
                    connection.abort()

    async def _hear(self, connection: Connection, changed: Callable[[Version | None], None]) -> None:
        """Passes on what is published; a PING when it was silent for long finds out a dead connection."""
        silence = self._config.renew_interval_ms / 1000
        while True:
            read = asyncio.ensure_future(connection.receive())
            try:
                done, _ = await asyncio.wait({read}, timeout=silence)
                if not done:
                    connection.send("PING")
                    done, _ = await asyncio.wait({read}, timeout=silence)  # wait_for() of 3.11 can swallow a cancel
                if not done:
                    raise TimeoutError
                message = read.result()
            finally:
                read.cancel()
            if message[0] == b"message":
                server, _, rest = message[2].partition(b" ")
                token, _, record = rest.partition(b" ")
                changed(Version(token.decode(), record, server.decode(), 0) if record else None)

    async def _patiently(self, act: Callable[[], Awaitable[T]], seconds: float) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await act()
        except TimeoutError:
            raise StoreUnavailable(f"{self.where} did not answer within {seconds:.1f} s") from None
        except (Disconnected, ServerError) as error:
            raise StoreUnavailable(str(error)) from None

    async def close(self) -> None:
        self._link.abort()
