"""Any program as a workload: `rectbot failover run -- CMD ...`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from rectbot.errors import ConfigError, RectbotError
from rectbot.failover.config import ChildOptions
from rectbot.failover.lease import Lease
from rectbot.failover.process.handle import End, Watchdog
from rectbot.failover.workload import Ended

_log = logging.getLogger(__name__)
_MAIN, _CHECK = "main", "check"
_CHECK_FAILURES = 3  # of the health command in a row that make an unhealthy leader
_STEADY_S = 60.0  # a program that ran for so long has not failed at its start
_LOOK_S = 0.05  # for the ready file
_EX_CONFIG = 78  # <sysexits.h>


class ChildWorkload:
    """Runs a program under a lease: restarts it with growing pauses, watches it, and ends it with all it has started.

    It needs a process of its own, because it ends every child of that process. The program finds RECTBOT_SITE and
    RECTBOT_EPOCH in its environment. With exit code 78 (EX_CONFIG) it says that trying again cannot help.
    Create it in a running event loop. Raises RectbotError where the kernel cannot do what it needs.
    """

    def __init__(self, command: Sequence[str], options: ChildOptions | None = None) -> None:
        self._command = list(command)
        self._options = options or ChildOptions()
        try:
            self._watchdog = Watchdog(contain=self._options.contain)
        except OSError as error:
            raise RectbotError(
                f"this system cannot keep track of processes ({error}): it takes a kernel with CONFIG_PROC_CHILDREN"
            ) from None
        self._lease: Lease | None = None
        self._main: asyncio.Future[End] | None = None
        self._began = 0.0
        self._well = False

    @property
    def active(self) -> bool:
        """Whether it was started and not stopped since."""
        return self._lease is not None

    @property
    def status(self) -> int | None:
        """What waitpid(2) said of the program when it last ended; None while it runs, or if it never did."""
        return self._end.status if self._end is not None else None

    @property
    def _end(self) -> End | None:
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
            if self._end is not None and self._end.not_started:
                return Ended(text)  # here: another site may have room for it
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
        self._watchdog.kill()

    def guard(self, deadline: int | None) -> None:
        self._watchdog.guard(deadline)

    def signal(self, number: int) -> None:
        """Sends a signal to the program and its process group, if it runs."""
        self._watchdog.signal(_MAIN, number)

    async def close(self) -> None:
        """Ends everything, for good."""
        await self._watchdog.close()

    async def _launch(self) -> None:
        assert self._lease is not None
        self._lease.login()  # what a bot does when it starts
        ready_file = Path(self._options.ready_file) if self._options.ready_file else None
        if ready_file is not None:
            _remove(ready_file)
        self._well = False
        variables = [f"RECTBOT_SITE={self._lease.site}", f"RECTBOT_EPOCH={self._lease.epoch}"]
        self._began = time.monotonic()
        self._main = self._watchdog.spawn(_MAIN, self._command, variables)
        if ready_file is not None:
            await self._until_ready(ready_file, self._main)
        self._well = True

    async def _until_ready(self, file: Path, main: asyncio.Future[End]) -> None:
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
        check = self._watchdog.spawn(_CHECK, ["/bin/sh", "-c", self._options.health_cmd])
        await asyncio.wait({check}, timeout=self._options.health_interval)
        if not check.done():
            self._watchdog.signal(_CHECK, signal.SIGKILL)
            await asyncio.wait({check}, timeout=self._options.health_interval)
        if not check.done():
            return False  # not even a SIGKILL ends it: a disk or a network file system that hangs
        if check.result().not_started:
            _log.warning("the health command could not be started: %s", check.result().not_started)
        return check.result().status == 0

    def _describe(self) -> str:
        if self._end is not None and self._end.not_started:
            return f"could not be started: {self._end.not_started}"
        status = self.status or 0
        if os.WIFSIGNALED(status):
            return f"was ended by signal {os.WTERMSIG(status)}"
        return f"ended with exit code {os.WEXITSTATUS(status)}"


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"--ready-file {file}: cannot be removed ({error.strerror}); name another file") from None
