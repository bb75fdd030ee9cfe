"""A program beside this one that may fall without taking it along: started again, with a bound on its memory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence

import psutil

log = logging.getLogger(__name__)
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
_LOOK_SECONDS = 5.0
_STOP_SECONDS = 2.5
_CANNOT = 2  # exit code: a setting is wrong, and trying again cannot help


class Beside:
    """Runs `command` until `stop`. Its standard input ends when we do, however that comes about."""

    def __init__(self, name: str, command: Sequence[str], most_bytes: int) -> None:
        self._name, self._command, self._most_bytes = name, command, most_bytes
        self._process: Process | None = None
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ends it, and does not start it again."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if (process := self._process) is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            self._process = await asyncio.create_subprocess_exec(*self._command, stdin=PIPE)
            code = await self._watched(self._process)
            if code == _CANNOT:
                return  # it has said why
            if loop.time() - began > LONGEST_PAUSE_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            log.warning("the %s %s; it is started again in %.0f s", self._name, how, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _watched(self, process: Process) -> int:
        """Its exit code, when it has one."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    return await process.wait()
            with contextlib.suppress(psutil.Error):
                if (held := psutil.Process(process.pid).memory_info().rss) > self._most_bytes:
                    log.error("the %s holds %d MB: it is ended", self._name, held // 2**20)
                    process.kill()
