"""supervisord (supervisord.org), but one that outlives its disk: python -m rectbot.stack.supervisord -n -c FILE.

supervisord as it is ends for good when a log file cannot be written: its handler reports the error to where it
could not write either. Here lines that cannot be written (disk or inodes full, quota, mounted read-only, an I/O error)
are counted and left out, the file is opened again with the next line, and the log says afterwards how many there
were. And a program that cannot start is tried again within seconds for as long as it takes, where supervisord waits a
second longer each time.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from supervisor import loggers, process, supervisord
from supervisor.states import ProcessStates

LONGEST_BACKOFF_SECONDS = 5


class DurableFileHandler(loggers.RotatingFileHandler):  # type: ignore[misc] # supervisor has no types
    """Appends to a file and rotates it, whatever becomes of the disk."""

    def __init__(self, filename: str, mode: str = "ab", maxBytes: int = 0, backupCount: int = 0) -> None:  # noqa: N803
        loggers.Handler.__init__(self)
        self.baseFilename, self.mode = filename, mode
        self.maxBytes, self.backupCount = maxBytes, backupCount
        self.lost = 0
        self._try_to_open()

    def _try_to_open(self) -> bool:
        try:
            # Unbuffered: a buffer would hold what was not written, and fail again when it is closed.
            self.stream: Any = Path(self.baseFilename).open("ab", buffering=0)  # noqa: SIM115 (it stays open)
        except OSError:
            self.stream = None
        self.closed = self.stream is None
        return not self.closed

    def emit(self, record: Any) -> None:
        try:
            self._write(record)
        except (OSError, ValueError):  # ValueError: the file was closed meanwhile
            self.lost += 1
            self.close()

    def _write(self, record: Any) -> None:
        if self.closed and not self._try_to_open():
            self.lost += 1
            return
        if self.lost:
            _write_all(self.stream, f"... {self.lost} pieces of this log could not be written ...\n".encode())
            self.lost = 0
        raw = self.fmt == "%(message)s" and isinstance(record.msg, bytes)  # a program's output, as it is
        _write_all(self.stream, record.msg if raw else (self.fmt % record.asdict()).encode())
        self.doRollover()

    def doRollover(self) -> None:  # noqa: N802 (supervisor's)
        if self.maxBytes and os.fstat(self.stream.fileno()).st_size >= self.maxBytes:
            self.close()
            for number in range(self.backupCount - 1, 0, -1):
                self._move(f"{self.baseFilename}.{number}", f"{self.baseFilename}.{number + 1}")
            if self.backupCount:
                self._move(self.baseFilename, f"{self.baseFilename}.1")
            else:
                os.truncate(self.baseFilename, 0)
            self._try_to_open()

    @staticmethod
    def _move(old: str, new: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            Path(old).replace(new)

    def reopen(self) -> None:
        self.close()
        self._try_to_open()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            with contextlib.suppress(OSError):
                self.stream.close()

    def remove(self) -> None:
        self.close()
        with contextlib.suppress(OSError):
            Path(self.baseFilename).unlink()


def _write_all(stream: Any, data: bytes) -> None:
    """Raises OSError when the disk takes only a part."""
    while data:
        data = data[stream.write(data) :]


class PatientProcess(process.Subprocess):  # type: ignore[misc]
    """A program that is started again soon, however often that has failed."""

    def change_state(self, new_state: int, expected: bool = True) -> bool:
        self.delay: float
        changed: bool = super().change_state(new_state, expected)
        if new_state == ProcessStates.BACKOFF:
            self.delay = min(self.delay, time.time() + LONGEST_BACKOFF_SECONDS)
        return changed


def main() -> None:
    """Runs supervisord with these two, and deaf to what it would print about its own log."""
    loggers.FileHandler = loggers.RotatingFileHandler = DurableFileHandler
    loggers.Handler.handleError = lambda _: None  # of what goes to standard output
    process.Subprocess = PatientProcess
    supervisord.main()


if __name__ == "__main__":
    main()
