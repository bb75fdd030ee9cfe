"""Any program as a workload: `rectbot failover run -- CMD ...`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rectbot.errors import ConfigError, RectbotError
from rectbot.failover import keeper
from rectbot.failover.config import ChildOptions
from rectbot.failover.keeper import CHECK, LIMIT, MAIN, adopt_orphans, end_children
from rectbot.failover.lease import Lease
from rectbot.failover.workload import Ended

_log = logging.getLogger(__name__)
_CHECK_FAILURES = 3  # of the health command in a row that make an unhealthy leader
_STEADY_S = 60.0  # a program that ran for so long has not failed at its start
_RETRY_S = 1.0  # for the keeper process
_LOOK_S = 0.05  # for the ready file
_EX_CONFIG = 78  # <sysexits.h>


class ChildWorkload:
    """Runs a program under a lease: restarts it with growing pauses, watches it, and ends it with all it has started.

    It needs a process of its own, because it ends every child of that process. The program finds RECTBOT_SITE and
    RECTBOT_EPOCH in its environment. With exit code 78 (EX_CONFIG) it says that trying again cannot help.
    Create it in a running event loop. Raises RectbotError where the kernel cannot do what it needs.
    """

    def __init__(self, command: Sequence[str], options: ChildOptions | None = None) -> None:
        try:
            adopt_orphans()
        except OSError as error:
            raise RectbotError(
                f"this system cannot keep track of processes ({error}): it takes a kernel with CONFIG_PROC_CHILDREN"
            ) from None
        self._command = list(command)
        self._options = options or ChildOptions()
        self._keeper = _Keeper()
        self._lease: Lease | None = None
        self._main: asyncio.Future[int] | None = None
        self._began = 0.0
        self._well = False

    @property
    def active(self) -> bool:
        """Whether it was started and not stopped since."""
        return self._lease is not None

    @property
    def status(self) -> int | None:
        """What waitpid(2) said of the program when it last ended; None while it runs, or if it never did."""
        return self._main.result() if self._main is not None and self._main.done() else None

    @property
    def healthy(self) -> bool:
        return self._well and self._main is not None and not self._main.done()

    async def start(self, lease: Lease) -> None:
        """Returns when the program is ready. Raises RectbotError when it is not in time, or no login is left."""
        self._lease = lease
        await self._launch()

    async def wait(self) -> Ended:
        crashes = 0
        while True:
            if trouble := await self._watch():
                return Ended(trouble)
            text = f"the program {self._describe()}"
            if self.status == _EX_CONFIG << 8:
                return Ended(f"{text}: it cannot run as it is configured", fatal=True)
            crashes = 1 if time.monotonic() - self._began >= _STEADY_S else crashes + 1
            if crashes > self._options.restarts:
                return Ended(text if crashes == 1 else f"{text}, {crashes} times in a row")
            pause = self._options.backoff * 2.0 ** (crashes - 1)
            _log.warning("%s; it is started again in %g s", text, pause)
            await asyncio.sleep(pause)
            await self._launch()

    async def stop(self, timeout: float) -> None:  # noqa: ASYNC109 (a promise of ours)
        self._lease = None
        main = self._main
        if main is None:
            return
        if not main.done():
            self.signal(signal.SIGTERM)
            await asyncio.wait({main}, timeout=timeout - min(1.0, 0.2 * timeout))
        if not main.done():
            _log.warning("the program did not stop in time: it is killed")
            self.kill()
            await asyncio.wait({main})

    def kill(self) -> None:
        self._keeper.kill()

    def guard(self, deadline: int | None) -> None:
        self._keeper.guard(deadline)

    def signal(self, number: int) -> None:
        """Sends a signal to the program and its process group, if it runs."""
        self._keeper.send("signal", MAIN, f"{number:d}")

    async def close(self) -> None:
        """Ends everything, for good."""
        await self._keeper.close()

    async def _launch(self) -> None:
        assert self._lease is not None
        self._lease.login()  # what a bot does when it starts
        ready_file = Path(self._options.ready_file) if self._options.ready_file else None
        if ready_file is not None:
            _remove(ready_file)
        self._well = False
        variables = [f"RECTBOT_SITE={self._lease.site}", f"RECTBOT_EPOCH={self._lease.epoch}"]
        self._began = time.monotonic()
        self._main = self._keeper.spawn(MAIN, self._command, variables)
        if ready_file is not None:
            await self._until_ready(ready_file, self._main)
        self._well = True

    async def _until_ready(self, file: Path, main: asyncio.Future[int]) -> None:
        limit = self._options.ready_timeout
        while not file.exists() and not main.done():  # noqa: ASYNC240 (a look at a file blocks no longer than a log line)
            if time.monotonic() - self._began >= limit:
                raise RectbotError(f"the program was not ready within {limit:g} s: it did not make {file}")
            await asyncio.wait({main}, timeout=_LOOK_S)

    async def _watch(self) -> str:
        """Returns when the program has ended, or with what is wrong with it."""
        assert self._main is not None
        failures = 0
        while True:
            interval = self._options.health_interval if self._options.health_cmd else None
            await asyncio.wait({self._main}, timeout=interval)
            if self._main.done():
                return ""
            self._well = await self._check()
            failures = 0 if self._well else failures + 1
            if failures >= _CHECK_FAILURES and not self._main.done():
                return f"the health command failed {failures} times in a row"

    async def _check(self) -> bool:
        check = self._keeper.spawn(CHECK, ["/bin/sh", "-c", self._options.health_cmd])
        await asyncio.wait({check}, timeout=self._options.health_interval)
        if not check.done():
            self._keeper.send("signal", CHECK, f"{signal.SIGKILL:d}")
        return await check == 0

    def _describe(self) -> str:
        status = self.status or 0
        if os.WIFSIGNALED(status):
            return f"was ended by signal {os.WTERMSIG(status)}"
        return f"ended with exit code {os.WEXITSTATUS(status)}"


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"--ready-file {file}: cannot be removed ({error.strerror}); name another file") from None


class _Keeper:
    """The keeper process, seen from here. When it dies, all that it kept is ended, and another takes its place."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._deadline: int | None = None
        self._ends: dict[str, asyncio.Future[int]] = {}
        self._burial: asyncio.Task[None] | None = None
        self._closing = False
        self._open()

    def _open(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", keeper.__file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C is not for it
            )
        ours.setblocking(False)
        self._socket = ours
        self._loop.add_reader(self._socket, self._read)

    def guard(self, deadline: int | None) -> None:
        self._deadline = deadline
        self.send("deadline", str(deadline or 0))

    def spawn(self, name: str, command: Sequence[str], variables: Sequence[str] = ()) -> asyncio.Future[int]:
        """Starts a program; the future gets its wait status."""
        self._ends[name] = end = self._loop.create_future()
        self.send("spawn", name, *variables, "--", *command)
        return end

    def send(self, *words: str) -> None:
        if self._burial is not None:
            return  # whom it concerns has no longer to be told
        packet = b"\0".join(map(os.fsencode, words))
        if len(packet) > LIMIT:
            raise ConfigError(f"the command is too long: {len(packet)} bytes, at most {LIMIT}")
        try:
            self._socket.send(packet)
        except (BlockingIOError, ConnectionError):  # it is dead, or has not read for long
            self.kill()

    def kill(self) -> None:
        """Kills it, and by that all programs; their futures get their results when nothing is left."""
        if self._burial is None:
            self._process.kill()
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._burial = self._loop.create_task(self._bury())

    async def _bury(self) -> None:
        while not end_children():  # noqa: ASYNC110 (there is no event for "the last one")
            await asyncio.sleep(0.001)
        self._process.returncode = -signal.SIGKILL  # reaped above
        ended, self._ends = self._ends, {}
        if not self._closing:
            await self._open_again()
            self._burial = None
            self.guard(self._deadline)
        for end in ended.values():
            if not end.done():
                end.set_result(signal.SIGKILL)

    async def _open_again(self) -> None:
        while True:
            try:
                return self._open()
            except OSError as error:  # no memory, or too many processes: nothing runs meanwhile
                _log.error(
                    "cannot start a guardian for the program (%s); tries again in %g s", error.strerror, _RETRY_S
                )
                await asyncio.sleep(_RETRY_S)

    def _read(self) -> None:
        try:
            packet = self._socket.recv(LIMIT)
        except BlockingIOError:
            return
        except ConnectionError:
            packet = b""
        if not packet:
            _log.warning("the guardian of the program has died: what it guarded is ended")
            self.kill()
            return
        _, name, status = packet.decode().split("\0")
        end = self._ends.pop(name, None)
        if end is not None and not end.done():
            end.set_result(int(status))

    async def close(self) -> None:
        self._closing = True
        self.kill()
        assert self._burial is not None
        await self._burial
