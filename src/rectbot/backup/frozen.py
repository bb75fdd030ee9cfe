"""A folder as it is at one moment, while a server writes into it.

SQLite's databases are copied by SQLite. All other servers of ours write a file once, append to it, or replace it as a
whole, so links hold it: what is deleted or replaced afterwards is still there, and of what grows the beginning is.
Where a file went away meanwhile, the folder is begun anew: nothing is left out of what belongs together.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from rectbot.errors import RectbotError

_TRIES = 10
_SQLITE = b"SQLite format 3\0"
_LEFT_OUT = ("lock", "queries.active", "-wal", "-shm", "-journal", ".tmp", ".tmp-for-creation", ".tmp-for-deletion")


def freeze(source: Path, target: Path, last: tuple[str, ...] = ()) -> None:
    """Makes `target` a copy of `source`, by links where that can be; the folders in `last` come after all others.

    Raises RectbotError, OSError.
    """
    for _ in range(_TRIES):
        try:
            _copy(source, target, last)
        except FileNotFoundError:
            shutil.rmtree(target, ignore_errors=True)
        else:
            return
    raise RectbotError(f"{source}: it changes faster than it can be read; try again, or stop the stack")


def _copy(source: Path, target: Path, last: tuple[str, ...]) -> None:
    target.mkdir(mode=0o700, parents=True)
    for path in sorted(source.iterdir(), key=lambda path: (path.name in last, path.name)):
        if path.name.endswith(_LEFT_OUT) or path.is_symlink():
            continue
        if path.is_dir():
            _copy(path, target / path.name, ())
        elif path.is_file():
            _hold(path, target / path.name)
    source.stat()  # one that was on its way out may have looked empty


def _hold(path: Path, target: Path) -> None:
    with path.open("rb") as file:
        is_database = file.read(len(_SQLITE)) == _SQLITE
    if is_database:
        _copy_database(path, target)
        return
    try:
        os.link(path, target)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without links
        shutil.copyfile(path, target)


def _copy_database(path: Path, target: Path) -> None:
    try:
        live = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
        with closing(live), closing(sqlite3.connect(target)) as copy:
            live.backup(copy)
    except sqlite3.Error as error:
        raise RectbotError(f"{path}: SQLite cannot copy it ({error})") from None
