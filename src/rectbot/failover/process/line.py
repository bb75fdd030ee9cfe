"""The line between the agent, which renews the lease, and a program that runs under it: JSON objects, one a packet.

The program finds its end in RECTBOT_LEASE_FD. Agent to program, once that has spoken:

    {"plan": {...}}                     what our own programs are to do; holds secrets
    {"lease": {...}}                    it may begin: site, owner, epoch, deadline, logins_left, stop_s
    {"deadline": MS, "logins_left": N, "heard": M}    a renewal; M of the program's logins are counted in it
    {"log": [SECONDS, LEVEL, TEXT]}     a line of the agent's log, to be shipped

Program to agent:

    {"speaks": true}                    it is on the line
    {"waits": true}                     it has all that it needs but the lease
    {"login": [COUNT, LEFT]}            it is about to log in: see messages.Logins
    {"healthy": BOOL}                   it serves or not: at each change, and every SAY_S seconds
    {"ended": TEXT, "fatal": BOOL}      why it is about to end

Stopping is SIGTERM, as with any program, and what does not obey is killed by the watchdog.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from rectbot.errors import RectbotError
from rectbot.failover.lease import Lease
from rectbot.failover.messages import Logins
from rectbot.failover.process.watchdog import LEASE_FD, LIMIT

SAY_S = 5.0
Words = dict[str, Any]


class AgentsEnd:
    """The agent's end. What it has to tell waits until the program has spoken, which few programs do."""

    def __init__(self, hear: Callable[[Words], None]) -> None:
        self._hear = hear
        self._socket, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        self.spoke = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._read)

    def tell(self, **words: Any) -> bool:
        """Whether it was told."""
        if not self.spoke or self._socket.fileno() < 0:
            return False
        try:
            self._socket.send(json.dumps(words).encode())
        except OSError:  # it is gone, or has not listened for long: then its lease ends for it
            return False
        return True

    def read_all(self) -> None:
        """Hears what has arrived so far."""
        while self._socket.fileno() >= 0 and self._read():
            pass

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
        self._socket.close()
        self.theirs.close()

    def _read(self) -> bool:
        packet = _receive(self._socket)
        if packet:
            with contextlib.suppress(ValueError):  # the program may write what it likes
                words = json.loads(packet)
                self.spoke = True
                self._hear(words if isinstance(words, dict) else {})
        elif packet == b"":
            self._loop.remove_reader(self._socket)
            self._socket.close()
        return bool(packet)


class ProgramsEnd:
    """The program's end. Create it in a running event loop. Raises RectbotError when nobody has left one for us."""

    def __init__(self) -> None:
        fd = os.environ.pop(LEASE_FD, "")
        try:
            self._socket = socket.socket(fileno=int(fd))
        except (ValueError, OSError):
            raise RectbotError("this program was not started by 'rectbot failover run'") from None
        self._socket.setblocking(False)
        os.set_inheritable(self._socket.fileno(), False)
        self._lock = threading.Lock()
        self._lease: Lease | None = None
        self._logins = 0
        self._heard: deque[Words] = deque()
        self.on_log: Callable[[float, int, str], None] = lambda *_: None
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._plan: asyncio.Future[Words] = loop.create_future()
        self._granted: asyncio.Future[Words] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._socket, self._on_readable)
        self.tell(speaks=True)

    async def plan(self) -> Words:
        return await self._plan

    async def lease(self) -> tuple[Lease, float]:
        """The lease, when it is there, and how many seconds a stop may take. It follows the renewals by itself."""
        self.tell(waits=True)
        words = await self._granted
        stop_s = float(words.pop("stop_s"))
        lease = Lease(**words, on_login=self._on_login, refresh=self._receive_all)
        with self._lock:
            self._lease = lease
        self._receive_all()
        return lease, stop_s

    def tell(self, **words: Any) -> None:
        with contextlib.suppress(OSError):  # the agent is gone: we end as well
            self._socket.send(json.dumps(words).encode())

    def _on_login(self, logins: Logins) -> None:
        self._logins += logins.count
        self.tell(login=[logins.count, logins.left])

    def _on_readable(self) -> None:
        self._receive_all()
        while self._heard:
            self._handle(self._heard.popleft())

    def _receive_all(self) -> None:
        """From any thread: renewals take effect at once, also while the event loop is kept busy."""
        with self._lock:
            while (packet := _receive(self._socket)) is not None:
                words: Words = json.loads(packet) if packet else {"end": True}
                if "deadline" in words and self._lease is not None:
                    left = words["logins_left"]
                    self._lease.extend(words["deadline"], left and max(0, left - self._logins + words["heard"]))
                else:
                    self._heard.append(words)
                if not packet:
                    break

    def _handle(self, words: Words) -> None:
        if "plan" in words and not self._plan.done():
            self._plan.set_result(words["plan"])
        elif "lease" in words and not self._granted.done():
            self._granted.set_result(words["lease"])
        elif "log" in words:
            self.on_log(*words["log"])
        elif "end" in words and not self.closed.done():
            self._loop.remove_reader(self._socket)
            self.closed.set_result(None)


def _receive(link: socket.socket) -> bytes | None:
    """A packet; nothing when the other end is gone; None when there is none now."""
    try:
        return link.recv(LIMIT)
    except BlockingIOError:
        return None
    except OSError:
        return b""


async def join() -> Lease:
    """For an asyncio program that `rectbot failover run` has started: its lease, which follows the renewals by itself.

    Started with --warm it waits here until the site leads. Raises RectbotError for a program that was started by
    somebody else.
    """
    end = ProgramsEnd()
    lease, _ = await end.lease()
    _joined.append(end)
    return lease


_joined: list[ProgramsEnd] = []  # a line is open for as long as its program lives
