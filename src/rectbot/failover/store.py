"""The lease store: what the protocol's requests are sent to, and its Redis implementation.

Each request is one Lua script, so one atomic act and one round trip. Redis's own clock alone judges what is fresh and
what has expired. A request that arrives after its sender has given it up has no effect: it carries the store's time
until which it holds, which is reckoned from the store's time in earlier answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from rectbot.errors import ConfigError, RectbotError
from rectbot.failover.clock import boottime_ms
from rectbot.failover.codec import decode, decode_event, decode_outcome, decode_snapshot, encode, encode_command
from rectbot.failover.config import FailoverConfig
from rectbot.failover.endpoint import Endpoint, parse_url
from rectbot.failover.events import Event, Snapshot
from rectbot.failover.link import Link, RoundTrips, Script
from rectbot.failover.messages import Command, Outcome, Renew, Reply, Request
from rectbot.failover.resp import Connection, Disconnected, ServerError

_log = logging.getLogger(__name__)
_OPERATOR_TIMEOUT = 5.0


class StoreUnavailable(RectbotError):  # noqa: N818 (a state, named in the public API)
    """The store did not answer, or not in time, or with an error. The request may have taken effect all the same."""


class LeaseStore(Protocol):
    """Grants, prolongs and takes back the one lock, each atomically."""

    serving: bool | None  # what the next heartbeat says of the workload; None: it does not run

    async def request(self, request: Request, give_up_at: int) -> Reply:
        """Answers before `give_up_at` (of `boottime_ms()`), or raises StoreUnavailable.

        Raises ConfigError when the store refuses us for good (wrong password).
        """

    async def listen(self, changed: Callable[[], None]) -> None:
        """Calls `changed` whenever another site did something that may concern this one. Never returns, never fails."""

    async def command(self, command: Command) -> Outcome:
        """An operator's act. Raises StoreUnavailable or ConfigError."""

    async def close(self) -> None:
        """Ends all connections."""

    async def snapshot(self) -> Snapshot:
        """The state at one moment. Raises StoreUnavailable or ConfigError."""

    async def events(self, count: int = 100) -> list[Event]:
        """The last `count` events, newest last. Raises StoreUnavailable or ConfigError."""

    async def initialise(self) -> bool:
        """Tells a server that it has lost nothing, so that the first grant need not wait for one TTL.

        Call it only when you know: the data directory is brand new, or is as a clean shutdown left it.
        Does nothing, and returns False, once any site has spoken to this server process.
        """


def open_store(
    config: FailoverConfig,
    *,
    url: str | None = None,
    host: str = "127.0.0.1",
    port: int = 6379,
    username: str = "",
    password: str = "",
    db: int = 0,
    tls: bool = False,
    cacert: Path | None = None,
) -> RedisLeaseStore:
    """A store at `url`, or else at `host` and `port`; nothing is connected yet. Raises ConfigError for a wrong URL."""
    if url is not None:
        return RedisLeaseStore(parse_url(url, cacert), config)
    endpoint = Endpoint(host, port, username=username, password=password, db=db, tls=tls, cacert=cacert)
    return RedisLeaseStore(endpoint, config)


class RedisLeaseStore:
    """The lease store in Redis 7 or Valkey. See LeaseStore."""

    def __init__(self, endpoint: Endpoint, config: FailoverConfig) -> None:
        self.endpoint = endpoint
        self._config = config
        self.serving: bool | None = None
        self._link = Link(endpoint)
        self._renewals = RoundTrips()
        self._scripts: dict[str, Script] = {}
        self._keys = [config.lock_key, config.epoch_key, config.reserved_key]
        self._keys += [config.events_key, config.operator_key, config.counts_key]
        self._keys += map(config.heartbeat_key, config.priority)
        self._fields = {
            "site": config.site,
            "owner": config.owner,
            "place": config.priority.index(config.site) + 1 if config.site else 0,
            "ttl": config.lock_ttl_ms,
            "beat_ttl": round(config.hb_ttl_sec * 1000),
            "failback": config.failback_ms,
            "reserve": config.reserve_ms,
            "damping": config.damping_ms,
            "damping_max": config.damping_max_ms,
            "login_burst": config.login_burst,
            "login_ms": config.login_ms,
            "channel": config.channel,
        }

    async def request(self, request: Request, give_up_at: int) -> Reply:
        name, fields = encode(request)
        if not isinstance(request, Renew):
            return decode(await self._run(name, fields | self._report(), give_up_at))
        sent_at = boottime_ms()
        try:
            answer = await self._run(name, fields | self._report(), give_up_at)
        except StoreUnavailable:
            self._renewals.failed()
            raise
        self._renewals.took(boottime_ms() - sent_at)
        return decode(answer)

    def _report(self) -> dict[str, Any]:
        report = {"renewals": self._renewals.as_dict()}
        return {"report": report if self.serving is None else report | {"serving": self.serving}}

    async def command(self, command: Command) -> Outcome:
        fields = encode_command(command, self._config.priority, 2 * self._config.lock_ttl_ms)
        return decode_outcome(await self._run("command", fields, _operator_patience()))

    async def initialise(self) -> bool:
        answer = await self._run("initialise", {}, _operator_patience())
        return bool(answer["status"] == "initialised")

    async def snapshot(self) -> Snapshot:
        fields = {"sites": list(self._config.priority)}
        return decode_snapshot(await self._run("snapshot", fields, _operator_patience()))

    async def events(self, count: int = 100) -> list[Event]:
        async def read() -> Any:
            return await self._link.call("XREVRANGE", self._config.events_key, "+", "-", "COUNT", count)

        return [decode_event(entry) for entry in reversed(await self._patiently(read, _OPERATOR_TIMEOUT))]

    async def listen(self, changed: Callable[[], None]) -> None:
        pause = self._config.retry_ms / 1000
        while True:
            connection = None
            try:
                async with asyncio.timeout(self._config.renew_interval_ms / 1000):
                    connection = await self._link.connect()
                    await connection.call("SUBSCRIBE", self._config.channel)
                changed()  # something may have been announced before we listened
                await self._hear(connection, changed)
            except (Disconnected, ServerError, ConfigError, TimeoutError) as error:
                _log.debug("announcements: %s; the heartbeats do without", error or "no answer")
                await asyncio.sleep(pause)
            finally:
                if connection is not None:
                    connection.abort()

    async def _hear(self, connection: Connection, changed: Callable[[], None]) -> None:
        """Passes announcements of other sites on; a PING when it was silent for long finds out a dead connection."""
        own = self._config.site.encode()
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
            if message[0] == b"message" and message[2] != own:
                changed()

    async def close(self) -> None:
        self._link.abort()

    async def _run(self, name: str, fields: dict[str, Any], give_up_at: int) -> dict[str, Any]:
        script = self._script("common", name)

        async def run() -> dict[str, Any]:
            return await self._link.run(script, self._keys, self._fields | fields, give_up_at)

        answer: dict[str, Any] = await self._patiently(run, (give_up_at - boottime_ms()) / 1000)
        return answer

    async def _patiently(self, act: Callable[[], Any], seconds: float) -> Any:
        try:
            async with asyncio.timeout(max(seconds, 0)):
                return await act()
        except TimeoutError:
            raise StoreUnavailable(f"Redis at {self.endpoint} did not answer within {max(seconds, 0):.1f} s") from None
        except (Disconnected, ServerError) as error:
            raise StoreUnavailable(str(error)) from None

    def _script(self, *names: str) -> Script:
        if names[-1] not in self._scripts:
            self._scripts[names[-1]] = Script(*names)
        return self._scripts[names[-1]]


def _operator_patience() -> int:
    return boottime_ms() + round(_OPERATOR_TIMEOUT * 1000)
