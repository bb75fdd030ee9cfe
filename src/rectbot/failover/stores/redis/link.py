"""The way to Redis: one connection, and the script that is run over it."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from rectbot.failover.endpoint import Endpoint
from rectbot.failover.resp import OPEN_SECONDS, Connection, ServerError
from rectbot.failover.sentinel import Sentinels

SCRIPT = Path(__file__).with_name("register.lua").read_text()
_SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


class Link:
    """One connection, opened when it is needed, thrown away when it failed."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._sentinels = Sentinels(endpoint) if endpoint.sentinels else None
        self._server: Endpoint | None = None  # that the connection is to
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()

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
        """One command. Raises ServerError, Disconnected, ConfigError."""
        async with self._turn:
            server, _ = await self._find()
            return await (await self._open(server, OPEN_SECONDS)).call(*words)

    async def run(self, keys: list[str], argument: Any, record: bytes, seconds: float) -> Any:
        """Runs the script; `argument` makes its first argument of what names the decision for this server."""
        async with self._turn:
            server, term = await self._find()
            connection = await self._open(server, min(OPEN_SECONDS, 0.9 * seconds))
            words = (len(keys), *keys, argument(term), record)
            try:
                return await connection.call("EVALSHA", _SHA, *words)
            except ServerError as error:
                if not error.said.startswith("NOSCRIPT"):
                    raise
                return await connection.call("EVAL", SCRIPT, *words)

    async def _open(self, server: Endpoint, seconds: float) -> Connection:
        if self._connection is not None and not self._connection.closed and server == self._server:
            return self._connection
        if self._connection is not None:
            self._connection.abort()
        self._server = server
        self._connection = await Connection.open(server, seconds)
        return self._connection

    def abort(self) -> None:
        if self._connection is not None:
            self._connection.abort()
        if self._sentinels is not None:
            self._sentinels.abort()
