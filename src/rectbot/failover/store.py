"""The lease store: what the protocol's requests are sent to, and its Redis implementation.

Each request is one Lua script, so one atomic act and one round trip. Redis's own clock alone judges what is fresh and
what has expired. A request that arrives after its sender has given it up has no effect: it carries the store's time
until which it holds, which is reckoned from the store's time in earlier answers.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from rectbot.errors import ConfigError, RectbotError
from rectbot.failover.clock import boottime_ms
from rectbot.failover.config import FailoverConfig
from rectbot.failover.events import Event, Leader, Site, Snapshot, iso
from rectbot.failover.messages import (
    Campaign,
    Granted,
    Lost,
    Refused,
    Release,
    Released,
    Renew,
    Renewed,
    Reply,
    Request,
)
from rectbot.failover.resp import Connection, Disconnected, Endpoint, ServerError, parse_url

_log = logging.getLogger(__name__)
_LUA = Path(__file__).with_name("lua")
_OPERATOR_TIMEOUT = 5.0


class StoreUnavailable(RectbotError):  # noqa: N818 (a state, named in the public API)
    """The store did not answer, or not in time, or with an error. The request may have taken effect all the same."""


class LeaseStore(Protocol):
    """Grants, prolongs and takes back the one lock, each atomically."""

    async def request(self, request: Request, give_up_at: int) -> Reply:
        """Answers before `give_up_at` (of `boottime_ms()`), or raises StoreUnavailable.

        Raises ConfigError when the store refuses us for good (wrong password).
        """

    async def listen(self, changed: Callable[[], None]) -> None:
        """Calls `changed` whenever another site did something that may concern this one. Never returns, never fails."""

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


class _Script:
    def __init__(self, *names: str) -> None:
        self.source = "\n".join((_LUA / f"{name}.lua").read_text() for name in names)
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


class _Link:
    """One connection, opened when it is needed, thrown away when it failed; and what the server's clock shows."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._ahead = 0  # server's clock minus ours, at most

    async def call(self, *words: str | int | bytes) -> Any:
        async with self._turn:
            return await (await self._open()).call(*words)

    async def run(self, script: _Script, keys: list[str], fields: dict[str, Any], give_up_at: int) -> dict[str, Any]:
        """Runs a script whose effect ends with the caller's patience."""
        async with self._turn:
            connection = await self._open()
            while True:
                sent_at = boottime_ms()
                argument = json.dumps(fields | {"not_after": give_up_at + self._ahead})
                answer = json.loads(await _eval(connection, script, keys, argument))
                self._ahead = answer["now"] - sent_at
                if answer["status"] != "late":
                    return dict(answer)
                # Our answer is here, so we were in time: it is the server's clock that was set. Now we know it anew.

    async def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = await Connection.open(self._endpoint)
            sent_at = boottime_ms()
            seconds, micros = await self._connection.call("TIME")
            self._ahead = int(seconds) * 1000 + int(micros) // 1000 - sent_at
        return self._connection

    def abort(self) -> None:
        if self._connection is not None:
            self._connection.abort()


async def _eval(connection: Connection, script: _Script, keys: list[str], *arguments: str) -> Any:
    try:
        return await connection.call("EVALSHA", script.sha, len(keys), *keys, *arguments)
    except ServerError as error:
        if not str(error).startswith("NOSCRIPT"):
            raise
        return await connection.call("EVAL", script.source, len(keys), *keys, *arguments)


class RedisLeaseStore:
    """The lease store in Redis 7 or Valkey. See LeaseStore."""

    def __init__(self, endpoint: Endpoint, config: FailoverConfig) -> None:
        self.endpoint = endpoint
        self._config = config
        self._link = _Link(endpoint)
        self._scripts: dict[str, _Script] = {}
        preferred = config.preferred if config.site else ()
        self._keys = [config.lock_key, config.epoch_key, config.reserved_key, config.events_key]
        self._keys += [config.heartbeat_key(site) for site in (config.site, *preferred)]
        self._fields = {
            "site": config.site,
            "owner": config.owner,
            "priority": len(preferred),
            "preferred": list(preferred),
            "ttl": config.lock_ttl_ms,
            "beat_ttl": round(config.hb_ttl_sec * 1000),
            "failback": config.failback_ms,
            "reserve": config.reserve_ms,
            "channel": config.channel,
        }

    async def request(self, request: Request, give_up_at: int) -> Reply:
        name, fields = _encode(request)
        return _decode(await self._run(name, fields, give_up_at))

    async def initialise(self) -> bool:
        answer = await self._run("initialise", {}, boottime_ms() + round(_OPERATOR_TIMEOUT * 1000))
        return bool(answer["status"] == "initialised")

    async def snapshot(self) -> Snapshot:
        sites = self._config.priority
        keys = [self._config.lock_key, self._config.epoch_key, *map(self._config.heartbeat_key, sites)]
        script = self._script("snapshot")

        async def read() -> Any:
            return await self._link.call("EVAL", script.source, len(keys), *keys)

        found = json.loads(await self._patiently(read, _OPERATOR_TIMEOUT))
        now = found["now"]
        return Snapshot(
            leader=_leader(found["lock"], found["left"]),
            sites={
                site: _site(beat, now, place)
                for place, (site, beat) in enumerate(zip(sites, found["beats"], strict=True))
                if beat
            },
            suspended_ms=max(0, found["suspended_until"] - now),
        )

    async def events(self, count: int = 100) -> list[Event]:
        async def read() -> Any:
            return await self._link.call("XREVRANGE", self._config.events_key, "+", "-", "COUNT", count)

        return [_event(entry) for entry in reversed(await self._patiently(read, _OPERATOR_TIMEOUT))]

    async def listen(self, changed: Callable[[], None]) -> None:
        pause = self._config.retry_ms / 1000
        while True:
            connection = None
            try:
                async with asyncio.timeout(self._config.renew_interval_ms / 1000):
                    connection = await Connection.open(self.endpoint)
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
                    await asyncio.wait_for(asyncio.shield(read), silence)
                message = await read
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

    def _script(self, *names: str) -> _Script:
        if names[-1] not in self._scripts:
            self._scripts[names[-1]] = _Script(*names)
        return self._scripts[names[-1]]


def _encode(request: Request) -> tuple[str, dict[str, Any]]:
    match request:
        case Campaign(eligible, epoch_seen):
            return "campaign", {"eligible": eligible, "epoch_seen": epoch_seen}
        case Renew(epoch):
            return "renew", {"epoch": epoch}
        case Release(epoch, why, to, eligible, leaving):
            return "release", {"epoch": epoch, "reason": why, "to": to, "eligible": eligible, "leaving": leaving}


def _decode(answer: dict[str, Any]) -> Reply:
    match answer["status"]:
        case "granted":
            return Granted(answer["epoch"])
        case "refused":
            return Refused(answer["why"], _duration(answer["wait"]), answer["epoch"], answer["by"])
        case "renewed":
            return Renewed(answer["yield_to"], _duration(answer["yield_in"]))
        case "lost":
            return Lost(answer["holder"])
        case "released":
            return Released()
    raise AssertionError(f"no script answers {answer}")


def _duration(ms: int) -> int | None:
    return None if ms < 0 else ms


def _leader(text: str, left: int) -> Leader | None:
    if not text:
        return None
    try:
        lock = json.loads(text)
        since = iso(lock.get("since") or lock["ts"])
        return Leader(lock["site"], lock["owner"], lock["epoch"], since, max(0, left))
    except (ValueError, KeyError, TypeError, AttributeError):
        return Leader("unknown", text[:80], 0, iso(0), max(0, left))


def _site(text: str, now: int, priority: int) -> Site:
    beat = json.loads(text)
    age = max(0, now - beat["ts"]) / 1000
    return Site(age, bool(beat["eligible"]) and now < beat["fresh_until"], priority)


def _event(entry: list[Any]) -> Event:
    names = [word.decode() for word in entry[1]]
    found = dict(zip(names[::2], names[1::2], strict=True))
    return Event(
        id=entry[0].decode(),
        time=int(found["ms"]) / 1000,
        kind=found["kind"],
        site=found["site"],
        owner=found["owner"],
        epoch=int(found["epoch"]),
        why=found["why"],
    )
