"""Looking names up, though the resolver swallows what it is asked.

`getaddrinfo` knows no time-out: with a dead name server it takes 20 s and more, and a thread of asyncio's or of
concurrent.futures that waits for it holds up the end of the process as long. Here it runs in daemon threads, and nobody
waits for longer than they want to. Where it is slow, IPv4 alone is asked for as well: some resolvers swallow questions
for IPv6 only. What comes too late is there for those who ask next; and while the resolver is silent about a name that
it knew before, the old addresses do (as in RFC 8767). Standard library only: the failover's agent has nothing else.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from itertools import chain, zip_longest
from typing import Any

PATIENCE_SECONDS = 0.25  # with the resolver, where there is something else to try
MAY_PASS = (socket.EAI_AGAIN, socket.EAI_SYSTEM, socket.EAI_MEMORY)  # errors that say nothing about the name
_MOST_NAMES = 100

Address = tuple[int, tuple[Any, ...]]  # the family, and what socket.connect() takes


class _Question:
    """A name, in all families or in one, asked by one thread; all who want to know wait for that."""

    def __init__(self, host: str, family: socket.AddressFamily) -> None:
        self.host = host
        self.family = family
        self.done = False
        self.error: socket.gaierror | None = None

    @property
    def key(self) -> tuple[str, int]:
        return self.host, self.family

    def ask(self) -> None:
        try:
            found = socket.getaddrinfo(self.host, 0, self.family, socket.SOCK_STREAM)
        except socket.gaierror as error:
            self.settle([], error)
        except (OSError, ValueError) as error:  # an empty label, a zero byte
            self.settle([], socket.gaierror(socket.EAI_NONAME, f"cannot be a name: {error}"))
        else:
            self.settle([(kind, where) for kind, _, _, _, where in found], None)

    def settle(self, found: list[Address], error: socket.gaierror | None) -> None:
        with _changed:
            if error is None or error.errno not in MAY_PASS:
                _known.pop(self.key, None)
            if found:
                _known[self.key] = found
                if len(_known) > _MOST_NAMES:
                    del _known[next(iter(_known))]
            self.error, self.done = error, True
            del _under_way[self.key]
            _changed.notify_all()


_changed = threading.Condition()
_under_way: dict[tuple[str, int], _Question] = {}
_known: dict[tuple[str, int], list[Address]] = {}  # what was answered last


def look_up(host: str, port: int, timeout: float | None) -> list[Address]:
    """The addresses of a name, or of an address, in the order to try them: the families by turns (RFC 8305).

    Raises socket.gaierror when there are none, or the resolver does not answer within `timeout` seconds (None: ever).
    """
    host = host.removeprefix("[").removesuffix("]")
    found = _literal(host) or _of_name(host, timeout)
    return [(family, (where[0], port, *where[2:])) for family, where in _by_turns(found)]


def _literal(host: str) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, ValueError):
        return []
    return [(family, where) for family, _, _, _, where in found]


def _of_name(host: str, timeout: float | None) -> list[Address]:
    deadline = None if timeout is None else time.monotonic() + timeout
    whole = _ask(host, socket.AF_UNSPEC)
    _wait(lambda: whole.done, PATIENCE_SECONDS if timeout is None else min(timeout, PATIENCE_SECONDS))
    if whole.done or whole.key in _known:
        found = _known.get(whole.key)
    else:
        part = _ask(host, socket.AF_INET)
        left = None if deadline is None else max(deadline - time.monotonic(), 0)
        _wait(lambda: whole.done or part.key in _known, left)
        found = _known.get(whole.key) or (None if whole.error else _known.get(part.key))
    if found:
        return found
    raise whole.error or socket.gaierror(socket.EAI_AGAIN, f"the resolver has not answered within {timeout:.3g} s")


def _ask(host: str, family: socket.AddressFamily) -> _Question:
    """The question that is under way, or a new one."""
    with _changed:
        if (host, family) in _under_way:
            return _under_way[host, family]
        question = _under_way[host, family] = _Question(host, family)
    try:
        threading.Thread(target=question.ask, name=f"look up {host}", daemon=True).start()
    except RuntimeError as error:  # no more threads
        question.settle([], socket.gaierror(socket.EAI_AGAIN, str(error)))
    return question


def _wait(met: Callable[[], bool], seconds: float | None) -> None:
    with _changed:
        _changed.wait_for(met, seconds)


def _by_turns(addresses: list[Address]) -> list[Address]:
    first = [each for each in addresses if each[0] == addresses[0][0]]
    other = [each for each in addresses if each[0] != addresses[0][0]]
    return [each for each in chain.from_iterable(zip_longest(first, other)) if each is not None]
