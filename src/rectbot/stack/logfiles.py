"""`rectbot logs NAME`: the output that a component's supervisor keeps."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from pathlib import Path
from typing import TextIO

from foundation.terminal import uncoloured
from rectbot.errors import ConfigError
from rectbot.settings import Settings
from rectbot.stack.layout import Layout

_POLL_SECONDS = 0.2


def show(settings: Settings, name: str, *, lines: int, follow: bool) -> None:
    """Prints the last lines of a component's log, and with `follow` what comes after, until Ctrl-C.

    Raises ConfigError when there is no such log, with the names that there are.
    """
    layout = Layout.of(settings)
    path = layout.folder("log") / f"{name}.log"
    if "/" in name or not path.is_file():
        known = sorted(entry.stem for entry in layout.folder("log").glob("*.log"))
        raise ConfigError(f"no log of {name!r}; there is {', '.join(known) or 'none yet: run rectbot up'}")
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            sys.stdout.writelines(map(uncoloured, deque(file, maxlen=lines)))
            sys.stdout.flush()
            if follow:
                _follow(path, file)
    except KeyboardInterrupt:
        pass


def _follow(path: Path, file: TextIO) -> None:
    while True:
        if text := file.read():
            sys.stdout.write(uncoloured(text))
            sys.stdout.flush()
            continue
        if _rotated(path, file):
            with path.open(encoding="utf-8", errors="replace") as fresh:
                return _follow(path, fresh)
        time.sleep(_POLL_SECONDS)


def _rotated(path: Path, file: TextIO) -> bool:
    try:
        now, ours = path.stat(), os.fstat(file.fileno())
    except FileNotFoundError:
        return False
    return now.st_ino != ours.st_ino or now.st_size < file.tell()
