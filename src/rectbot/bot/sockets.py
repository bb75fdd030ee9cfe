"""Sockets that send only while the lease holds.

discord.py sends from many places: requests, gateway frames, heartbeats from a thread, the close frame. All of it ends
in `send` on a socket of one aiohttp connector, below TLS and below every buffer of Python. That is where the lease is
checked, so it holds for any client, and for what a client had queued before its process was paused.
"""

from __future__ import annotations

import errno
import socket
import struct
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiohttp

from rectbot.failover import Lease, LeaseLost
from rectbot.resolver import Resolver


class SocketGuard:
    """Makes the sockets of one client, and can end them all at once."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._aborted = False
        self._sockets: weakref.WeakSet[_LeasedSocket] = weakref.WeakSet()

    def connector(self) -> aiohttp.TCPConnector:
        """A connector whose every connection is guarded. Call it in the running loop."""
        return aiohttp.TCPConnector(limit=0, socket_factory=self._make, resolver=Resolver())

    def abort(self) -> int:
        """Ends every connection that is left, without a word to the peer's application; returns how many there were.

        Nothing can be sent or connected afterwards.
        """
        self._aborted = True
        return sum(1 for sock in list(self._sockets) if sock.abort())

    def check(self) -> None:
        """Raises ConnectionAbortedError when nothing may be sent any more."""
        try:
            self._lease.check()
        except LeaseLost as error:
            raise ConnectionAbortedError(errno.ECONNABORTED, f"{error}: nothing more is sent") from None
        if self._aborted:
            raise ConnectionAbortedError(errno.ECONNABORTED, "the client was stopped: nothing more is sent")

    def _make(self, info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol = info[:3]
        sock = _LeasedSocket(family, kind, protocol, self.check)
        self._sockets.add(sock)
        return sock


class _LeasedSocket(socket.socket):
    """asyncio takes an OSError from `send` as a broken connection and drops it, with all that waits to be sent."""

    def __init__(self, family: int, kind: int, protocol: int, check: Callable[[], None]) -> None:
        super().__init__(family, kind, protocol)
        self._check = check

    def connect(self, *args: Any) -> None:
        self._check()
        super().connect(*args)

    def connect_ex(self, *args: Any) -> int:
        self._check()
        return super().connect_ex(*args)

    def send(self, *args: Any) -> int:
        self._check()
        return super().send(*args)

    def sendall(self, *args: Any) -> None:
        self._check()
        super().sendall(*args)

    def sendmsg(self, *args: Any) -> int:
        self._check()
        return super().sendmsg(*args)

    def abort(self) -> bool:
        """Ends the connection in both directions; False if it was closed before. The loop still owns the descriptor."""
        if self.fileno() < 0:
            return False
        with suppress(OSError):  # not connected
            self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.shutdown(socket.SHUT_RDWR)
        return True
