"""`tail`: lines as they come, over a WebSocket. The worker says what passes; here it is only handed on."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

import msgspec
from aiohttp import WSMsgType, web

from logstore.logql.errors import QueryError
from logstore.server import frames
from logstore.server.budget import Budget, SpentError
from logstore.server.workers import Workers
from logstore.store.index import Change, ChunkRef
from logstore.store.store import Store

log = logging.getLogger(__name__)
_MOST_WAITING = 1024  # chunks that a slow client may lag behind; then lines are dropped, and it is told
_MOST_TOLD = 100  # of what was dropped
_AT_ONCE = 256  # chunks for one question
_SECONDS = 10.0  # that the worker may take for it, and a client to read the answer


_Seen = set[tuple[str, str]]  # time and line


class _Tail:
    """One client: what came since the last message. References only, no lines."""

    def __init__(self, query: str) -> None:
        self.query = query
        self.waiting: deque[tuple[str, ChunkRef]] = deque()
        self.lost: deque[tuple[str, ChunkRef]] = deque(maxlen=_MOST_TOLD)
        self.skip = 0
        self.event = asyncio.Event()

    def offer(self, change: Change) -> None:
        """Called in the loop, for each commit."""
        key, old, new = change
        if old:  # merged or deleted: nothing new
            return
        for ref in new:
            (self.waiting if len(self.waiting) < _MOST_WAITING else self.lost).append((key, ref))
        self.event.set()

    def job(self, start: int) -> frames.Job:
        """What to ask next."""
        part = [self.waiting[place] for place in range(min(_AT_ONCE, len(self.waiting)))]
        lost = list(self.lost)
        self.lost.clear()
        return frames.Job(0, "tail/new", self.query, "", _SECONDS, start, part, self.skip, lost)

    def done(self, answer: frames.Done) -> None:
        """So many of them are done with."""
        for _ in range(answer.used):
            self.waiting.popleft()
        self.skip = answer.skip


class Tails:
    """All clients that follow."""

    def __init__(self, store: Store, workers: Workers, budget: Budget) -> None:
        self.store, self._workers, self._budget = store, workers, budget
        self._tails: set[_Tail] = set()
        self._sockets: set[web.WebSocketResponse] = set()
        workers.followers.append(self._offer)

    def _offer(self, change: Change) -> None:
        for tail in self._tails:
            tail.offer(change)

    def close(self) -> None:
        """Ends all tails; their handlers finish by themselves."""
        for socket in list(self._sockets):
            task = asyncio.ensure_future(socket.close(code=1001, message=b"server is stopping"))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Sends what there is since `start`, then what comes."""
        limits = self.store.limits
        if len(self._tails) >= limits.tails:
            error = QueryError(f"max concurrent tail requests limit exceeded, count > limit ({limits.tails})")
            error.status = 429
            raise error
        tail = _Tail(request.rel_url.raw_query_string)
        socket = web.WebSocketResponse(heartbeat=30, max_msg_size=4096)
        self._tails.add(tail)
        try:
            job = frames.Job(0, "tail/begin", tail.query, seconds=min(_SECONDS, limits.query_seconds))
            _, body = await self._workers.ask(job)
            with self._budget.share() as share:
                share.grow(2 * len(body))
                begun = msgspec.json.decode(body, type=frames.Begun)
                del body
                await socket.prepare(request)
                self._sockets.add(socket)
                seen = {(value[0], value[1]) for stream in begun.streams for value in stream["values"]}
                if begun.streams:
                    await self._send(socket, msgspec.json.encode(frames.News(begun.streams)))
                await self._overlap(socket, tail, begun.start, seen)
            await self._follow(socket, tail, begun.start, begun.delay)
        except (ConnectionError, TimeoutError, SpentError, QueryError) as error:
            if not socket.prepared:
                raise
            log.info("a tail ended: %s", error)
            _end(request)
        finally:
            self._tails.discard(tail)
            self._sockets.discard(socket)
        return socket

    async def _overlap(self, socket: web.WebSocketResponse, tail: _Tail, start: int, seen: _Seen) -> None:
        """What came between the listening and the look back is in both."""
        overlap = len(tail.waiting)
        while overlap > 0:
            before = len(tail.waiting)
            done, body = await self._workers.ask(tail.job(start))
            tail.done(done)
            overlap -= before - len(tail.waiting) if not tail.skip else 0
            if not body:
                continue
            message = msgspec.json.decode(body, type=frames.News)
            for stream in message.streams:
                stream["values"] = [value for value in stream["values"] if (value[0], value[1]) not in seen]
            message.streams = [stream for stream in message.streams if stream["values"]]
            if message.streams or message.dropped_entries:
                await self._send(socket, msgspec.json.encode(message))

    async def _follow(self, socket: web.WebSocketResponse, tail: _Tail, start: int, delay: int) -> None:
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
                while (tail.waiting or tail.lost) and not reader.done():
                    done, body = await self._workers.ask(tail.job(start))
                    tail.done(done)
                    if body:
                        await self._send(socket, body)
        finally:
            reader.cancel()

    @staticmethod
    async def _until_closed(socket: web.WebSocketResponse) -> None:
        async for message in socket:
            if message.type in (WSMsgType.CLOSE, WSMsgType.ERROR):
                return

    async def _send(self, socket: web.WebSocketResponse, message: bytes) -> None:
        """Hands a message on. Raises TimeoutError when the client does not read it, SpentError when too many do not."""
        with self._budget.share() as share:
            share.grow(len(message))
            async with asyncio.timeout(_SECONDS):
                await socket.send_str(message.decode())


def _end(request: web.Request) -> None:
    """A client that reads nothing would not read a farewell."""
    if request.transport is not None:
        request.transport.abort()
