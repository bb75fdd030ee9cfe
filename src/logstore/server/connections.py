"""How many connections there are, and who must go when there are too many: whoever keeps us waiting for longest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

_EVERY = 0.5  # seconds between looks at those that are too slow
_YOUNG = 0.5  # seconds in which the first request may come, even if there are too many
_MOST_YOUNG = 600  # how many more there may be for that long


class Connections:
    """At most `most` connections, none of which may let us wait for longer than `idle_seconds`.

    A connection is waited for from its beginning, or its last answer, until its next request is there, and wherever
    `waiting` says so. When one too many comes, the one that is waited for since longest is closed: so whoever opens
    thousands and says nothing takes the places of his own.
    """

    def __init__(self, most: int, idle_seconds: float) -> None:
        self.most, self.idle_seconds, self.closed = most, idle_seconds, 0
        self._since: dict[RequestHandler, float] = {}  # those that are waited for, in order
        self._busy: set[RequestHandler] = set()

    def __len__(self) -> int:
        return len(self._since) + len(self._busy)

    def factory(self, server: Callable[[], RequestHandler]) -> Callable[[], RequestHandler]:
        """What `create_server` calls for each connection, in place of aiohttp's server."""

        def make() -> RequestHandler:
            protocol = server()
            if len(self) >= self.most:
                self._forget_lost()
                self._make_room(self.most - 1, _YOUNG)
                self._make_room(self.most - 1 + _MOST_YOUNG, 0)
            self._since[protocol] = time.monotonic()
            return protocol

        return make

    def _make_room(self, most: int, seconds: float) -> None:
        """Closes those that are waited for since longest, and for so long, until there are no more than `most`."""
        last = time.monotonic() - seconds
        while len(self) > most and self._since:
            protocol, since = next(iter(self._since.items()))
            if since > last:
                return
            self._cut(protocol)

    def _forget_lost(self) -> None:
        lost = [at for at, since in self._since.items() if at.transport is None and time.monotonic() - since >= _YOUNG]
        for protocol in lost:
            del self._since[protocol]
        self._busy = {protocol for protocol in self._busy if protocol.transport is not None}

    def _cut(self, protocol: RequestHandler) -> None:
        self.closed += 1
        del self._since[protocol]
        if protocol.transport is not None:
            protocol.transport.abort()  # what has not been read by now is not waited for

    async def sweep(self) -> None:
        """Closes what is too slow, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY)
            self._forget_lost()
            self._make_room(self.most, _YOUNG)
            self._make_room(0, self.idle_seconds)

    @contextmanager
    def working(self, request: web.BaseRequest) -> Iterator[None]:
        """For the time of a request: it is we who are busy."""
        protocol = request.protocol
        if self._since.pop(protocol, None) is not None:
            self._busy.add(protocol)
        try:
            yield
        finally:
            self._wait_for(protocol)

    @contextmanager
    def waiting(self, request: web.BaseRequest) -> Iterator[None]:
        """Inside of that: for the client, that it sends or reads."""
        protocol = request.protocol
        self._wait_for(protocol)
        try:
            yield
        finally:
            if self._since.pop(protocol, None) is not None:
                self._busy.add(protocol)

    def _wait_for(self, protocol: RequestHandler) -> None:
        if protocol in self._busy:
            self._busy.discard(protocol)
            if protocol.transport is not None:
                self._since[protocol] = time.monotonic()
