"""Telling the operator when pushes fail for a while.

OCI watches Xserver by its pushes; when OCI itself is away, only Xserver can tell. The count is kept in a file, since
with cron every push is a process of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from rectbot.alerts.text import plain
from rectbot.errors import RectbotError
from rectbot.push import keep

TELL_AFTER_FAILURES = 3


@dataclass
class _State:
    failures: int = 0
    since: float = 0.0
    told: bool = False


class Outage:
    """Counts the failures of a job's pushes in a row; where nobody can be told it does nothing."""

    def __init__(self, file: Path | None, tell: Callable[[str], bool]) -> None:
        """`file` keeps the count; `tell` says something to the operator, and whether that was taken."""
        self._file = file
        self._tell = tell

    def failed(self, error: RectbotError) -> None:
        """A push failed; the third in a row is told."""
        if self._file is None:
            return
        state = _load(self._file) or _State(since=time.time())
        state.failures += 1
        if state.failures >= TELL_AFTER_FAILURES and not state.told:
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(state.since))
            state.told = self._tell(
                f"{state.failures} pushes in a row have failed, since {since} UTC: {plain(str(error), 800)}"
            )
        keep.save(self._file, asdict(state))

    def over(self) -> None:
        """A push arrived; that is told if the failures were."""
        if self._file is None or (state := _load(self._file)) is None:
            return
        if not state.told or self._tell(f"pushes arrive again, after {state.failures} failures."):
            with suppress(OSError):
                self._file.unlink()


def _load(file: Path) -> _State | None:
    words = keep.load(file)
    with suppress(ValueError, TypeError, KeyError):
        failures, since = keep.number(words["failures"]), keep.number(words["since"])
        return _State(int(failures), min(since, time.time()), told=words["told"] is True)
    return None
