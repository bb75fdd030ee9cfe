"""Standard error for a process that must not wait for whoever reads it.

A pipe whose reader has fallen asleep fills up, and then the next line blocks its writer: a site that waited so would
neither renew its lease nor hear SIGTERM.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import threading
import time

from foundation.logline import Line

_WAITING = 1_000  # lines
TIMES = "%Y-%m-%dT%H:%M:%S%z"


class StderrHandler(logging.Handler):
    """Hands lines to a thread that writes them. When too many wait, new ones are dropped, and counted in the log."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(Line("%(asctime)s %(levelname)s %(message)s", TIMES))
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._dropped = 0
        self._unwritten = 0
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.say(self.format(record))
        except Exception:
            self.handleError(record)

    def say(self, line: str) -> None:
        """Writes a line as it is."""
        if self._unwritten >= _WAITING:
            self._dropped += 1
            return
        with contextlib.suppress(RuntimeError):  # no room for a thread now: the line waits for the next one
            self._begin()
        self._unwritten += 1
        self._lines.put(line)

    def flush(self, seconds: float = 0.5) -> None:
        """Waits until all is written, but not for long."""
        over = time.monotonic() + seconds
        while self._unwritten > 0 and self._thread is not None and time.monotonic() < over:
            time.sleep(0.002)

    def _begin(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._write, name="log", daemon=True)
            thread.start()
            self._thread = thread

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            if dropped := self._dropped:
                self._dropped -= dropped
                line = f"({dropped} lines were dropped: nobody read standard error)\n{line}"
            self._write_all(f"{line}\n".encode(errors="replace"))
            self._unwritten -= 1

    @staticmethod
    def _write_all(data: bytes) -> None:
        with contextlib.suppress(OSError):  # nobody will read it
            while data:
                data = data[os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, data) :]


def log_to_stderr(formatter: logging.Formatter | None = None) -> StderrHandler:
    """Sets up the root logger."""
    handler = StderrHandler()
    if formatter is not None:
        handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    return handler
