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

from logstore.store.chunk import Encoded
from logstore.store.database import Database
from logstore.store.index import Change
from logstore.store.limits import Limits
from logstore.store.reader import Reader

log = logging.getLogger(__name__)
Work = Callable[[Database], list[Change]]
"""Runs inside a transaction; returns, by stream, which chunks were removed and which were added."""


class FullError(Exception):
    """The disk refused a write."""


class Store(Reader):
    """Opens the folder's store. Raises StoreError when that is impossible; damage is logged and lived with."""

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        self.database: Database = Database(folder)
        super().__init__(self.database, limits or Limits())
        for key, ref in self.database.found:
            self.index.add(key, ref)
        self.database.found = []
        self.listeners: list[Callable[[Change], None]] = []  # told of all that is committed, in order
        self.last_push = 0.0
        self._queue: queue.SimpleQueue[tuple[Work, Future[None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="log-writer", daemon=True)
        self._thread.start()

    # Writing

    def append(self, rows: list[tuple[str, Encoded]]) -> Future[None]:
        """Adds chunks, each to the stream of its key. On the disk when the future is done."""
        self.last_push = time.monotonic()

        def work(database: Database) -> list[Change]:
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
        for change in changes:
            self.index.apply(change)
            for listener in list(self.listeners):
                listener(change)
        for _, future in jobs:
            future.set_result(None)

    def close(self) -> None:
        """Finishes what was begun."""
        self._queue.put(None)
        self._thread.join()
        self.database.close()
