"""The server's side of its worker: starts it, hands it jobs, and kills it when it does not keep its time."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from logstore.logql.errors import QueryError, QueryTimeoutError
from logstore.server import frames
from logstore.store.index import Change
from logstore.store.store import Store

log = logging.getLogger(__name__)
_GRACE = 3.0  # seconds after a job's deadline, in which it may end by itself
_DEAF = 8.0  # seconds without a sign of life, while something runs: one call holds the worker's lock
_STARTS = 30.0  # seconds until the first sign of life
_MANY = 500  # changes that wait for a query, before they are sent without one


class WorkerGoneError(QueryError):
    """The worker ended while it had this job."""

    status = 503


@dataclass
class _Pending:
    """A job that the worker has."""

    seconds: float
    future: asyncio.Future[tuple[frames.Done, bytes]]
    slot: asyncio.Semaphore  # given back when the worker is done with it, even if nobody waits any more
    since: float = field(default_factory=time.monotonic)


class Workers:
    """One worker at a time; a new one when it ends."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._numbers = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._changes: list[Change] = []
        self._writer: asyncio.StreamWriter | None = None
        self._up = asyncio.Event()
        self._slots = asyncio.Semaphore(store.limits.queries)
        self._tail_slots = asyncio.Semaphore(1)
        self._heard = 0.0
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.killed = 0
        self.followers: list[Callable[[Change], None]] = []  # told of each commit, in the loop

    async def start(self) -> None:
        """Starts the worker; it need not be up when this returns."""
        self._store.listeners.append(self._committed)
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Ends it; whoever waits is told."""
        with contextlib.suppress(ValueError):
            self._store.listeners.remove(self._committed)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @property
    def pid(self) -> int | None:
        """The process that works now."""
        return self._process.pid if self._process is not None else None

    # The process

    async def _keep(self) -> None:
        while True:
            begun = time.monotonic()
            try:
                await self._run()
            except OSError as error:
                log.error("the worker for queries cannot be started: %s", error)  # noqa: TRY400 - the line says it all
            await asyncio.sleep(max(0.0, 0.2 - (time.monotonic() - begun)))

    async def _run(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = (sys.executable, "-m", "logstore.server.worker", str(theirs.fileno()))
            process = await asyncio.create_subprocess_exec(*command, pass_fds=[theirs.fileno()])
        self._process, self._heard = process, time.monotonic()
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=1 << 20)
        watch = asyncio.create_task(self._watch(process))
        try:
            limits = asdict(self._store.limits)
            self._send(frames.Start(str(self._store.database.path.parent), limits))
            self._changes = self._store.index.snapshot()
            self._flush()
            await self._listen(reader)
        finally:
            self._up.clear()
            watch.cancel()
            self._writer.close()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            for number in list(self._pending):
                pending = self._taken(number)
                if pending is not None and not pending.future.done():
                    pending.future.set_exception(_gone(pending))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head, body = frames.LENGTHS.unpack(await reader.readexactly(frames.LENGTHS.size))
                header = frames.from_worker(await reader.readexactly(head))
                content = await reader.readexactly(body) if body else b""
                self._heard = max(self._heard, time.monotonic())
                match header:
                    case frames.Done(number):
                        if (pending := self._taken(number)) is not None and not pending.future.done():
                            pending.future.set_result((header, content))
                    case frames.Lost(key, ref, error):
                        self._store.lost(key, ref, error)
                    case frames.Pong():
                        self._heard = time.monotonic()
                        self._up.set()  # not before: the time of a job does not begin while the worker starts

    def _taken(self, number: int) -> _Pending | None:
        pending = self._pending.pop(number, None)
        if pending is not None:
            pending.slot.release()
        return pending

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Kills it when a job is over its time, or when nothing is heard of it."""
        begun = time.monotonic()
        while True:
            await asyncio.sleep(0.5)
            now = time.monotonic()
            late = any(now - pending.since > pending.seconds + _GRACE for pending in self._pending.values())
            deaf = bool(self._pending) and now - self._heard > _DEAF
            starting = not self._up.is_set() and now - begun > _STARTS
            if late or deaf or starting:
                self.killed += 1
                log.warning("the worker is killed: %s", "a query is over its time" if late else "it does not answer")
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                return
            if self._pending:
                self._send(frames.Ping())
            else:
                self._heard = max(self._heard, now)

    def _send(self, header: frames.ToWorker, body: bytes = b"") -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(frames.frame(header, len(body)) + body)

    # What it must know

    def _committed(self, change: Change) -> None:
        """Called by the writing thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._changed, change)

    def _changed(self, change: Change) -> None:
        self._changes.append(change)
        for follower in self.followers:
            follower(change)
        if change[1] or len(self._changes) >= _MANY:  # a query may be looking for a chunk that has gone
            self._flush()

    def _flush(self) -> None:
        changes, self._changes = self._changes, []
        for start in range(0, len(changes), _MANY):
            self._send(frames.Changes(changes[start : start + _MANY]))

    # Jobs

    async def ask(self, job: frames.Job, form: bytes = b"") -> tuple[frames.Done, bytes]:
        """The answer to a job, with status 200; its number is set here. Raises QueryError."""
        slot = self._tail_slots if job.kind.startswith("tail/") else self._slots
        await slot.acquire()
        try:
            async with asyncio.timeout(2 * _STARTS):
                await self._up.wait()
        except TimeoutError:
            slot.release()
            raise WorkerGoneError("the process that answers queries does not start") from None
        except asyncio.CancelledError:
            slot.release()
            raise
        job.number = next(self._numbers)
        pending = self._pending[job.number] = _Pending(job.seconds, self._loop.create_future(), slot)
        if len(self._pending) == 1:
            self._heard = max(self._heard, time.monotonic())
        self._flush()
        self._send(job, form)
        try:
            done, body = await pending.future
        except asyncio.CancelledError:
            self._send(frames.Cancel(job.number))
            raise
        if done.status != 200:
            error = QueryError(body.decode(errors="replace"))
            error.status = done.status
            raise error
        return done, body


def _gone(pending: _Pending) -> QueryError:
    if time.monotonic() - pending.since > pending.seconds:
        return QueryTimeoutError(
            "request timed out, decrease the duration of the request or add more label matchers: "
            f"it took longer than {pending.seconds:g} s"
        )
    return WorkerGoneError("the process that answers queries was ended, by a query that took too much; try again")
