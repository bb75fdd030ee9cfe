"""The watchdog, seen from the process that starts it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rectbot.errors import ConfigError
from rectbot.failover.process import containment, watchdog
from rectbot.failover.process.containment import NAMESPACE, TIES, end_children
from rectbot.failover.process.watchdog import LIMIT, NOT_STARTED

_log = logging.getLogger(__name__)
_RETRY_S = 1.0  # for a watchdog that could not be started
_HELD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class End(NamedTuple):
    """How a program ended: its status of waitpid(2), and why, if it was not even started."""

    status: int
    not_started: str = ""


class Watchdog:
    """Runs programs under a deadline. When it dies, all of them are ended, and another takes its place.

    Create it in a running event loop of a process that has no children of its own, as it ends every child of that
    process. Raises OSError where the kernel does not tell who our children are.
    """

    def __init__(self, *, contain: bool = True) -> None:
        containment.adopt_orphans()
        self._loop = asyncio.get_running_loop()
        self._kind = NAMESPACE if contain else TIES
        self._deadline: int | None = None
        self._ends: dict[str, asyncio.Future[End]] = {}
        self._socket: socket.socket | None = None  # None: there is no watchdog, for this reason:
        self._absent = ""
        self._pids: set[int] = set()
        self._burial: asyncio.Task[None] | None = None
        self._told = ""
        self._closing = False
        self._open_or_retry()

    def guard(self, deadline: int | None) -> None:
        """Sets when everything is to be killed; None: nothing may run."""
        self._deadline = deadline
        self._send("deadline", str(deadline or 0))

    def spawn(
        self,
        name: str,
        command: Sequence[str],
        variables: Sequence[str] = (),
        *,
        inherit: socket.socket | None = None,
        waits: bool = False,
    ) -> asyncio.Future[End]:
        """Starts a program, before there is a deadline if it `waits` for one; the future tells how it ended.

        Raises ConfigError for a command that is too long.
        """
        end: asyncio.Future[End] = self._loop.create_future()
        if self._socket is None or self._burial is not None:
            end.set_result(End(NOT_STARTED, self._absent or "its watchdog has just died"))
            return end
        self._ends[name] = end
        self._send("prepare" if waits else "spawn", name, *variables, "--", *command, inherit=inherit)
        return end

    def signal(self, name: str, number: int) -> None:
        """Sends a signal to a program and its process group, if it runs."""
        self._send("signal", name, f"{number:d}")

    def kill(self) -> None:
        """Kills the watchdog, and by that all programs; their futures get their results when nothing is left."""
        if self._burial is not None:
            return
        for pid in self._pids:  # nobody but us reaps them, so the numbers are still theirs
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._disconnect()
        self._burial = self._loop.create_task(self._bury())

    async def close(self) -> None:
        """Ends everything, for good."""
        self._closing = True
        self.kill()
        assert self._burial is not None
        await self._burial

    def _open_or_retry(self) -> None:
        """Without memory, or with too many processes, nothing can run; but that may pass."""
        if self._closing:
            return
        try:
            process, self._socket = _start(self._deadline, self._kind, blocking=False)
        except OSError as error:
            if not self._absent:
                _log.error("cannot start the watchdog of the program (%s); tries again", error.strerror)
            self._absent = f"its watchdog cannot be started: {error.strerror}"
            self._loop.call_later(_RETRY_S, self._open_or_retry)
            return
        self._absent = ""
        self._pids = {process.pid}
        process.returncode = 0  # we reap it ourselves, with all others
        self._loop.add_reader(self._socket, self._read)

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    async def _bury(self) -> None:
        while not end_children():  # noqa: ASYNC110 (there is no event for "the last one")
            await asyncio.sleep(0.001)
        ended, self._ends = self._ends, {}
        self._pids = set()
        self._burial = None
        self._open_or_retry()
        for end in ended.values():
            if not end.done():
                end.set_result(End(NOT_STARTED, self._absent))

    def _send(self, *words: str, inherit: socket.socket | None = None) -> None:
        if self._socket is None:
            return  # whom it concerns is gone, and its successor is born with the deadline
        packet = b"\0".join(map(os.fsencode, words))
        if len(packet) > LIMIT:
            raise ConfigError(f"the command is too long: {len(packet)} bytes, at most {LIMIT}")
        rights = [] if inherit is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [inherit.fileno()]))]
        try:
            self._socket.sendmsg([packet], rights)
        except (BlockingIOError, ConnectionError):  # it is dead, or has not read for long
            self.kill()

    def _read(self) -> None:
        assert self._socket is not None
        try:
            packet = self._socket.recv(LIMIT)
        except BlockingIOError:
            return
        except ConnectionError:
            packet = b""
        if not packet:
            _log.warning("the watchdog of the program has died: what it watched is ended")
            self.kill()
            return
        kind, name, *rest = packet.decode().split("\0")
        if kind == "watches":
            self._on_watches(int(name), rest[0])
            return
        end = self._ends.pop(name, None)
        if end is not None and not end.done():
            end.set_result(End(int(rest[0]), "".join(rest[1:])))

    def _on_watches(self, pid: int, kind: str) -> None:
        """In a namespace it is not the process that we have started, which ends now."""
        if pid not in self._pids:
            [starter] = self._pids
            self._pids = {pid}
            self._loop.create_task(_reap(starter))
        if kind != self._told:
            self._told = kind
            _log.info("the program is held by %s", containment.words(kind))


async def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # a burial was faster
        while os.waitpid(pid, os.WNOHANG) == (0, 0):  # noqa: ASYNC110, ASYNC222 (it does not wait)
            await asyncio.sleep(0.001)


class Guardian:
    """A watchdog that runs no programs, and kills this process, or another one, at the deadline."""

    def __init__(self, target: int | None = None, deadline: int | None = None) -> None:
        self._target = target or os.getpid()
        self._process, self._socket = _start(deadline, str(self._target), blocking=True)

    @property
    def pid(self) -> int:
        return self._process.pid

    def set(self, deadline: int | None) -> None:
        """Sets the deadline; None: nothing runs any more. A watchdog that was killed is replaced."""
        try:
            self._socket.send(b"deadline\0%d" % (deadline or 0))
        except ConnectionError:
            self.close()
            self._process, self._socket = _start(deadline, str(self._target), blocking=True)

    def close(self) -> None:
        """Ends the watchdog; the target lives on unless a deadline is set."""
        self._socket.close()
        self._process.wait()


def _start(deadline: int | None, kind: str, *, blocking: bool) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Starts a watchdog that knows the deadline from its birth. Raises OSError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        try:
            with _held_back():
                process = subprocess.Popen(
                    [sys.executable, "-I", "-S", watchdog.__file__, str(theirs.fileno()), str(deadline or 0), kind],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,  # a Ctrl-C, or a signal to our group, is not for it
                )
        except OSError:
            ours.close()
            raise
    ours.setblocking(blocking)
    return process, ours


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """A process that starts meanwhile is born deaf to the signals of a stop."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
