"""The recorded past, read for all who look: the history's database, and the store's own journal for what is newer.

A program of its own reads the database and ends, as the one that records does: it costs this process no memory, and
one that hangs holds nothing up. It is run again when the store tells of something that it has not found yet, ever less
often while it goes on not finding it.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import dataclass, field

from rectbot.console.alerts import Alert
from rectbot.console.happened import Happened, happened
from rectbot.console.live import Now
from rectbot.errors import RectbotError
from rectbot.failover.events import iso
from rectbot.history import places
from rectbot.history.known import Known, Recorded, known
from rectbot.history.spool import Spool, SpoolFull, acknowledgement
from rectbot.history.story import told
from rectbot.settings import Settings
from rectbot.threads import in_thread

log = logging.getLogger(__name__)
COMMAND = (sys.executable, "-m", "rectbot", "hub", "retell")
_MOST_SECONDS, _REST_SECONDS, _LONGEST_REST = 60.0, 30.0, 300.0
_ALERTS_SECONDS = 120.0  # of alerts no event of the store tells
_MOST_BYTES = 32 * 1024 * 1024
_MINUTE = 60.0


@dataclass(frozen=True)
class Read:
    """The database's answer, when it was asked for in Unix time, and whether alerts have waited for their record."""

    recorded: Recorded = field(default_factory=Recorded)
    at: float = 0.0
    waiting: bool = False


class Past:
    """One for the process; it is asked with each look."""

    def __init__(self, settings: Settings) -> None:
        self.enabled = settings.history_enabled
        self.trouble = ""  # why only the store's journal is known, or what was read before
        self.read: Read | None = None
        self._spool = Spool(places.alerts(settings))
        self._due, self._rest = 0.0, _REST_SECONDS
        self._seen: str | None = None  # the store's newest event when the database was read
        self._task: asyncio.Task[None] | None = None
        self._gone: int | None = None
        self._known: tuple[object, Known] | None = None
        self._happened: tuple[Known, Happened] | None = None

    def look(self, now: Now) -> Happened | None:
        """What happened, as far as it is known by now; None while nothing was read yet."""
        found = self.known(now)
        if found is None:
            return None
        if self._happened is None or self._happened[0] is not found:
            self._happened = (found, happened(found, round((now.read or now.time) * 1000)))
        return self._happened[1]

    def known(self, now: Now, *, alerts: bool = False) -> Known | None:
        """What is known by now; None while nothing was read yet. `alerts`: of them, too, not too long ago."""
        self._see_leader(now)
        if self.enabled and self._task is None and time.monotonic() >= self._due and self._wants(now, alerts=alerts):
            self._task = asyncio.create_task(self._ask(now))
        if now.read is None and self.read is None:
            return None
        newest = now.events[-1].id if now.events else ""
        key = (newest, self.read, self._gone, int(now.time / _MINUTE), now.snapshot is None)
        if self._known is None or self._known[0] != key:
            self._known = (key, self._put_together(now))
        return self._known[1]

    async def settled(self, patience: float) -> bool:
        """Waits for a reading that is under way; False when it still is."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=patience)
        return self._task is None

    @property
    def behind(self) -> bool:
        """Whether the recorder is known not to follow."""
        late = self._known is not None and self._known[1].late is not None
        return late or (self.read is not None and self.read.waiting)

    def _put_together(self, now: Now) -> Known:
        read = self.read or Read()
        moment = now.time if now.snapshot is not None else now.read
        return known(
            read.recorded,
            [told(event) for event in sorted(now.events, key=lambda event: event.time)],
            None if moment is None else round(moment * 1000),
            looked=round(read.at * 1000),
            gone=self._gone,
        )

    def _wants(self, now: Now, *, alerts: bool) -> bool:
        """Whether the database may hold what is not known here yet."""
        newest = now.events[-1].id if now.events else ""
        if self.read is None or self.trouble or newest != self._seen:
            return True
        missing = bool(now.events) and told(now.events[-1]) not in self.read.recorded.events
        return missing or (alerts and time.time() - self.read.at > _ALERTS_SECONDS)

    def _see_leader(self, now: Now) -> None:
        if now.snapshot is not None:
            led = now.snapshot.leader is not None
            self._gone = None if led else self._gone or round(now.time * 1000)

    async def _ask(self, now: Now) -> None:
        self._seen = now.events[-1].id if now.events else ""
        at = time.time()
        try:
            async with asyncio.timeout(_MOST_SECONDS):
                recorded = await _retold()
            again = self.read is not None and recorded == self.read.recorded
            self.read = Read(self.read.recorded if again and self.read else recorded, at, self._waits(at))
            self.trouble = ""
        except TimeoutError:
            again, self.trouble = True, f"the history was not read within {_MOST_SECONDS:.0f} s"
        except (RectbotError, OSError, ValueError, TypeError) as error:
            again, self.trouble = True, str(error)
        finally:
            self._task = None
        self._rest = min(2 * self._rest, _LONGEST_REST) if again else _REST_SECONDS
        self._due = time.monotonic() + self._rest

    def _waits(self, now: float) -> bool:
        try:
            since = self._spool.since()
        except OSError:
            return False
        return since is not None and now - since > _MINUTE

    async def acknowledge(self, alert: Alert, by: str, why: str) -> None:
        """Lets it be recorded that somebody has taken notice. It is no reason to fail if that cannot be."""
        if not self.enabled:
            return
        started = int(alert.since * 1000 + 0.0005)  # as the webhook's time is read: whole milliseconds
        notes = {"summary": alert.summary or alert.description}
        told = {"labels": dict(alert.labels), "startsAt": iso(started), "annotations": notes}
        notice = acknowledgement(told, round(time.time() * 1000), by, why)
        try:
            await in_thread(lambda: self._spool.put(notice))
        except (OSError, SpoolFull) as error:
            log.warning("who acknowledged %s cannot be recorded: %s", alert.name, error or "too much waits already")

    async def close(self) -> None:
        """Ends what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


async def _retold() -> Recorded:
    process = await asyncio.create_subprocess_exec(*COMMAND, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    try:
        out, error = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()  # else its pipes outlive the event loop, and say so with a traceback
    if process.returncode or len(out) > _MOST_BYTES:
        said = error.decode(errors="replace").strip().splitlines()
        raise RectbotError(said[-1].removeprefix("rectbot: ") if said else "the history cannot be read")
    return Recorded.of_json(out.decode())
