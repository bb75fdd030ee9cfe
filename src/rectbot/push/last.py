"""What is remembered of the last push: the push proxy takes pushes and tells nothing."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from rectbot.settings import Settings


def mark(path: Path) -> None:
    """A push has just arrived; `path` is the job's `arrived_file`."""
    with suppress(OSError):  # a full disk is no failure of the push
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def seconds_ago(settings: Settings, job: str) -> float | None:
    """How long ago a push of this job last arrived from this checkout; None: never."""
    try:
        return max(0.0, time.time() - arrived_file(settings, job).stat().st_mtime)
    except OSError:
        return None


def counters_file(settings: Settings, job: str) -> Path:
    """Where the counters are that the last push of this job was measured with."""
    return arrived_file(settings, job).with_suffix(".counters.json")


def arrived_file(settings: Settings, job: str) -> Path:
    """Its time is when a push of this job last arrived."""
    return settings.rectbot_home / "var" / "push" / f"{quote(job, safe='')}.arrived"
