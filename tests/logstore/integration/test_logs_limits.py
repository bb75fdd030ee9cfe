"""The store under pressure: refusals that pass, limits, compaction beside pushes, clients that go away."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from logs_server import T0
from logstore.server.app import make_app
from logstore.store import chunk, compactor
from logstore.store.limits import Limits
from logstore.store.store import Store
from rectbot.logs import LokiHandler
from servers import free_port

_ALL = {"query": '{job=~".+"}', "start": str(T0), "end": str(T0 + 10**12), "limit": "5000"}


class Server:
    """A store and its server in this process, so that a test can hold up a part of it."""

    def __init__(self, store: Store, url: str, client: aiohttp.ClientSession) -> None:
        self.store, self.url, self.client = store, url, client
        self.held: list[threading.Event] = []

    async def push(self, job: str, first: int, lines: list[str]) -> tuple[int, str]:
        values = [[str(T0 + first + number), line] for number, line in enumerate(lines)]
        body = {"streams": [{"stream": {"job": job}, "values": values}]}
        async with self.client.post(f"{self.url}/loki/api/v1/push", json=body) as answer:
            return answer.status, await answer.text()

    async def query(self, **params: str) -> tuple[int, str]:
        asked = {**_ALL, **params}
        async with self.client.get(f"{self.url}/loki/api/v1/query_range", params=asked) as answer:
            return answer.status, await answer.text()

    async def lines(self, job: str) -> list[str]:
        status, body = await self.query(query=f'{{job="{job}"}}')
        assert status == 200, body
        return [line for stream in json.loads(body)["data"]["result"] for _, line in stream["values"]]

    async def metric(self, name: str) -> float:
        async with self.client.get(f"{self.url}/metrics") as answer:
            text = await answer.text()
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))

    def hold_writes(self) -> threading.Event:
        """Commits wait until the event is set."""
        release, held = threading.Event(), threading.Event()
        self.held.append(release)

        def work(_: object) -> list[Any]:
            held.set()
            assert release.wait(60)
            return []

        self.store.submit(work)
        assert held.wait(10)
        return release


@asynccontextmanager
async def server(folder: Path, limits: Limits) -> AsyncIterator[Server]:
    store, port = Store(folder, limits), free_port()
    runner = web.AppRunner(make_app(store), handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        async with aiohttp.ClientSession() as client:
            running = Server(store, f"http://127.0.0.1:{port}", client)
            yield running
    finally:
        for release in running.held:
            release.set()
        await runner.cleanup()
        await asyncio.to_thread(store.close)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110 - what is waited for happens in other threads
            await asyncio.sleep(0.01)


async def test_too_much_at_once_is_refused_and_later_taken(tmp_path: Path) -> None:
    async with server(tmp_path / "logs", Limits(pending_bytes=50_000)) as running:
        release = running.hold_writes()
        waiting = asyncio.ensure_future(running.push("first", 0, ["x" * 30_000]))
        await until(lambda: _at_least(running, "rectbot_logs_pending_push_bytes", 30_000))
        status, body = await running.push("second", 0, ["y" * 30_000])
        assert status == 429
        assert body.startswith("Ingestion rate limit exceeded for user fake")
        handler = LokiHandler(running.url, job="shipped", site="here", spool=tmp_path / "spool")
        for _ in range(12):
            handler.emit(logging.makeLogRecord({"levelno": logging.INFO, "msg": secrets.token_hex(3000)}))
        await until(lambda: _at_least(running, "rectbot_logs_refused_pushes_total", 2))
        assert not waiting.done()
        release.set()
        assert (await waiting)[0] == 204
        assert (await running.push("second", 0, ["y" * 30_000]))[0] == 204
        await until(lambda: _at_least(running, "rectbot_logs_received_lines_total", 14))
        await asyncio.to_thread(handler.close)
        assert (len(await running.lines("first")), len(await running.lines("second"))) == (1, 1)


async def test_a_client_that_goes_away_during_its_push_harms_nobody(tmp_path: Path) -> None:
    async with server(tmp_path, Limits()) as running:
        release = running.hold_writes()
        push = asyncio.ensure_future(running.push("gone", 0, ["x"]))
        await until(lambda: _at_least(running, "rectbot_logs_pending_push_bytes", 1))
        await until(lambda: _at_least(running, "rectbot_logs_received_lines_total", 1))
        push.cancel()
        await until(lambda: _nothing_pending(running))
        release.set()
        async with asyncio.timeout(20):
            assert (await running.push("next", 0, ["y"]))[0] == 204
        assert await running.lines("next") == ["y"]


async def _nothing_pending(running: Server) -> bool:
    return await running.metric("rectbot_logs_pending_push_bytes") == 0


async def _at_least(running: Server, name: str, value: float) -> bool:
    return await running.metric(name) >= value


@pytest.mark.parametrize(
    ("limits", "status", "message"),
    [
        (Limits(query_bytes=10_000), 400, "the query would read too many bytes (limit: 10000 bytes)"),
        (Limits(query_seconds=0), 504, "request timed out"),
        (Limits(query_entries=50), 400, "max entries limit per query exceeded"),
        (Limits(query_series=5), 400, "maximum of series (5) reached for a single query"),
    ],
)
async def test_a_query_beyond_a_limit_is_told_so(tmp_path: Path, limits: Limits, status: int, message: str) -> None:
    async with server(tmp_path, limits) as running:
        for job in range(10):
            assert (await running.push(f"j{job}", 0, [f"{'x' * 200} {number}" for number in range(10)]))[0] == 204
        asked = {"limit": "50"} if limits.query_entries > 50 else {}
        if limits.query_series == 5:
            asked = {"query": 'count_over_time({job=~".+"}[1m])', "step": "3600"}
        found = await running.query(**asked)
        assert found[0] == status
        assert found[1].startswith(message)


async def test_pushes_and_queries_go_on_while_chunks_are_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with server(tmp_path, Limits()) as running:
        for number in range(20):
            await running.push("bot", number, [f"line {number}"])
        begun, release, merge = threading.Event(), threading.Event(), chunk.merge

        def held(blocks: Any) -> Any:
            begun.set()
            assert release.wait(60)
            return merge(blocks)

        monkeypatch.setattr(chunk, "merge", held)
        compaction = threading.Thread(target=compactor.Compactor(running.store).compact, kwargs={"now": True})
        compaction.start()
        assert await asyncio.to_thread(begun.wait, 10)
        async with asyncio.timeout(20):
            assert (await running.push("bot", 20, ["line 20"]))[0] == 204
            assert len(await running.lines("bot")) == 21
        assert not release.is_set()
        release.set()
        await asyncio.to_thread(compaction.join)
        assert sorted(await running.lines("bot")) == sorted(f"line {number}" for number in range(21))
        assert running.store.index.chunks == 2, "what was merged, and what came meanwhile"


async def test_a_query_ends_when_its_client_goes_away(tmp_path: Path) -> None:
    async with server(tmp_path, Limits(queries=1)) as running:
        assert (await running.push("bot", 0, [f"line {number}" for number in range(5000)]))[0] == 204
        assert len(await running.lines("bot")) == 5000
        slow = '{job="bot"} | line_format `{{range 900}}{{range 10}}{{end}}{{end}}`'  # minutes, for all lines
        query = asyncio.ensure_future(running.query(query=slow))
        await until(lambda: _some_run(running))
        await asyncio.sleep(0.2)
        query.cancel()  # closes the connection
        await until(lambda: _none_waits(running))
        # The next query has its turn only when the thread of the first is free.
        async with asyncio.timeout(20):
            assert await running.lines("none") == []
        assert await running.metric("rectbot_logs_killed_workers_total") == 0, "it ended by itself"


async def _some_run(running: Server) -> bool:
    return await running.metric("rectbot_logs_running_queries") > 0


async def _none_waits(running: Server) -> bool:
    return await running.metric("rectbot_logs_running_queries") == 0
