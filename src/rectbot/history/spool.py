"""What Alertmanager has told and nobody has recorded yet: a file of JSON lines, on disk before anybody is thanked."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rectbot.failover.events import iso

MOST_BYTES = 8 * 2**20


def acknowledgement(alert: dict[str, Any], at: int, by: str, why: str) -> dict[str, Any]:
    """For the spool: an operator has taken notice of this alert, which is as in Alertmanager's webhook."""
    return {"acknowledged": [{**alert, "status": "firing", "at": iso(at), "by": by, "why": why}]}


class SpoolFull(Exception):  # noqa: N818 (a state)
    """Nothing has been recorded for so long that no more is kept."""


class Spool:
    """Written by the hub, emptied by the recorder, at any moment and from any process."""

    def __init__(self, path: Path) -> None:
        self._path, self._taken = path, path.with_name(f"{path.name}.taken")

    def put(self, told: dict[str, Any]) -> None:
        """Raises OSError, or SpoolFull."""
        line = json.dumps(told, separators=(",", ":")).encode() + b"\n"
        with self._locked():
            if self.waiting() + len(line) > MOST_BYTES:
                raise SpoolFull
            handle = os.open(self._path, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(b"\n" + line)  # half a line of one that died is a line of its own
                file.flush()
                os.fsync(handle)

    def waiting(self) -> int:
        """Bytes."""
        return sum(path.stat().st_size for path in (self._path, self._taken) if path.exists())

    def since(self) -> float | None:
        """In Unix time, when that which waits was put here at the latest; None: nothing waits. Raises OSError."""
        for path in (self._taken, self._path):
            if path.exists():
                return path.stat().st_mtime
        return None

    @contextmanager
    def taken(self) -> Iterator[list[dict[str, Any]]]:
        """What waits. It is gone when the block ends well; else, or after a kill, it is taken again."""
        with self._locked():
            if self._path.exists() and not self._taken.exists():
                self._path.rename(self._taken)
        yield list(self._read()) if self._taken.exists() else []
        self._taken.unlink(missing_ok=True)

    def _read(self) -> Iterator[dict[str, Any]]:
        for line in self._taken.read_bytes().splitlines():
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict):
                yield found

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._path.with_name(f"{self._path.name}.lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)
