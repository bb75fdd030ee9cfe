"""Names a process to the push agent while it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rectbot.errors import ConfigError


@contextmanager
def pid_file(path: Path | str | None) -> Iterator[None]:
    """Holds this process's id while the context lasts. Raises ConfigError when it cannot be written."""
    if path is None:
        yield
        return
    path, own = Path(path), f"{os.getpid()}\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(own)
    except OSError as error:
        raise ConfigError(
            f"BOT_PID_FILE={path}: cannot be written ({error.strerror}); name a file you may write"
        ) from None
    try:
        yield
    finally:
        if path.exists() and path.read_text() == own:  # a bot that was started over us has put its own there
            path.unlink()
