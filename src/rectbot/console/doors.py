"""The console's connections: how many there may be, from where, and for how long.

Whoever has not logged in must neither keep others out nor fill the memory. So a connection has a time within which its
request must be there, and one within which it must be answered; and where there are too many, the one that has been
there for the longest goes, first of those that have shown no session. Nobody is refused because others hold all places.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from foundation.source import source

PER_SOURCE, IN_ALL = 64, 192
REQUEST_SECONDS = 10.0  # from the connection, or from the last answer, until a request has come, with its body
ANSWER_SECONDS = 120.0  # from then until the answer has gone out: a large file over a slow telephone
MAX_HEAD_BYTES = 32 * 1024
_MAX_HEADERS = 100


class _Refused(Exception):  # noqa: N818 - it is caught by the parser
    """A request that nobody honest sends; the parser turns it into a 400."""


class Doors:
    """The HTTP connections of one server. WebSockets leave here when they are accepted."""

    def __init__(self, per_source: int = PER_SOURCE, in_all: int = IN_ALL) -> None:
        self._per_source, self._in_all = per_source, in_all
        self._open: dict[Any, Door] = {}  # by the client's address and port, the oldest first

    def door(self, *args: Any, **options: Any) -> Door:
        """A new connection's protocol, as uvicorn asks for it."""
        return Door(self, *args, **options)

    def enter(self, door: Door) -> None:
        """Counts a connection, and ends another where that is one too many."""
        self._open[door.client] = door
        sources = Counter(each.source for each in self._open.values())
        if sources[door.source] > self._per_source:
            self._end_one(door.source)
        elif len(self._open) > self._in_all:
            self._end_one(max(sources, key=sources.__getitem__))

    def leave(self, door: Door) -> None:
        """It is closed, or a WebSocket now."""
        if self._open.get(door.client) is door:
            del self._open[door.client]

    def proven(self, client: Any) -> None:
        """A request on this connection has shown a session: others are ended before it."""
        if (door := self._open.get(tuple(client or ()))) is not None:
            door.proven = True

    def _end_one(self, source: str) -> None:
        of_it = [door for door in self._open.values() if door.source == source]
        victim = min(of_it, key=lambda door: door.proven)  # of equals the first, which is the oldest
        self.leave(victim)
        victim.transport.abort()


class Door(HttpToolsProtocol):
    """One connection."""

    def __init__(self, doors: Doors, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._doors = doors
        self._timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0  # of the request that is coming in
        self._in_head = True
        self.source = ""
        self.proven = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.source = source(self.client[0] if self.client else "")
        self._within(REQUEST_SECONDS)
        self._doors.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response("the request's head is too long")

    def on_message_begin(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            raise _Refused  # no browser sends a request before the answer to the last; each would be kept
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > _MAX_HEADERS:
            raise _Refused

    def on_headers_complete(self) -> None:
        self._in_head = False
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES:
            raise _Refused
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._within(ANSWER_SECONDS)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._within(REQUEST_SECONDS)
        super().on_response_complete()

    def handle_websocket_upgrade(self) -> None:
        self._forget()
        super().handle_websocket_upgrade()

    def _within(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._doors.leave(self)
