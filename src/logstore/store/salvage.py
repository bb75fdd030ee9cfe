"""Getting chunks out of a damaged SQLite file: row by row, stepping over the pages that cannot be read."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

_COLUMNS = "id, labels, first, last, lines, size, stored, index_, text"
_COPY = f"INSERT OR REPLACE INTO chunk ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608


def salvage(damaged: Path, target: sqlite3.Connection) -> tuple[int, int]:
    """Copies what can be read; returns how many chunks were saved, and how many are known to be lost."""
    source = sqlite3.connect(damaged, isolation_level=None)
    source.execute("PRAGMA writable_schema = ON")  # opens a file that is shorter than it says
    source.execute("PRAGMA query_only = ON")
    try:
        saved = lost = 0
        target.execute("BEGIN IMMEDIATE")
        stack = [(1, _highest(source, damaged))]
        while stack:
            low, high = stack.pop()
            copied = _copy(source, target, low, high)
            if copied is not None:
                saved += copied
            elif low == high:
                lost += 1
            else:
                middle = (low + high) // 2
                stack += [(middle + 1, high), (low, middle)]
        target.execute("COMMIT")
    finally:
        source.close()
    return saved, lost


def _highest(source: sqlite3.Connection, path: Path) -> int:
    """A bound for the rows' numbers."""
    with contextlib.suppress(sqlite3.DatabaseError):
        found = source.execute("SELECT seq FROM sqlite_sequence WHERE name = 'chunk'").fetchone()
        if found:
            return max(1, int(found[0]))
    return max(1, path.stat().st_size // 128)


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, low: int, high: int) -> int | None:
    """Copies the rows of a range; None if some page of it cannot be read."""
    target.execute("SAVEPOINT part")
    count = 0
    try:
        query = f"SELECT {_COLUMNS} FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id"  # noqa: S608
        for row in source.execute(query, (low, high)):
            target.execute(_COPY, row)
            count += 1
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        target.execute("ROLLBACK TO part")
        count = -1
    target.execute("RELEASE part")
    return count if count >= 0 else None
