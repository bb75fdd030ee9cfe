"""The store: pushes in, chunks out. One thread writes, grouping what waits into one commit; many may read."""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from rectbot.logs.store import chunk as chunks
from rectbot.logs.store.chunk import Block, DamagedError, Encoded
from rectbot.logs.store.database import Database
from rectbot.logs.store.index import ChunkRef, Index, Stream
from rectbot.logs.store.limits import Limits

log = logging.getLogger(__name__)
Work = Callable[[Database], list[tuple[str, list[ChunkRef], list[ChunkRef]]]]
"""Runs inside a transaction; returns, by stream, which chunks were removed and which were added."""


class MovedError(Exception):
    """A chunk was compacted or deleted while a query ran: the query must look again."""


class FullError(Exception):
    """The disk refused a write."""


class Store:
    """Opens the folder's store. Raises RectbotError when that is impossible; damage is logged and lived with."""

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.database = Database(folder)
        self.index = Index()
        for key, ref in self.database.found:
            self.index.add(key, ref)
        self.database.found = []
        self.listeners: list[Callable[[str, ChunkRef], None]] = []  # told of every chunk that a push added
        self.damaged_chunks = 0
        self.last_push = 0.0
        self._queue: queue.SimpleQueue[tuple[Work, Future[None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="log-writer", daemon=True)
        self._thread.start()

    # Writing

    def append(self, rows: list[tuple[str, Encoded]]) -> Future[None]:
        """Adds chunks, each to the stream of its key. On the disk when the future is done."""
        self.last_push = time.monotonic()

        def work(database: Database) -> list[tuple[str, list[ChunkRef], list[ChunkRef]]]:
            return [(key, [], [ref]) for key, ref in database.insert(rows)]

        return self.submit(work)

    def submit(self, work: Work) -> Future[None]:
        """Has the writing thread do this work and commit it."""
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()  # who waits may go away; that must not reach the writing thread
        self._queue.put((work, future))
        return future

    def _write(self) -> None:
        while (job := self._queue.get()) is not None:
            jobs = [job]
            while not self._queue.empty() and len(jobs) < 64:
                following = self._queue.get()
                if following is None:
                    self._queue.put(None)
                    break
                jobs.append(following)
            self._commit(jobs)

    def _commit(self, jobs: list[tuple[Work, Future[None]]]) -> None:
        """One transaction for all; if it fails, one for each, so that nobody fails for another's sake."""
        writer = self.database.writer
        try:
            writer.execute("BEGIN IMMEDIATE")
            changes = [change for work, _ in jobs for change in work(self.database)]
            writer.execute("COMMIT")
        except Exception as error:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
            if len(jobs) > 1:
                for job in jobs:
                    self._commit([job])
                return
            failure = FullError(str(error)) if isinstance(error, sqlite3.Error) else error
            log.error("a write failed: %s", error)  # noqa: TRY400
            jobs[0][1].set_exception(failure)
            return
        for key, old, new in changes:
            if old:
                self.index.replace(key, old, new)
            else:
                for ref in new:
                    self.index.add(key, ref)
                    for listener in list(self.listeners):
                        listener(key, ref)
        for _, future in jobs:
            future.set_result(None)

    # Reading

    def text(self, stream: Stream, ref: ChunkRef) -> tuple[bytes, bytes] | None:
        """A chunk's packed index and its text; None if it is damaged. Raises MovedError."""
        try:
            found = self.database.read(ref.row)
            if found is None:
                raise MovedError
            return found[0], chunks.decode_text(found[1])
        except (sqlite3.DatabaseError, DamagedError) as error:
            self._lost(stream, ref, error)
            return None

    def block(self, stream: Stream, ref: ChunkRef, index: bytes, text: bytes) -> Block | None:
        """The block of what `text` gave; None if it is damaged."""
        try:
            block = chunks.decode(index, text)
            if (block.count, len(text)) != (ref.lines, ref.size):
                raise DamagedError("its head and its text do not belong together")
        except (DamagedError, ValueError) as error:
            self._lost(stream, ref, error)
            return None
        return block

    def read(self, stream: Stream, ref: ChunkRef) -> Block | None:
        """A chunk; None if it is damaged. Raises MovedError."""
        found = self.text(stream, ref)
        return None if found is None else self.block(stream, ref, *found)

    def _lost(self, stream: Stream, ref: ChunkRef, error: Exception) -> None:
        self.damaged_chunks += 1
        log.error(
            "damaged: %s: chunk %d of %s, %d lines from %d to %d, cannot be read (%s); it is left out from now on",
            *(self.database.path, ref.row, stream.key, ref.lines, ref.first, ref.last, error),
        )
        self.index.replace(stream.key, [ref], [])

    def oldest(self) -> int:
        """Nanoseconds since 1970 before which nothing is shown."""
        seconds = self.limits.retention_seconds
        return time.time_ns() - int(seconds * 1e9) if seconds else -(1 << 62)

    def close(self) -> None:
        """Finishes what was begun."""
        self._queue.put(None)
        self._thread.join()
        self.database.close()
