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
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from rectbot.errors import ConfigError

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
    """First in, first out; beyond `limit_bytes` the oldest batches are dropped, and their lines counted in `dropped`.

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
        self.dropped = 0
        if folder is not None:
            self._open(folder)
        self._numbers = count(self._batches[-1].number + 1 if self._batches else 1)

    def _open(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._batches.extend(sorted(_found(folder), key=lambda batch: batch.number))
        except BlockingIOError:
            self.close()
            raise ConfigError(
                f"{folder}: is the log spool of another process; give each process one of its own (LOKI_SPOOL)"
            ) from None
        except OSError as error:
            self.close()
            raise ConfigError(
                f"{folder}: cannot hold the log spool ({error.strerror}); name another folder in LOKI_SPOOL"
            ) from None
        with contextlib.suppress(OSError, ValueError):
            self.dropped = int((folder / "dropped").read_text())

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

    def add(self, body: bytes, lines: int) -> None:
        """Puts a batch at the end, and drops the oldest where there is no room."""
        batch = Batch(next(self._numbers), lines, len(body))
        if not self._write(batch, body):
            batch = Batch(batch.number, lines, len(body), body)
        with self._lock:
            self._batches.append(batch)
            self._make_room()

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
                self._count(batch.lines)
                excess -= batch.size

    def add_dropped(self, lines: int) -> None:
        """Counts lines that were lost before they got here."""
        with self._lock:
            self._count(lines)

    def _count(self, lines: int) -> None:
        self.dropped += lines
        if self._folder is not None:
            with contextlib.suppress(OSError):
                temporary = self._folder / "dropped.new"  # `rectbot push` may read it at any moment
                temporary.write_text(f"{self.dropped}\n")
                temporary.replace(self._folder / "dropped")

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
                self._count(batch.lines)

    def finish(self, batch: Batch, *, keep: bool) -> None:
        """The batch was sent, and is done with unless `keep`."""
        with self._lock:
            self._sending = None
            if not keep:
                self._remove(batch)

    def _remove(self, batch: Batch) -> None:
        with contextlib.suppress(ValueError):
            self._batches.remove(batch)
        if batch.body is None:
            with contextlib.suppress(OSError):
                self._path(batch).unlink()

    def _path(self, batch: Batch) -> Path:
        assert self._folder is not None
        return self._folder / batch.file_name

    def close(self) -> None:
        """Lets another process have the folder."""
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
