"""Small files under var/push/ that one push leaves for the next, since with cron each is a process of its own.

They are nobody's data: one that is damaged counts as absent, and a disk that takes none is no failure of a push.
"""

from __future__ import annotations

import json
import math
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

_MOST_BYTES = 256 * 1024


def load(file: Path) -> Any:
    """The JSON in the file; None where there is none."""
    with suppress(OSError, ValueError, RecursionError):
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:  # not fdopen(), which leaves a folder open
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return json.loads(os.read(descriptor, _MOST_BYTES))
        finally:
            os.close(descriptor)
    return None


def save(file: Path, value: Any) -> None:
    """Replaces the file as a whole, readable by this user only; two who do so at once leave one of both."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                os.fchmod(descriptor, 0o600)
                json.dump(value, stream)
            temporary.replace(file)
        except OSError:
            temporary.unlink()


def text(value: Any) -> str:
    """The value, if it is text. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(value)  # noqa: TRY004 (one error for all that a file may hold)
    return value


def number(value: Any) -> float:
    """The value, if it is a number that a measurement can have. Raises ValueError."""
    with suppress(OverflowError):
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
            return float(value)
    raise ValueError(value)
