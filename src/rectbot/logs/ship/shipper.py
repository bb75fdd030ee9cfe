"""The two threads between a program that logs and Loki.

`put` appends to a short queue in memory and returns. The first thread makes batches of it, by size and time, and lays
them into the spool; the second sends the oldest batch of the spool until it is taken. So a server that hangs does not
keep lines from the disk, and a process that is killed leaves behind all but the last batch.

Batches are sent in order, since Loki refuses lines that are much older than the newest of their stream.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from rectbot.logs.client.push import Answer, Fate
from rectbot.logs.ship.backoff import Backoff
from rectbot.logs.ship.batch import Clock, Labels, Line, encode
from rectbot.logs.ship.ledger import Counts
from rectbot.logs.ship.spool import Spool

QUEUE_BYTES = 4 * 1024 * 1024
_DISK_SECONDS = 1.0  # for the last batch to get to the spool at exit
_log = logging.getLogger("rectbot.logs")


class Shipper:
    """Delivers lines in the background. `push` sends one batch, and is called from one thread only."""

    def __init__(
        self,
        push: Callable[[bytes], Answer],
        spool: Spool,
        *,
        batch_bytes: int,
        batch_seconds: float,
        queue_bytes: int = QUEUE_BYTES,
        dropped_notice: Callable[[int, int], tuple[Labels, str]] | None = None,
    ) -> None:
        self._push, self._spool = push, spool
        self._batch_bytes, self._batch_seconds, self._queue_bytes = batch_bytes, batch_seconds, queue_bytes
        self._dropped_notice = dropped_notice
        self._ledger = spool.ledger
        self._clock = Clock()
        self._changed = threading.Condition()  # guards all below
        self._queue: deque[Line] = deque()
        self._queued_bytes = 0
        self._due: float | None = None  # when the queue becomes a batch; None while it is empty
        self._spooling = 0  # lines that were taken from the queue, and are not in the spool yet
        self._sending = False
        self._closing = self._closed = False
        self._not_before = 0.0  # no push before; 0 while all is well
        self._threads = [
            threading.Thread(target=target, name=f"rectbot-logs-{target.__name__.strip('_')}", daemon=True)
            for target in (self._fill_spool, self._empty_spool)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def counts(self) -> Counts:
        """What became of the lines so far."""
        return self._ledger.counts

    def owns_thread(self, ident: int | None) -> bool:
        """Whether a thread is one of ours, whose own log lines would make further ones."""
        return any(thread.ident == ident for thread in self._threads)

    def put(self, labels: Labels, created: int, text: str) -> None:
        """Takes a line of the time `created` (nanoseconds). Never waits for disk or network."""
        with self._changed:
            self._ledger.logged(1)
            if self._closed:
                self._ledger.drop(1)
                return
            self._queue.append(Line(labels, self._clock.stamp(created), text))
            self._queued_bytes += len(text)
            while self._queued_bytes > self._queue_bytes:
                self._queued_bytes -= len(self._queue.popleft().text)
                self._ledger.drop(1)
            if self._due is None:
                self._due = time.monotonic() + self._batch_seconds
                self._changed.notify_all()
            elif self._queued_bytes >= self._batch_bytes and self._due:
                self._due = 0.0
                self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Sends what there is, for at most `seconds`; whether all was delivered."""
        deadline = time.monotonic() + seconds
        with self._changed:
            if self._queue:
                self._due = 0.0
                self._changed.notify_all()
            return self._wait(self._idle, deadline)

    def close(self, seconds: float) -> None:
        """Flushes for at most `seconds`, and ends. What is then left in a spool on disk is sent by the next process."""
        deadline = time.monotonic() + seconds
        with self._changed:
            if self._closed:
                return
            self._closing = True
            self._changed.notify_all()
            self._wait(lambda: self._idle() or self._safe_to_leave(), deadline)
            self._changed.wait_for(self._spooled, _DISK_SECONDS)
            queued = len(self._queue)
            self._queue.clear()
            self._closed = True
            self._changed.notify_all()
        lost, unanswered = self._spool.close(lambda: queued + self._spooling)
        if lost:
            _log.warning("%d log lines are lost: they could not be sent within %g s, nor kept", lost, seconds)
        if unanswered:
            _log.warning("%d log lines were on their way, and it is not known whether they arrived", unanswered)

    def _wait(self, condition: Callable[[], bool], deadline: float) -> bool:
        return self._changed.wait_for(condition, max(0.0, deadline - time.monotonic()))

    def _idle(self) -> bool:
        return self._spooled() and not self._sending and not self._spool.waiting

    def _spooled(self) -> bool:
        return not self._queue and not self._spooling

    def _safe_to_leave(self) -> bool:
        """All is on disk, and the last push failed: waiting brings nothing."""
        return self._spooled() and self._not_before > 0 and self._spool.durable

    def _fill_spool(self) -> None:
        while True:
            with self._changed:
                while not self._batch_is_due():
                    self._changed.wait(self._seconds_to_batch())
                if self._closed or (self._closing and not self._queue):
                    return
                lines, self._queue, self._queued_bytes, self._due = list(self._queue), deque(), 0, None
                self._spooling = len(lines)
            for batch in self._batches(lines):
                self._spool.add(encode(batch), len(batch), self._spooled_some)
            with self._changed:
                self._changed.notify_all()

    def _spooled_some(self, lines: int) -> None:
        self._spooling -= lines  # only the thread that fills the spool counts here

    def _batch_is_due(self) -> bool:
        return self._closing or (self._due is not None and time.monotonic() >= self._due)

    def _seconds_to_batch(self) -> float | None:
        return None if self._due is None else max(0.0, self._due - time.monotonic())

    def _batches(self, lines: list[Line]) -> list[list[Line]]:
        batches: list[list[Line]] = []
        room = 0
        for line in lines:
            if room < len(line.text):
                batches.append([])
                room = self._batch_bytes
            batches[-1].append(line)
            room -= len(line.text)
        return batches

    def _empty_spool(self) -> None:
        backoff = Backoff()
        while self._wait_for_work():
            found = self._spool.oldest()
            if found is not None:
                batch, body = found
                answer = self._try(body)
                if self._spool.finish(batch, keep=answer.fate is Fate.LATER):
                    self._take_note(answer, batch.lines, backoff)
            with self._changed:
                self._sending = False
                self._changed.notify_all()

    def _try(self, body: bytes) -> Answer:
        try:
            return self._push(body)
        except Exception as error:  # a thread that ends would be the end of all shipping
            return Answer(Fate.LATER, f"{type(error).__name__}: {error}")

    def _take_note(self, answer: Answer, lines: int, backoff: Backoff) -> None:
        with self._changed:
            was_failing = self._not_before > 0
            if answer.fate is Fate.LATER:
                self._not_before = time.monotonic() + backoff.failed(answer.retry_after)
            else:
                self._not_before = 0.0
                backoff.succeeded()
            if answer.fate is not Fate.LATER:
                self._ledger.settled(lines, taken=answer.fate is Fate.TAKEN)
        self._report(answer, lines, was_failing=was_failing)

    def _wait_for_work(self) -> bool:
        """Waits until a batch may be sent; False when there will be none."""
        with self._changed:
            while not self._closed:
                pause = self._not_before - time.monotonic()
                if self._spool.waiting and pause <= 0:
                    self._sending = True
                    return True
                if self._closing and self._idle():
                    return False
                self._changed.wait(pause if self._spool.waiting else None)
        return False

    def _report(self, answer: Answer, lines: int, *, was_failing: bool) -> None:
        """Says once when shipping begins to fail, and when it goes on; and what was lost, in the log and to Loki."""
        if answer.fate is Fate.NEVER:
            _log.warning("%d log lines were refused for good: %s", lines, answer.reason)
        elif answer.fate is Fate.LATER and not was_failing:
            _log.warning("logs cannot be shipped, and are kept: %s", answer.reason)
        elif answer.fate is Fate.TAKEN and was_failing:
            _log.info("logs are shipped again")
        if answer.fate is Fate.TAKEN:
            self._tell_dropped()

    def _tell_dropped(self) -> None:
        """Says how many lines were dropped, in a push of its own: the notice is nobody's line, and is not counted."""
        new, dropped = self._ledger.untold, self._ledger.dropped
        if not new:
            return
        if self._dropped_notice is not None:
            labels, text = self._dropped_notice(new, dropped)
            with self._changed:
                line = Line(labels, self._clock.stamp(time.time_ns()), text)
            if self._try(encode([line])).fate is Fate.LATER:
                return  # it is told with the next batch
        self._ledger.told(dropped)
        self._ledger.save()
        _log.warning("%d log lines were dropped: there was no room to keep them until Loki took them", new)
