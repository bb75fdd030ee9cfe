"""Reads a file's lines as they come, through rotation and truncation, from where an earlier process stopped.

A file is known by its inode and by its first bytes: an inode alone may be given to the next file at once, and first
bytes are what a copy has in common with its original. So both ways of logrotate are followed: renaming, where the rest
is in the renamed file, and `copytruncate`, where it is in the copy.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MAX_LINE_BYTES = 60_000
_HEAD_BYTES = 512


@dataclass(frozen=True)
class Position:
    """How far a file was read: `offset` in bytes; `head` is the hash of its first `head_size` bytes."""

    inode: int = 0
    offset: int = 0
    head: str = ""
    head_size: int = 0

    @classmethod
    def load(cls, saved: Any) -> Position:
        """What `save` gave. Raises TypeError or ValueError for anything else."""
        position = cls(**saved)
        if not isinstance(position.head, str) or min(position.inode, position.offset, position.head_size) < 0:
            raise ValueError("not a position")
        return position

    def save(self) -> dict[str, Any]:
        """For a JSON file."""
        return asdict(self)


class Follower:
    """Follows the file at `path`, which may come, go, be rotated or be truncated at any time."""

    def __init__(self, path: Path, position: Position | None = None) -> None:
        self.path = path
        self.position = position or Position()
        self.lost = False  # the rest of a rotated file was not found
        self._file: int | None = None

    def skip(self) -> None:
        """Leaves out what is in the file now, but for a line that is being written."""
        if self._open(self.path):
            assert self._file is not None
            end = os.fstat(self._file).st_size
            begun = os.pread(self._file, MAX_LINE_BYTES, max(0, end - MAX_LINE_BYTES)).rpartition(b"\n")[2]
            self._move(end - len(begun))

    def read(self, limit: int) -> list[bytes]:
        """The next whole lines, about `limit` bytes of them, without their line ends; none when there is nothing new.

        Raises OSError when the file is there but cannot be read.
        """
        if self._file is None and not self._resume():
            return []
        if self._was_truncated():
            self._go_to_copy()
        lines = self._lines(limit, last=False)
        return lines or self._turn_over(limit)

    def close(self) -> None:
        """Closes the file; `position` stays."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _lines(self, limit: int, *, last: bool) -> list[bytes]:
        """Lines from the open file; with `last` also one without an end, for it will get none."""
        assert self._file is not None
        data = os.pread(self._file, limit, self.position.offset)
        if len(data) == limit < MAX_LINE_BYTES and b"\n" not in data:
            data = os.pread(self._file, MAX_LINE_BYTES, self.position.offset)
        end = data.rfind(b"\n") + 1
        if not end and (last or len(data) >= MAX_LINE_BYTES):
            end = min(len(data), MAX_LINE_BYTES)
        if not end:
            return []
        self._move(self.position.offset + end)
        lines = [line.removesuffix(b"\r") for line in data[:end].removesuffix(b"\n").split(b"\n")]
        return [part for line in lines for part in _parts(line)]

    def _turn_over(self, limit: int) -> list[bytes]:
        """The open file has nothing new: when it was rotated, ends it and begins the next one."""
        assert self._file is not None
        ours = os.fstat(self._file)
        with contextlib.suppress(FileNotFoundError):
            live = self.path.stat()
            if live.st_ino == ours.st_ino:
                return []
            for path in [*(p for p in _rotated(self.path) if _written(p) > ours.st_mtime_ns), self.path]:
                # While the next file is empty, its writer may still have the old one open.
                if _size(path) and _inode(path) != ours.st_ino:
                    # The old one may have been written to after we looked, and before it was rotated.
                    return self._lines(limit, last=True) or (self.read(limit) if self._open(path) else [])
        return []

    def _was_truncated(self) -> bool:
        assert self._file is not None
        size = os.fstat(self._file).st_size
        return size < self.position.offset or not self._same_head(self._file)

    def _go_to_copy(self) -> None:
        """The file began anew: what was not read of it yet is in a copy, if there is one."""
        at = self.position
        for path in reversed(_rotated(self.path)):
            if self._open(path, at):
                return
        self.lost = True
        assert self._file is not None
        self.position = Position(os.fstat(self._file).st_ino)

    def _resume(self) -> bool:
        """Opens the file in which the position is, under whatever name it has now; else the live one from its start."""
        at = self.position
        if not at.inode:
            return self._open(self.path)
        candidates = [self.path, *reversed(_rotated(self.path))]
        for same_inode in (True, False):
            for path in candidates:
                if (_inode(path) == at.inode) is same_inode and self._open(path, at):
                    return True
        opened = self._open(self.path)
        self.lost = opened and at.offset > 0
        return opened

    def _open(self, path: Path, at: Position | None = None) -> bool:
        """Opens a file at its start, or at a position if that can be in it."""
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        status = os.fstat(file)
        if at is not None and (status.st_size < at.offset or not self._same_head(file)):
            os.close(file)
            return False
        self.close()
        self._file = file
        self.position = Position(status.st_ino)
        if at is not None:
            self._move(at.offset)
        return True

    def _same_head(self, file: int) -> bool:
        return _hash(os.pread(file, self.position.head_size, 0)) == self.position.head or not self.position.head_size

    def _move(self, offset: int) -> None:
        assert self._file is not None
        head, size = self.position.head, self.position.head_size
        if size < min(offset, _HEAD_BYTES):
            size = min(offset, _HEAD_BYTES)
            head = _hash(os.pread(self._file, size, 0))
        self.position = Position(self.position.inode, offset, head, size)


def _rotated(path: Path) -> list[Path]:
    """Rotated files beside `path`, as logrotate names them (bot.log.1, bot.log-20261123), oldest first."""
    pattern = re.compile(re.escape(path.name) + r"[.-]\d[\d.-]*")
    with contextlib.suppress(OSError):
        return sorted((each for each in path.parent.iterdir() if pattern.fullmatch(each.name)), key=_written)
    return []


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _parts(line: bytes) -> list[bytes]:
    """A line, in pieces when it is too long for Loki."""
    return [line[at : at + MAX_LINE_BYTES] for at in range(0, len(line), MAX_LINE_BYTES)] or [line]


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
