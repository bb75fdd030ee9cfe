"""What became of lines: each is sent, refused, dropped, or still waiting."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Counts:
    """Lines: taken by the server, refused by it for good, dropped, and waiting for one of these.

    At any moment their sum is what was logged since the start, and what waited in the spool and was dropped before.
    `sent` and `refused` are since the start, `dropped` since the spool was made.
    """

    sent: int
    refused: int
    dropped: int
    waiting: int


class Ledger:
    """Counts lines, safe for threads, and never waiting for a disk but in `save`.

    `folder`, if there is one, keeps how many were dropped, and of how many of these Loki was told.
    """

    def __init__(self, folder: Path | None, waiting: int) -> None:
        self._lock = threading.Lock()
        self._sent = self._refused = 0
        self._waiting = waiting
        self._dropped_file = _NumberFile(folder / "dropped") if folder else None
        self._dropped = self._dropped_file.value if self._dropped_file else 0
        self._told_file = _NumberFile(folder / "told", self._dropped) if folder else None
        self._told = min(self._told_file.value, self._dropped) if self._told_file else 0

    @property
    def counts(self) -> Counts:
        """All of one moment."""
        with self._lock:
            return Counts(self._sent, self._refused, self._dropped, self._waiting)

    @property
    def dropped(self) -> int:
        """How many were dropped since the spool was made."""
        return self._dropped

    @property
    def untold(self) -> int:
        """How many were dropped without a word in Loki."""
        return self._dropped - self._told

    def logged(self, lines: int) -> None:
        """Lines came."""
        with self._lock:
            self._waiting += lines

    def settled(self, lines: int, *, taken: bool) -> None:
        """Waiting lines were taken, or refused for good."""
        with self._lock:
            self._waiting -= lines
            self._sent += lines if taken else 0
            self._refused += 0 if taken else lines

    def drop(self, lines: int) -> None:
        """Waiting lines are lost."""
        with self._lock:
            self._waiting -= lines
            self._dropped += lines

    def told(self, dropped: int) -> None:
        """Loki knows of so many that were dropped."""
        self._told = dropped

    def save(self) -> None:
        """Writes to the disk what the next process must know."""
        for file, value in ((self._dropped_file, self._dropped), (self._told_file, self._told)):
            if file is not None:
                file.write(value)

    def close(self) -> None:
        """Closes the files."""
        for file in (self._dropped_file, self._told_file):
            if file is not None:
                file.close()


class _NumberFile:
    """A number in a file that is written in place: a full disk takes that, and `rectbot push` may read it then."""

    def __init__(self, path: Path, value: int = 0) -> None:
        self.value = value
        self._file: int | None = None
        with contextlib.suppress(OSError, ValueError):
            self.value = max(0, int(path.read_text()))
        with contextlib.suppress(OSError):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._put(self.value)
            os.ftruncate(self._file, len(_text(0)))

    def write(self, value: int) -> None:
        if value != self.value:
            self.value = value
            with contextlib.suppress(OSError):
                self._put(value)

    def _put(self, value: int) -> None:
        if self._file is not None:
            os.pwrite(self._file, _text(value), 0)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _text(value: int) -> bytes:
    return b"%20d\n" % value
