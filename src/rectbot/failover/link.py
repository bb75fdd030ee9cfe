"""The way to Redis: one connection, the scripts that are run over it, and how long they take."""

from __future__ import annotations

import asyncio
import hashlib
import json
from bisect import bisect_left
from dataclasses import replace
from pathlib import Path
from typing import Any

from rectbot.failover.clock import boottime_ms
from rectbot.failover.endpoint import Endpoint
from rectbot.failover.resp import OPEN_SECONDS, Connection, ServerError
from rectbot.failover.sentinel import Sentinels
from rectbot.failover.watch import Watch

_LUA = Path(__file__).with_name("lua")


class Script:
    """Some of the files in lua/, one after the other."""

    def __init__(self, *names: str) -> None:
        self.source = "\n".join((_LUA / f"{name}.lua").read_text() for name in names)
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


class Link:
    """One connection, opened when it is needed, thrown away when it failed; and what the server's clock shows."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._sentinels = Sentinels(endpoint) if endpoint.sentinels else None
        self._server: Endpoint | None = None  # that the connection is to
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._watch = Watch()
        self._ahead = 0  # server's clock minus ours, at most

    async def _find(self) -> tuple[Endpoint, str]:
        """The server to speak to now; and, of a group of servers, by which decision it is the master."""
        if self._sentinels is None:
            return self._endpoint, ""
        host, port, term = await self._sentinels.master()
        return replace(self._endpoint, host=host, port=port, sentinels=()), f":{term}"

    async def connect(self) -> Connection:
        """A connection of the caller's own."""
        async with self._turn:  # the Sentinels are asked one question at a time
            server, _ = await self._find()
        return await Connection.open(server)

    async def call(self, *words: str | int | bytes) -> Any:
        async with self._turn:
            server, _ = await self._find()
            return await (await self._open(server)).call(*words)

    async def run(self, script: Script, keys: list[str], fields: dict[str, Any], give_up_at: int) -> dict[str, Any]:
        """Runs a script whose effect ends with the caller's patience."""
        async with self._turn:
            server, term = await self._find()
            left_s = (give_up_at - boottime_ms()) / 1000
            connection = await self._open(server, min(OPEN_SECONDS, 0.9 * left_s))
            number = self._watch.number()
            while True:
                sent_at = boottime_ms()
                seal = self._watch.seal(number, sent_at).fields()
                argument = json.dumps(fields | seal | {"not_after": give_up_at + self._ahead, "term": term})
                answer = json.loads(await _eval(connection, script, keys, argument))
                self._ahead = answer["now"] - sent_at
                if answer["status"] in ("granted", "refused", "renewed"):
                    self._watch.heard(boottime_ms(), answer["now"], answer["era"], answer.get("doubt", 0))
                if answer["status"] != "late":
                    return dict(answer)
                # Our answer is here, so we were in time: it is the server's clock that was set. Now we know it anew.

    async def _open(self, server: Endpoint, seconds: float = OPEN_SECONDS) -> Connection:
        if self._connection is not None and not self._connection.closed and server == self._server:
            return self._connection
        if self._connection is not None:
            self._connection.abort()
        self._server = server
        self._connection = await Connection.open(server, seconds)
        sent_at = boottime_ms()
        seconds, micros = await self._connection.call("TIME")
        self._ahead = int(seconds) * 1000 + int(micros) // 1000 - sent_at
        return self._connection

    def abort(self) -> None:
        if self._connection is not None:
            self._connection.abort()
        if self._sentinels is not None:
            self._sentinels.abort()


async def _eval(connection: Connection, script: Script, keys: list[str], *arguments: str) -> Any:
    try:
        return await connection.call("EVALSHA", script.sha, len(keys), *keys, *arguments)
    except ServerError as error:
        if not error.said.startswith("NOSCRIPT"):
            raise
        return await connection.call("EVAL", script.source, len(keys), *keys, *arguments)


BUCKETS_MS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)


class RoundTrips:
    """How long the answered requests took, and how many were not answered: a histogram since this process began."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS_MS) + 1)
        self._total_ms = 0
        self._failed = 0

    def took(self, ms: int) -> None:
        self._counts[bisect_left(BUCKETS_MS, ms)] += 1
        self._total_ms += ms

    def failed(self) -> None:
        self._failed += 1

    def as_dict(self) -> dict[str, Any]:
        """`counts` of each bucket alone, the last without an upper bound."""
        return {"counts": self._counts, "total_ms": self._total_ms, "failed": self._failed}
