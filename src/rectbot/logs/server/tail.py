"""`tail`: lines as they come, over a WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from rectbot.logs.engine.context import Context
from rectbot.logs.engine.logs import by_stream, entry_at, select
from rectbot.logs.engine.scan import Scanned
from rectbot.logs.logql import ast
from rectbot.logs.logql.errors import QueryError
from rectbot.logs.logql.parse import parse
from rectbot.logs.pipeline.build import build
from rectbot.logs.pipeline.entry import Entry
from rectbot.logs.pipeline.labels import stream_test
from rectbot.logs.server import params as read
from rectbot.logs.store.index import ChunkRef, Stream
from rectbot.logs.store.store import MovedError, Store

log = logging.getLogger(__name__)
_MOST_WAITING = 256  # chunks that a slow client may lag behind; then lines are dropped, and it is told


class _Tail:
    """One client: what came since the last message."""

    def __init__(self, store: Store, tree: ast.Logs, loop: asyncio.AbstractEventLoop) -> None:
        self.store, self.loop = store, loop
        self.matches = stream_test(tree.matchers)
        self.stages = build(tree.stages)
        self.waiting: deque[tuple[Stream, ChunkRef]] = deque()
        self.dropped: list[tuple[Stream, ChunkRef]] = []
        self.event = asyncio.Event()

    def offer(self, key: str, ref: ChunkRef) -> None:
        """Called by the writing thread."""
        stream = Stream(key, msgspec.json.decode(key, type=dict[str, str]))
        if not self.matches(stream.labels):
            return
        if len(self.waiting) < _MOST_WAITING:
            self.waiting.append((stream, ref))
        else:
            self.dropped.append((stream, ref))
            del self.dropped[:-100]
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self.loop.call_soon_threadsafe(self.event.set)

    def take(self, since: int) -> list[Entry]:
        """The entries of what waits, from `since` on, in order of time."""
        entries = []
        while self.waiting:
            stream, ref = self.waiting.popleft()
            try:
                block = self.store.read(stream, ref)
            except MovedError:
                continue
            if block is None:
                continue
            found = Scanned(stream, block, block.between(since, 1 << 62))
            for index in found.indexes:
                entry = entry_at(found, index)
                if all(stage(entry) for stage in self.stages):
                    entries.append(entry)
            if len(entries) > 1000:
                break
        return sorted(entries, key=lambda entry: entry.time)

    def lost(self) -> list[dict[str, Any]]:
        dropped, self.dropped = self.dropped, []
        return [{"labels": stream.labels, "timestamp": str(ref.first)} for stream, ref in dropped]


class Tails:
    """All clients that follow."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._sockets: set[web.WebSocketResponse] = set()

    def close(self) -> None:
        """Ends all tails; their handlers finish by themselves."""
        for socket in list(self._sockets):
            task = asyncio.ensure_future(socket.close(code=1001, message=b"server is stopping"))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Sends what there is since `start`, then what comes."""
        params = dict(request.query)
        tree = parse(params.get("query", ""))
        if not isinstance(tree, ast.Logs):
            raise QueryError("unsupported query expression: tailing needs a log query")
        limits = self.store.limits
        if len(self._sockets) >= limits.tails:
            error = QueryError(f"max concurrent tail requests limit exceeded, count > limit ({limits.tails})")
            error.status = 429
            raise error
        start, _ = read.time_range(params)
        limit = read.entry_limit(params, limits)
        delay = read.integer(params, "delay_for", 0)
        if not 0 <= delay <= 5:
            raise QueryError("delay_for can't be greater than 5")
        loop = asyncio.get_running_loop()
        tail = _Tail(self.store, tree, loop)
        socket = web.WebSocketResponse(heartbeat=30)
        await socket.prepare(request)
        self._sockets.add(socket)
        self.store.listeners.append(tail.offer)
        try:
            past = await asyncio.to_thread(self._past, tree, start, limit)
            await self._send(socket, past, [])
            await self._follow(socket, tail, delay, {(entry.time, entry.line) for entry in past}, start)
        except (ConnectionError, QueryError) as error:
            log.info("a tail ended: %s", error)
        finally:
            self.store.listeners.remove(tail.offer)
            self._sockets.discard(socket)
        return socket

    def _past(self, tree: ast.Logs, start: int, limit: int) -> list[Entry]:
        for _ in range(20):
            with contextlib.suppress(MovedError):
                found = select(self.store, tree, start, 1 << 62, limit, Context(self.store.limits))
                return sorted(found, key=lambda entry: entry.time)
        return []

    async def _follow(
        self, socket: web.WebSocketResponse, tail: _Tail, delay: int, sent: set[tuple[int, bytes]], start: int
    ) -> None:
        reader = asyncio.ensure_future(self._until_closed(socket))
        try:
            while not reader.done():
                waiter = asyncio.ensure_future(tail.event.wait())
                await asyncio.wait({reader, waiter}, return_when=asyncio.FIRST_COMPLETED)
                waiter.cancel()
                if reader.done():
                    return
                await asyncio.sleep(delay or 0.05)  # many small pushes make one message
                tail.event.clear()
                entries = await asyncio.to_thread(tail.take, start)
                # What came between the listening and the look back is in both.
                await self._send(socket, [e for e in entries if (e.time, e.line) not in sent], tail.lost())
                if tail.waiting:
                    tail.event.set()
        finally:
            reader.cancel()

    @staticmethod
    async def _until_closed(socket: web.WebSocketResponse) -> None:
        async for message in socket:
            if message.type in (WSMsgType.CLOSE, WSMsgType.ERROR):
                return

    @staticmethod
    async def _send(socket: web.WebSocketResponse, entries: list[Entry], dropped: list[dict[str, Any]]) -> None:
        if entries or dropped:
            message = {"streams": by_stream(entries), "dropped_entries": dropped or None}
            await socket.send_str(msgspec.json.encode(message).decode())
