"""Batches that wait to be delivered, on disk within a limit.

Each batch is a file that is ready to be sent; its name holds its number and how many lines it has. A file is written
beside and renamed, so that a killed process leaves whole batches only. It is not synced: a power cut may lose the last
seconds, as it does for every log file, and a disk is spared.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from rectbot.errors import ConfigError
from rectbot.logs.ship.ledger import Ledger

MEMORY_LIMIT_BYTES = 2 * 1024 * 1024
_NAME = re.compile(r"(\d{12})-(\d+)\.json\.gz")


@dataclass(frozen=True)
class Batch:
    """A waiting batch; `body` only where it could not be written to disk."""

    number: int
    lines: int
    size: int
    body: bytes | None = None

    @property
    def file_name(self) -> str:
        """Its file in the spool's folder."""
        return f"{self.number:012d}-{self.lines}.json.gz"


class Spool:
    """First in, first out; beyond `limit_bytes` the oldest batches are dropped, and their lines counted in `ledger`.

    The count goes on over restarts. Without a folder, or when the disk refuses, batches wait in memory (2 MiB).
    Safe for threads. Raises ConfigError when the folder is unusable, or used by another process.
    """

    def __init__(self, folder: Path | None, limit_bytes: int) -> None:
        self._folder = folder
        self._limit = limit_bytes if folder else min(limit_bytes, MEMORY_LIMIT_BYTES)
        self._lock = threading.Lock()
        self._batches: deque[Batch] = deque()
        self._sending: int | None = None
        self._lock_file: int | None = None
        self._closed = False
        if folder is not None:
            self._open(folder)
        self.ledger = Ledger(folder, self.waiting_lines)
        self._numbers = count(self._batches[-1].number + 1 if self._batches else 1)

    def _open(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._batches.extend(sorted(_found(folder), key=lambda batch: batch.number))
        except BlockingIOError:
            self._release()
            raise ConfigError(
                f"{folder}: is the log spool of another process; give each process one of its own (LOKI_SPOOL)"
            ) from None
        except OSError as error:
            self._release()
            raise ConfigError(
                f"{folder}: cannot hold the log spool ({error.strerror}); name another folder in LOKI_SPOOL"
            ) from None

    @property
    def durable(self) -> bool:
        """Whether what waits here outlives the process."""
        with self._lock:
            return self._folder is not None and not any(batch.body for batch in self._batches)

    @property
    def waiting(self) -> int:
        """How many batches wait. Takes no lock, so that whoever asks does not wait for the disk."""
        return len(self._batches)

    @property
    def waiting_lines(self) -> int:
        """How many lines wait."""
        with self._lock:
            return sum(batch.lines for batch in self._batches)

    def add(self, body: bytes, lines: int, added: Callable[[int], None] = lambda lines: None) -> None:
        """Puts a batch at the end, and drops the oldest where there is no room.

        `added` is called when the batch is in the spool, so that `close` knows what came too late.
        """
        batch = Batch(next(self._numbers), lines, len(body))
        written = self._write(batch, body)
        with self._lock:
            if self._closed:
                self._unlink(batch)
                return
            self._batches.append(batch if written else replace(batch, body=body))
            added(lines)
            self._make_room()
        self.ledger.save()

    def _write(self, batch: Batch, body: bytes) -> bool:
        if self._folder is None:
            return False
        temporary = self._folder / "new"
        try:
            temporary.write_bytes(body)
            temporary.chmod(0o600)
            temporary.replace(self._folder / batch.file_name)
        except OSError:  # a full disk: what can be sent is sent from memory
            return False
        return True

    def _make_room(self) -> None:
        self._drop(self._limit, list(self._batches))
        self._drop(MEMORY_LIMIT_BYTES, [batch for batch in self._batches if batch.body])

    def _drop(self, limit: int, batches: list[Batch]) -> None:
        """Drops the oldest of `batches`, but neither the newest nor the one on its way, until they fit."""
        excess = sum(batch.size for batch in batches) - limit
        for batch in batches[:-1]:
            if excess <= 0:
                return
            if batch.number != self._sending:
                self._remove(batch)
                self.ledger.drop(batch.lines)
                excess -= batch.size

    def oldest(self) -> tuple[Batch, bytes] | None:
        """The batch to send next. It is not dropped until `finish` is called for it."""
        while True:
            with self._lock:
                if not self._batches:
                    return None
                batch = self._batches[0]
                self._sending = batch.number
            if batch.body is not None:
                return batch, batch.body
            with contextlib.suppress(OSError):
                return batch, self._path(batch).read_bytes()
            with self._lock:  # somebody has removed the file
                self._remove(batch)
                self.ledger.drop(batch.lines)
            self.ledger.save()

    def finish(self, batch: Batch, *, keep: bool) -> bool:
        """The batch was sent, and is done with unless `keep`. Whether that counts: after `close` a batch on disk is
        the next process's, which sends it once more."""
        with self._lock:
            self._sending = None
            if self._closed and not self._kept_in_memory(batch):
                return False
            if keep and self._closed:
                self._remove(batch)
                self.ledger.drop(batch.lines)
            elif not keep:
                self._remove(batch)
        return True

    def _kept_in_memory(self, batch: Batch) -> bool:
        return any(each.number == batch.number and each.body is not None for each in self._batches)

    def _remove(self, batch: Batch) -> None:
        with contextlib.suppress(ValueError):
            self._batches.remove(batch)
        if batch.body is None:
            self._unlink(batch)

    def _unlink(self, batch: Batch) -> None:
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._path(batch).unlink()

    def _path(self, batch: Batch) -> Path:
        assert self._folder is not None
        return self._folder / batch.file_name

    def close(self, more: Callable[[], int] = lambda: 0) -> tuple[int, int]:
        """Lets another process have the folder. The number of lines that are lost, and of those on their way.

        Lost, and counted as dropped, is what could not be written to the disk, not even now, and `more`, which is asked
        when nothing is added any more. What is on its way and not on disk may arrive or not.
        """
        with self._lock:
            if self._closed:
                return 0, 0
            self._closed = True
            self._batches = deque(
                replace(batch, body=None) if batch.body and self._write(batch, batch.body) else batch
                for batch in self._batches
            )
            memory = [batch for batch in self._batches if batch.body is not None]
            lost = [batch for batch in memory if batch.number != self._sending]
            for batch in lost:
                self._remove(batch)
            lines = sum(batch.lines for batch in lost) + more()
            self.ledger.drop(lines)
            self.ledger.save()
            self._release()
            return lines, sum(batch.lines for batch in memory if batch not in lost)

    def _release(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None


def look(folder: Path) -> tuple[int, int]:
    """Of another process's spool: how many bytes wait in it, and how many lines it has dropped. Raises OSError."""
    waiting = sum(batch.size for batch in _found(folder))
    try:
        return waiting, int((folder / "dropped").read_text())
    except (FileNotFoundError, ValueError):
        return waiting, 0


def _found(folder: Path) -> list[Batch]:
    """What an earlier process left."""
    batches = []
    for path in folder.iterdir():
        if match := _NAME.fullmatch(path.name):
            with contextlib.suppress(FileNotFoundError):  # it was sent meanwhile
                batches.append(Batch(int(match[1]), int(match[2]), path.stat().st_size))
    return batches
