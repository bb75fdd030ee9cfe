"""Following a query over a WebSocket: connections break, and no line comes twice or is missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web

from rectbot.errors import ConfigError, RectbotError
from rectbot.logs.client import tail
from rectbot.logs.client.tail import TAIL_PATH, follow
from rectbot.logs.client.target import Target
from servers import free_port

START = 10**18


class Server:
    """Sends what it has from `start` on, some entries a connection, then breaks it."""

    def __init__(self, entries: list[tuple[int, str]], each: int) -> None:
        self.entries, self.each = entries, each
        self.starts: list[int] = []
        self.refuse: int | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.refuse is not None:
            return web.Response(status=self.refuse, text="parse error")
        start = int(request.query["start"])
        self.starts.append(start)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        found = [entry for entry in self.entries if entry[0] >= start][: self.each]
        streams = [{"stream": {"job": "x"}, "values": [[str(time), text]]} for time, text in found]
        await socket.send_json({"streams": streams, "dropped_entries": None})
        if len(self.starts) % 2:
            assert request.transport is not None
            request.transport.abort()  # as when the network breaks; else a clean close
        return socket


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[Target]:
    app = web.Application()
    app.router.add_get(TAIL_PATH, server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield Target(f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


async def test_broken_connections_lose_and_double_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "RETRY_SECONDS", 0.01)
    entries = [(START + number // 3, f"line {number}") for number in range(60)]  # three share a moment
    server, said, lines = Server(entries, each=7), list[str](), list[str]()
    async with serving(server) as target:
        with suppress(asyncio.CancelledError):
            async for entry in follow(target, "{}", START, said.append):
                lines.append(entry.text)
                if len(lines) == 60:
                    break
    assert lines == [text for _, text in entries]
    assert len(server.starts) > 5
    assert all("it is made again" in text for text in said)


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [(400, ConfigError, "does not follow this query"), (401, RectbotError, "wrong user"), (502, RectbotError, "502")],
)
async def test_a_refusal_is_an_error(status: int, kind: type[RectbotError], said: str) -> None:
    server = Server([], 1)
    server.refuse = status
    async with serving(server) as target:
        with pytest.raises(kind, match=said):
            await anext(follow(target, "{", START, print))


async def test_nobody_there_is_an_error() -> None:
    with pytest.raises(RectbotError, match="the connection failed"):
        await anext(follow(Target(f"http://127.0.0.1:{free_port()}"), "{}", START, print))


async def test_dropped_lines_are_told() -> None:
    told: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        dropped: dict[str, Any] = {"labels": {}, "timestamp": "1"}
        values = [{"stream": {}, "values": [["5", "x"]]}]
        await socket.send_json({"streams": values, "dropped_entries": [dropped, dropped]})
        return socket

    server = Server([], 1)
    server.answer = answer  # type: ignore[method-assign]
    async with serving(server) as target:
        assert (await anext(follow(target, "{}", 1, told.append))).text == "x"
    assert told == ["2 lines came too fast, and were left out"]
