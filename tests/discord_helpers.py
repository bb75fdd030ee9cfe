"""What the tests of the local Discord and of the bot share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Self

import aiohttp

from localdiscord.discord import Running
from localdiscord.journal import Entry

TOKEN = "token-of-the-tests"
IDENTIFY = {"token": TOKEN, "intents": 1, "properties": {"os": "linux", "browser": "test", "device": "test"}}


async def until(condition: Callable[[], bool], *, within_s: float = 10) -> None:
    """Waits for a condition of this process; fails when it does not come true in time."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - conditions of the code under test raise no events
            await asyncio.sleep(0.01)


def entries(discord: Running, *events: str) -> list[Entry]:
    return list(discord.discord.journal.read(events))


class RawGateway:
    """A gateway client that sends exactly what a test wants, to see what comes back."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, http: aiohttp.ClientSession) -> None:
        self.socket = socket
        self._http = http

    @classmethod
    async def connect(cls, discord: Running, query: str = "?v=10&encoding=json", site: str | None = None) -> Self:
        http = aiohttp.ClientSession()
        prefix = f"/sites/{site}" if site else ""
        return cls(await http.ws_connect(f"{discord.url}{prefix}/gateway{query}"), http)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.close()
        await self._http.close()

    async def send(self, op: int, data: Any) -> None:
        await self.socket.send_str(json.dumps({"op": op, "d": data}))

    async def receive(self) -> dict[str, Any]:
        payload: dict[str, Any] = await self.socket.receive_json(timeout=10)
        return payload

    async def receive_until(self, *, op: int = 0, event: str | None = None) -> dict[str, Any]:
        """The next payload with this opcode and, for a dispatch, of this event; passes over others."""
        while True:
            payload = await self.receive()
            if payload["op"] == op and payload["t"] == event:
                return payload

    async def log_in(self, **changes: Any) -> dict[str, Any]:
        """HELLO, IDENTIFY, READY; the data of READY."""
        assert (await self.receive())["op"] == 10
        await self.send(2, {**IDENTIFY, **changes})
        ready = await self.receive_until(event="READY")
        data: dict[str, Any] = ready["d"]
        return data

    async def close_code(self) -> int:
        """Reads on until the server closes; the code it closes with."""
        async with asyncio.timeout(10):
            while not self.socket.closed:
                await self.socket.receive()
        assert self.socket.close_code is not None
        return self.socket.close_code

    async def leave(self, code: int) -> None:
        """Closes with a code; 1006 cuts the connection without a word."""
        if code == 1006:
            transport = self.socket._writer.transport  # aiohttp has no public way to break a connection
            assert transport is not None
            transport.abort()
        else:
            await self.socket.close(code=code)
