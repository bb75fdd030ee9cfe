"""The recorded past, read for all who look: the history's database, and the store's own journal for what is newer.

A program of its own reads the database and ends, as the one that records does: it costs this process no memory, and
one that hangs holds nothing up. It is run again when the store tells of something new.
"""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE

from rectbot.console.happened import Happened, happened
from rectbot.console.live import Now
from rectbot.errors import RectbotError
from rectbot.history.lines import read_lines
from rectbot.history.story import Told, told

COMMAND = (sys.executable, "-m", "rectbot", "history", "export")
_MOST_SECONDS, _REST_SECONDS = 60.0, 30.0
_MOST_BYTES = 32 * 1024 * 1024
_MINUTE = 60.0


class Past:
    """One for the process; it is asked with each look."""

    def __init__(self) -> None:
        self._recorded: tuple[Told, ...] = ()
        self.trouble = ""  # why only the store's journal is known
        self._newest = ""  # the store's event at which the database was read
        self._due = 0.0
        self._task: asyncio.Task[None] | None = None
        self._gone: int | None = None
        self._made: tuple[object, Happened] | None = None

    def look(self, now: Now) -> Happened | None:
        """What happened, as far as it is known by now; None while nothing was read yet."""
        newest = now.events[-1].id if now.events else "-"
        if self._task is None and newest != self._newest and time.monotonic() >= self._due:
            self._newest = newest
            self._task = asyncio.create_task(self._read())
        if now.read is None and not self._recorded:
            return None
        self._see_leader(now)
        key = (newest, len(self._recorded), self._gone, int(now.time / _MINUTE), now.snapshot is None)
        if self._made is None or self._made[0] != key:
            events = {*self._recorded, *(told(event) for event in now.events)}
            known = now.time if now.snapshot is not None else now.read or now.time
            ordered = sorted(events, key=lambda event: event.time)
            self._made = (key, happened(ordered, round(known * 1000), self._gone))
        return self._made[1]

    def _see_leader(self, now: Now) -> None:
        if now.snapshot is not None:
            led = now.snapshot.leader is not None
            self._gone = None if led else self._gone or round(now.time * 1000)

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(_MOST_SECONDS):
                self._recorded = await _export()
            self.trouble = ""
        except TimeoutError:
            self.trouble = f"the history was not read within {_MOST_SECONDS:.0f} s"
        except (RectbotError, OSError) as error:
            self.trouble = str(error)
        finally:
            self._task, self._due = None, time.monotonic() + _REST_SECONDS

    async def close(self) -> None:
        """Ends what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


async def _export() -> tuple[Told, ...]:
    process = await asyncio.create_subprocess_exec(*COMMAND, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    try:
        out, error = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()  # else its pipes outlive the event loop, and say so with a traceback
    if process.returncode or len(out) > _MOST_BYTES:
        said = error.decode(errors="replace").strip().splitlines()
        raise RectbotError(said[-1] if said else "the history cannot be read")
    return tuple(read_lines(out.decode(errors="replace").splitlines(), "the history"))
