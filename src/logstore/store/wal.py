"""Looks for damage in SQLite's write-ahead log, which SQLite itself takes for the end of the log.

Format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log. Every frame carries the log's two salts, a checksum
and, if it ends a transaction, the size of the database. A commit is written last: frames without one behind them are a
transaction that was never answered, and their loss is no damage. Nor is that of the last transaction alone, as SQLite
writes a frame's header before its page: a process that is killed in between leaves a commit that is none.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

_HEADER, _FRAME = struct.Struct(">IIIIIIII"), struct.Struct(">IIIIII")
_GENERATIONS = 1 << 16  # the first salt counts up: a frame of an earlier use of the file has a slightly smaller one


class Frames(NamedTuple):
    """How many frames a log should yield: with its last transaction, and without."""

    committed: int = 0
    before_last: int = 0


def committed_frames(database: Path) -> tuple[Frames, str]:
    """What the log of a database that is not open should yield, and what is plainly damaged ("": nothing).

    Reads the frames' headers only; compare with what `PRAGMA wal_checkpoint` says that SQLite found.
    """
    path = database.with_name(database.name + "-wal")
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return Frames(), ""
            magic, _, page, _, salt, other, *sums = _HEADER.unpack(header)
            if magic not in (0x377F0682, 0x377F0683) or _checksum(header[:24], magic) != tuple(sums):
                return Frames(), "its header is damaged"
            frames, found = 0, Frames()
            while len(frame := file.read(_FRAME.size)) == _FRAME.size:
                _, size, first, second, _, _ = _FRAME.unpack(frame)
                frames += 1
                if (first, second) == (salt, other):
                    found = Frames(frames, found.committed) if size else found
                elif (salt - first) % (1 << 32) > _GENERATIONS:
                    return found, f"frame {frames} is damaged"
                file.seek(page, 1)
    except OSError:
        return Frames(), ""
    return found, ""


def _checksum(data: bytes, magic: int) -> tuple[int, int]:
    words = struct.unpack(f"{'>' if magic & 1 else '<'}{len(data) // 4}I", data)
    s0 = s1 = 0
    for index in range(0, len(words), 2):
        s0 = (s0 + words[index] + s1) & 0xFFFFFFFF
        s1 = (s1 + words[index + 1] + s0) & 0xFFFFFFFF
    return s0, s1
