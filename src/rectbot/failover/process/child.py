"""Any program as a workload: `rectbot failover run -- CMD ...`, and our own bot."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rectbot.errors import ConfigError, RectbotError
from rectbot.failover.config import ChildOptions
from rectbot.failover.lease import Lease
from rectbot.failover.messages import Logins
from rectbot.failover.process.handle import End, Watchdog
from rectbot.failover.process.line import AgentsEnd, Words
from rectbot.failover.workload import Ended

_log = logging.getLogger(__name__)
_MAIN, _CHECK = "main", "check"
_CHECK_FAILURES = 3  # of the health command in a row that make an unhealthy leader
_STEADY_S = 60.0  # a program that ran for so long has not failed at its start
_LOOK_S = 0.05  # for the ready file
_WARM_RETRY_S, _WARM_RETRY_MAX_S = 1.0, 60.0
_EX_CONFIG = 78  # <sysexits.h>


class _Program:
    """One life of the program: its end, and what it says of itself on its line."""

    def __init__(self, plan: Mapping[str, Any] | None) -> None:
        loop = asyncio.get_running_loop()
        self.main: asyncio.Future[End] = loop.create_future()
        self.began = time.monotonic()
        self.line = AgentsEnd(self._hear)
        self.lease: Lease | None = None
        self.logins = 0  # that it has told of
        self.ended: Ended | None = None
        self.healthy = False
        self.heard_at = self.began
        self.waits, self.news = asyncio.Event(), asyncio.Event()  # news: it serves, or says that it ends
        self._plan = plan
        self._stop_s = 0.0

    def give(self, lease: Lease, stop_s: float) -> None:
        self.lease, self._stop_s = lease, stop_s
        lease.on_extended = self._extended
        self._tell_lease()

    def take(self) -> None:
        """The lease is over for it."""
        if self.lease is not None:
            self.lease.on_extended = None
        self.lease = None

    def _tell_lease(self) -> None:
        if self.lease is not None:
            names = ("site", "owner", "epoch", "deadline", "logins_left")
            self.line.tell(lease={name: getattr(self.lease, name) for name in names} | {"stop_s": self._stop_s})

    def _extended(self) -> None:
        if self.lease is not None:
            self.line.tell(deadline=self.lease.deadline, logins_left=self.lease.logins_left, heard=self.logins)

    def _hear(self, words: Words) -> None:
        self.heard_at = time.monotonic()
        if "speaks" in words:
            if self._plan is not None:
                self.line.tell(plan=self._plan)
        elif "waits" in words:
            self.waits.set()
            self._tell_lease()
        elif "login" in words and self.lease is not None:
            count, left = words["login"]
            self.logins += count
            self.lease.note_logins(Logins(count, left))
        elif "healthy" in words:
            self.healthy = bool(words["healthy"])
            if self.healthy:
                self.news.set()
        elif "ended" in words:
            self.ended = Ended(str(words["ended"]), fatal=bool(words.get("fatal")))
            self.news.set()

    async def until(self, event: asyncio.Event, seconds: float | None = None) -> bool:
        """Waits for news of it, or its end; False when it took too long."""
        waiting = asyncio.ensure_future(event.wait())
        try:
            done, _ = await asyncio.wait((self.main, waiting), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        self.line.read_all()  # what it said before it ended
        return bool(done)

    def describe(self) -> str:
        if not self.main.done():
            return "runs"
        status, not_started = self.main.result()
        if not_started:
            return f"could not be started: {not_started}"
        if os.WIFSIGNALED(status):
            return f"was ended by signal {os.WTERMSIG(status)}"
        return f"ended with exit code {os.WEXITSTATUS(status)}"


class ChildWorkload:
    """Runs a program under a lease: restarts it with growing pauses, watches it, and ends it with all it has started.

    It needs a process of its own, because it ends every child of that process. The program finds RECTBOT_SITE and
    RECTBOT_EPOCH in its environment. With exit code 78 (EX_CONFIG) it says that trying again cannot help. One that is
    `warm` is started before the lease, and waits for it on its line (`line.py`), as it does after each lease.
    Create it in a running event loop. Raises RectbotError where the kernel cannot do what it needs.
    """

    def __init__(
        self,
        command: Sequence[str],
        options: ChildOptions | None = None,
        *,
        site: str = "",
        plan: Mapping[str, Any] | None = None,
    ) -> None:
        self._command = list(command)
        self._options = options or ChildOptions()
        self._site = site
        self._plan = plan
        try:
            self._watchdog = Watchdog(contain=self._options.contain)
        except OSError as error:
            raise RectbotError(
                f"this system cannot keep track of processes ({error}): it takes a kernel with CONFIG_PROC_CHILDREN"
            ) from None
        self._lease: Lease | None = None
        self._program: _Program | None = None
        self._well = False
        self._warming: asyncio.Task[None] | None = None
        self.broken: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        """Gets why the program cannot run at all, when that shows before there is a lease."""
        self._last = False
        if self._options.tells or self._options.warm:
            self._spawn(waits=True)
            self._warm_up()

    @property
    def active(self) -> bool:
        """Whether it was started and not stopped since."""
        return self._lease is not None

    @property
    def status(self) -> int | None:
        """What waitpid(2) said of the program when it last ended; None while it runs, or if it never did."""
        return self._program.main.result().status if self._program is not None and self._program.main.done() else None

    @property
    def healthy(self) -> bool:
        program = self._program
        if program is None or program.main.done():
            return False
        return program.healthy if self._options.tells else self._well

    async def start(self, lease: Lease) -> None:
        """Returns when the program is ready. Raises RectbotError when it is not in time, or no login is left."""
        self._lease = lease
        self._cool_down()
        if self._program is not None and not self._options.warm:
            await self._end(self._program, 1.0)  # it was only tried
        await self._launch()

    async def wait(self) -> Ended:
        crashes = 0
        while True:
            if trouble := await self._watch():
                return Ended(trouble)
            program = self._alive()
            if program.ended is not None:
                return program.ended
            text = f"the program {program.describe()}"
            if program.main.result().not_started:
                return Ended(text)  # another site may have room for it
            if self.status == _EX_CONFIG << 8:
                return Ended(f"{text}: it cannot run as it is configured", fatal=True)
            crashes = 1 if time.monotonic() - program.began >= _STEADY_S else crashes + 1
            if crashes > self._options.restarts:
                return Ended(text if crashes == 1 else f"{text}, {crashes} times in a row")
            pause = self._options.backoff * 2.0 ** (crashes - 1)
            _log.warning("%s; it is started again in %g s", text, pause)
            await asyncio.sleep(pause)
            await self._launch()

    async def stop(self, timeout: float) -> None:  # noqa: ASYNC109 (a promise of ours)
        self._lease = None
        if self._program is not None:
            await self._end(self._program, timeout)
            self._program.take()
        if self._options.warm and not self._last:
            self._warm_up()

    def kill(self) -> None:
        self._watchdog.kill()

    def guard(self, deadline: int | None) -> None:
        self._watchdog.guard(deadline)

    def signal(self, number: int) -> None:
        """Sends a signal to the program and its process group, if it runs."""
        self._watchdog.signal(_MAIN, number)

    def tell_log(self, seconds: float, level: int, text: str) -> bool:
        """Hands a line of our log to a program that ships it; False when there is none now."""
        return self._program is not None and self._program.line.tell(log=[seconds, level, text])

    async def until_warm(self) -> None:
        """Returns when a program waits for the lease, or was tried, or cannot be: then this site may stand by."""
        program = self._program
        if program is not None:
            await program.until(program.waits, self._options.ready_timeout)
            if not self._options.warm:
                await asyncio.wait({program.main}, timeout=self._options.ready_timeout)

    def stopping(self) -> None:
        """This was, or is, the last lease: no program is to be warmed up for another."""
        self._last = True

    async def close(self) -> None:
        """Ends everything, for good."""
        self._last = True
        self._cool_down()
        await self._watchdog.close()
        if self._program is not None:
            self._program.line.close()

    # Before the lease

    def _warm_up(self) -> None:
        if self._warming is None or self._warming.done():
            self._warming = asyncio.get_running_loop().create_task(self._keep_warm())

    def _cool_down(self) -> None:
        """From here on somebody else looks after the program that waits."""
        if self._warming is not None:
            self._warming.cancel()
            self._warming = None

    async def _keep_warm(self) -> None:
        """Has a program wait for the lease; or, for a cold standby, tries once whether it could."""
        pause = _WARM_RETRY_S
        while not self.broken.done():
            program = self._program
            if program is None or program.main.done():
                program = self._spawn(waits=True)
            await program.until(program.waits)
            if program.waits.is_set() and not self._options.warm:
                await self._end(program, 1.0)
                return
            if program.waits.is_set():
                _log.info("%s: the program is loaded, and waits for the lease", self._site)
            await asyncio.wait({program.main})
            program.line.read_all()
            if program.ended is not None and program.ended.fatal:
                self.broken.set_result(program.ended)
                return
            why = program.ended.reason if program.ended is not None else f"the program {program.describe()}"
            if time.monotonic() - program.began >= _STEADY_S:
                pause = _WARM_RETRY_S
            _log.warning("the program that waits for the lease is gone: %s; another is started in %g s", why, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _WARM_RETRY_MAX_S)

    # Under it

    async def _launch(self) -> None:
        assert self._lease is not None
        if not self._options.tells:
            self._lease.login()  # what a bot does when it starts
        ready_file = Path(self._options.ready_file) if self._options.ready_file else None
        if ready_file is not None:
            _remove(ready_file)
        self._well = False
        program = self._program
        if program is None or program.main.done() or program.lease is not None:
            program = self._spawn()
        program.give(self._lease, self._options.stop_s)
        if ready_file is not None:
            await self._until_ready(ready_file, program)
        elif self._options.tells:
            await self._until_told(program)
        self._well = True

    def _spawn(self, *, waits: bool = False) -> _Program:
        if self._program is not None:
            self._program.line.close()
        self._program = program = _Program(self._plan)
        variables = [f"RECTBOT_SITE={self._site}"]
        if self._lease is not None:
            variables.append(f"RECTBOT_EPOCH={self._lease.epoch}")
        theirs = program.line.theirs
        program.main = self._watchdog.spawn(_MAIN, self._command, variables, inherit=theirs, waits=waits)
        theirs.close()
        return program

    async def _until_told(self, program: _Program) -> None:
        limit = self._options.ready_timeout
        if not await program.until(program.news, limit):
            raise RectbotError(f"the program was not ready within {limit:g} s")
        if program.ended is not None:
            raise (ConfigError if program.ended.fatal else RectbotError)(program.ended.reason)
        if program.main.done():
            raise RectbotError(f"the program {program.describe()}")

    async def _until_ready(self, file: Path, program: _Program) -> None:
        limit = self._options.ready_timeout
        began = time.monotonic()
        while not file.exists() and not program.main.done():  # noqa: ASYNC240 (no longer than a log line)
            if time.monotonic() - began >= limit:
                raise RectbotError(f"the program was not ready within {limit:g} s: it did not make {file}")
            await asyncio.wait({program.main}, timeout=_LOOK_S)

    async def _watch(self) -> str:
        """Returns when the program has ended, or with what is wrong with it."""
        program, failures = self._alive(), 0
        if self._options.tells:
            return await self._listen(program)
        while True:
            interval = self._options.health_interval if self._options.health_cmd else None
            await asyncio.wait({program.main}, timeout=interval)
            if program.main.done():
                return ""
            self._well = await self._check()
            failures = 0 if self._well else failures + 1
            if failures >= _CHECK_FAILURES and not program.main.done():
                return f"the health command failed {failures} times in a row"

    async def _listen(self, program: _Program) -> str:
        """A program that tells how it is, and says nothing for long, hangs: paused, or its event loop kept busy."""
        while True:
            program.news.clear()
            if program.main.done() or program.ended is not None:
                return ""
            silent = time.monotonic() - program.heard_at
            if silent >= self._options.silence_limit:
                return f"the program has not moved for {silent:.0f} s"
            await program.until(program.news, self._options.silence_limit - silent)

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

    async def _end(self, program: _Program, seconds: float) -> None:
        if not program.main.done():
            self.signal(signal.SIGTERM)
            await asyncio.wait({program.main}, timeout=kill_after(seconds))
        if not program.main.done():
            _log.warning("the program did not stop in time: it is killed")
            self.kill()
            await asyncio.wait({program.main})

    def _alive(self) -> _Program:
        assert self._program is not None
        return self._program


def kill_after(stop_s: float) -> float:
    """How many of the seconds that a stop may take a program has before it is killed."""
    return max(0.0, stop_s - min(1.0, 0.2 * stop_s))


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"--ready-file {file}: cannot be removed ({error.strerror}); name another file") from None
