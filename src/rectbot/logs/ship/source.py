"""An open file to read lines from: plain, or compressed by whoever rotated it."""

from __future__ import annotations

import bz2
import ctypes
import gzip
import hashlib
import lzma
import os
import stat
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

Unpacker = Callable[[BinaryIO], gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile]

_UNPACKERS: tuple[tuple[bytes, Unpacker], ...] = (
    (b"\x1f\x8b\x08", lambda file: gzip.GzipFile(fileobj=file)),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\x00", lzma.LZMAFile),
)
_CHUNK = 256 * 1024


class Numbers(NamedTuple):
    """What the file system calls a file.

    An inode is given to another file when its own is deleted, even at once, but that one is born later. `born` is in
    nanoseconds, and 0 where it is not known; so is `device`. A device may get another number when the host starts.
    """

    device: int
    inode: int
    born: int

    def may_be(self, other: Numbers) -> bool:
        """Whether both are of one file, as far as is known."""
        if self.born and other.born:
            return (self.inode, self.born) == (other.inode, other.born)
        return self.inode == other.inode and (self.device == other.device or not self.device or not other.device)


class Source:
    """A regular file. Its descriptor is kept, so that renaming, replacing or deleting the file takes nothing away."""

    packed = False

    def __init__(self, path: Path, file: int) -> None:
        self.path, self._file = path, file

    @property
    def status(self) -> os.stat_result:
        """What the file system knows of it."""
        return os.fstat(self._file)

    @property
    def place(self) -> Path:
        """Where the file is now, wherever it was moved to since it was opened."""
        try:
            return Path(f"/proc/self/fd/{self._file}").readlink()
        except OSError:
            return Path(os.path.realpath(self.path))

    @property
    def numbers(self) -> Numbers:
        """The file's own numbers."""
        status = self.status
        return Numbers(status.st_dev, status.st_ino, _born(self._file))

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes of the text at `offset`; fewer at its end."""
        return os.pread(self._file, size, offset)

    def digest(self, start: int, end: int) -> str:
        """The hash of the bytes between; of no known text if the file is shorter."""
        return digest(self.read(end - start, start))

    def text_from(self, offset: int) -> int | None:
        """Where the next byte that is not NUL stands; None if there is none. Holes are jumped over."""
        while chunk := self.read(_CHUNK, offset):
            if text := chunk.lstrip(b"\0"):
                return offset + len(chunk) - len(text)
            offset = self._after_hole(offset + len(chunk))
        return None

    def _after_hole(self, offset: int) -> int:
        try:
            return os.lseek(self._file, offset, os.SEEK_DATA)
        except OSError:  # a hole up to the end, or a file system without holes
            return offset

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)


class PackedSource(Source):
    """A compressed file, read as the text that it holds. Reading backwards begins at its start again."""

    packed = True

    def __init__(self, path: Path, file: int, unpack: Unpacker) -> None:
        super().__init__(path, file)
        self._raw = os.fdopen(os.dup(file), "rb")
        self._stream = unpack(self._raw)
        self._start, self._window = 0, b""  # what was read last: a line's beginning is read again with its end
        self._broken = False

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes of the text at `offset`; where the file is damaged it ends."""
        inside = self._start <= offset <= self._start + len(self._window)
        data = self._window[offset - self._start :][:size] if inside else b""
        if len(data) == size or self._broken:
            return data
        try:
            if not inside and self._stream.seek(offset) != offset:
                self._start, self._window = self._stream.tell(), b""
                return b""
            while len(data) < size and (more := self._stream.read1(size - len(data))):
                data += more
        except (EOFError, OSError, zlib.error, lzma.LZMAError):
            self._broken = True
        self._start, self._window = offset, data
        return data

    def _after_hole(self, offset: int) -> int:
        return offset

    def close(self) -> None:
        """Closes the file."""
        self._stream.close()
        self._raw.close()
        super().close()


def open_source(path: Path) -> Source | None:
    """Opens a file; None if it is not there. Raises OSError when it cannot be read or is none."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(0, "it is not a regular file")
        magic = os.pread(file, 8, 0)
    except OSError:
        os.close(file)
        raise
    for start, unpack in _UNPACKERS:
        if magic.startswith(start):
            return PackedSource(path, file, unpack)
    return Source(path, file)


def digest(data: bytes) -> str:
    """A hash by which bytes are recognized."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


_AT_EMPTY_PATH, _STATX_BTIME, _BORN_AT = 0x1000, 0x800, 0x50  # linux/stat.h; Python's own os.statx comes with 3.15


def _born(file: int) -> int:
    """When an open file was made: nanoseconds since 1970, 0 where that is not known."""
    answer = ctypes.create_string_buffer(256)
    statx = getattr(_libc(), "statx", None)
    if statx is None or statx(file, b"", _AT_EMPTY_PATH, _STATX_BTIME, answer) != 0:
        return 0
    (known,) = struct.unpack_from("=I", answer)
    seconds, nanoseconds = struct.unpack_from("=qI", answer, _BORN_AT)
    return max(0, int(seconds * 10**9 + nanoseconds)) if known & _STATX_BTIME else 0


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
