"""TCP connections, though one of a name's addresses swallows what it is sent.

Every client of ours comes through here (aiohttp has the same built in). Often a name has an IPv6 address, and somewhere
on the way IPv6 packets are dropped: who tries one address after the other then waits for minutes. So the next address
is tried when the last has not answered within 250 ms, the first that answers wins (RFC 8305), and those that did not
come last the next time. Standard library only: the failover's agent has nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from rectbot.names import Address, look_up

STAGGER_SECONDS = 0.25  # RFC 8305, section 8: "Connection Attempt Delay"
_MOST_ADDRESSES = 100
_silent: dict[Address, None] = {}  # addresses that did not answer last time, the latest last


def dial(
    host: str,
    port: int,
    timeout: float | None,
    *,
    source: tuple[str, int] | None = None,
    options: Iterable[tuple[int, int, int | bytes]] = (),
    wanted: Callable[[], bool] = lambda: True,
) -> socket.socket:
    """A socket that is connected to a name or an address, within `timeout` seconds (None: as long as it takes).

    `timeout` is its own from then on. `wanted` is asked four times a second; when it says no, that is the end.
    Raises socket.gaierror when the name has no address, else TimeoutError or the OSError of the last address.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    addresses = look_up(host, port, timeout)
    race = _Race(sorted(addresses, key=lambda each: each in _silent), source, tuple(options))
    try:
        sock = race.run(deadline, wanted)
    finally:
        race.close()
    sock.settimeout(timeout)
    return sock


class _Race:
    """Attempts to connect, each begun when the one before it has failed or is late."""

    def __init__(self, addresses: list[Address], source: tuple[str, int] | None, options: tuple[Any, ...]) -> None:
        self._waiting = deque(addresses)
        self._source = source
        self._options = options
        self._selector = selectors.DefaultSelector()  # of the attempts under way
        self._next_at = 0.0  # when the next one may begin
        self._error: OSError = TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    def run(self, deadline: float | None, wanted: Callable[[], bool]) -> socket.socket:
        while self._waiting or self._selector.get_map():
            now = time.monotonic()
            if (deadline is not None and now >= deadline) or not wanted():
                break
            if self._waiting and (now >= self._next_at or not self._selector.get_map()):
                self._next_at = now + STAGGER_SECONDS
                self._begin(self._waiting.popleft())
            left = STAGGER_SECONDS if not self._waiting else max(self._next_at - now, 0)
            for key, _ in self._selector.select(left if deadline is None else min(left, deadline - now)):
                if self._answered(key):
                    return key.fileobj  # type: ignore[return-value]
        raise self._error

    def _begin(self, address: Address) -> None:
        family, where = address
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            for option in self._options:
                sock.setsockopt(*option)
            if self._source is not None:
                sock.bind(self._source)
            sock.connect(where)
        except BlockingIOError:
            pass
        except OSError as error:
            sock.close()
            self._failed(address, error)
            return
        self._selector.register(sock, selectors.EVENT_WRITE, address)

    def _answered(self, key: selectors.SelectorKey) -> bool:
        sock: socket.socket = key.fileobj  # type: ignore[assignment]
        self._selector.unregister(sock)
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            sock.close()
            self._failed(key.data, OSError(number, os.strerror(number)))
            return False
        _silent.pop(key.data, None)
        return True

    def _failed(self, address: Address, error: OSError) -> None:
        self._error = error
        self._next_at = 0.0
        _remember_silent(address)

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            _remember_silent(key.data)
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()


def _remember_silent(address: Address) -> None:
    _silent[address] = None
    if len(_silent) > _MOST_ADDRESSES:
        with contextlib.suppress(KeyError, StopIteration):  # another thread was here
            del _silent[next(iter(_silent))]


async def dial_soon(host: str, port: int, seconds: float) -> socket.socket:
    """`dial()` for an event loop, as a socket that does not block. Who is cancelled leaves nothing open."""
    from rectbot.threads import in_thread  # noqa: PLC0415 (it takes asyncio, which a push has no use for)

    gone = threading.Event()

    def call() -> socket.socket:
        sock = dial(host, port, seconds, wanted=lambda: not gone.is_set())
        sock.setblocking(False)
        return sock

    try:
        return await in_thread(call, drop=socket.socket.close)
    finally:
        gone.set()
