"""The SQLite file: one table, whose rows stand for themselves, so that whatever can be read is worth reading.

Durability: WAL mode with synchronous=FULL. A commit that returned is on the disk; kill -9 and power cuts lose nothing.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from logstore.errors import StoreError
from logstore.store.chunk import Encoded
from logstore.store.index import ChunkRef
from logstore.store.wal import committed_frames

log = logging.getLogger(__name__)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS chunk (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    labels TEXT NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, lines INTEGER NOT NULL, size INTEGER NOT NULL,
    stored INTEGER NOT NULL,
    index_ BLOB NOT NULL, text BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS deletion (
    id INTEGER PRIMARY KEY AUTOINCREMENT, query TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    created INTEGER NOT NULL, status TEXT NOT NULL
);
"""
_COLUMNS = "id, labels, first, last, lines, size, stored"
_INSERT = "INSERT INTO chunk (labels, first, last, lines, size, stored, index_, text) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


def connect(path: Path, *, write: bool = False) -> sqlite3.Connection:
    """A connection with little memory of its own. Raises sqlite3.Error."""
    connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False, cached_statements=32)
    connection.execute("PRAGMA cache_size = -1024")
    if write:
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 8192")  # 64 MB, should the checkpoints in the background lag
        connection.executescript(_SCHEMA)
    else:
        connection.execute("PRAGMA query_only = ON")
    return connection


class ClosedError(Exception):
    """The store was closed while somebody still wanted to read."""


class _Reader:
    """A thread's connection, and who uses it: SQLite must not lose a connection in the middle of a query."""

    def __init__(self, path: Path) -> None:
        self.connection = connect(path)
        self.busy = threading.Lock()


def _hold(folder: Path) -> int:
    """Keeps other writers out while the descriptor is open. Two would take each other's frames for damage.

    Raises StoreError when another process has the folder.
    """
    path = folder / "lock"
    held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(held, 20).decode(errors="replace").strip() or "unknown"
        os.close(held)
        raise StoreError(
            f"{folder}: another log store has this folder, in use by pid {pid}: stop that one, or give another folder"
        ) from None
    os.ftruncate(held, 0)
    os.pwrite(held, f"{os.getpid()}\n".encode(), 0)
    return held


class Readable:
    """Reads the file from any thread, also while another process writes to it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "logs.db"
        self._readers = threading.local()
        self._all: list[_Reader] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection, which stays open for the block. Raises ClosedError."""
        reader: _Reader | None = getattr(self._readers, "reader", None)
        if reader is None:
            reader = self._readers.reader = _Reader(self.path)
            with self._lock:
                self._all.append(reader)
        with reader.busy:
            if self._closed:
                reader.connection.close()
                raise ClosedError(f"{self.path} is closed")
            yield reader.connection

    def read(self, row: int) -> tuple[bytes, bytes] | None:
        """The blobs of a chunk (index, text); None when it is gone.

        Raises sqlite3.DatabaseError when damaged, ClosedError.
        """
        with self.reading() as connection:
            found: tuple[bytes, bytes] | None = connection.execute(
                "SELECT index_, text FROM chunk WHERE id = ?", (row,)
            ).fetchone()
        return found

    def close(self) -> None:
        """Waits for the reads that go on; a later one is told ClosedError."""
        self._closed = True
        with self._lock:
            readers = list(self._all)
        for reader in readers:
            with reader.busy:
                reader.connection.close()


class Database(Readable):
    """Reads from any thread; writes from one at a time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.damage: list[str] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._held = _hold(folder)
        except OSError as error:
            raise StoreError(f"{folder}: the log store cannot be opened ({error.strerror})") from None
        try:
            self.found = self._open()
        except (sqlite3.Error, OSError) as error:
            os.close(self._held)
            raise StoreError(f"{self.path}: the log store cannot be opened ({error})") from None

    def _open(self) -> list[tuple[str, ChunkRef]]:
        self.writer = sqlite3.connect(":memory:")
        frames, damage = committed_frames(self.path)
        try:
            self.writer.close()
            self.writer = connect(self.path, write=True)
            _, recovered, _ = self.writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if not damage and recovered < frames.before_last:
                damage = f"frame {recovered + 1} of {frames.committed} is damaged"
            elif not damage and recovered < frames.committed:
                log.warning("%s-wal: the last write was broken off; nobody was told that it was done", self.path)
            rows = list(self._rows(self.writer))
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
            if code not in (
                sqlite3.SQLITE_CORRUPT,
                sqlite3.SQLITE_NOTADB,
            ):  # locked, read-only, full: nothing is damaged
                raise
            rows = self._salvage(error)
        if damage:
            self._damaged(f"{self.path}-wal: {damage}; what stood behind it is lost, the rest is served")
        return rows

    def _damaged(self, what: str) -> None:
        self.damage.append(what)
        log.error("damaged: %s", what)

    @staticmethod
    def _rows(connection: sqlite3.Connection, where: str = "") -> Iterator[tuple[str, ChunkRef]]:
        query = f"SELECT {_COLUMNS} FROM chunk {where} ORDER BY id"  # noqa: S608 - our own words
        for row, labels, first, last, lines, size, stored in connection.execute(query):
            yield labels, ChunkRef(first, last, row, lines, size, stored)

    def _salvage(self, error: Exception) -> list[tuple[str, ChunkRef]]:
        """Copies what can be read to a new file, and keeps the damaged one beside it."""
        self.writer.close()
        aside = self.path.with_name(f"logs.db.damaged-{time.strftime('%Y%m%dT%H%M%S')}-{time.time_ns() % 1000:03d}")
        from logstore.store.salvage import salvage  # noqa: PLC0415 - needed on bad days only

        for suffix in ("", "-wal", "-shm"):
            old = self.path.with_name(self.path.name + suffix)
            if old.exists():
                old.rename(aside.with_name(aside.name + suffix))
        self.writer = connect(self.path, write=True)
        saved, lost = salvage(aside, self.writer)
        self._damaged(
            f"{aside} ({error}): {saved} chunks were saved to {self.path}, "
            f"{lost or 'an unknown number of'} could not be read"
        )
        return list(self._rows(self.writer))

    def insert(self, chunks: list[tuple[str, Encoded]]) -> list[tuple[str, ChunkRef]]:
        """Adds chunks, in the transaction that is open."""
        refs = []
        for labels, chunk in chunks:
            stored = len(chunk.head) + len(chunk.text)
            row = self.writer.execute(
                _INSERT,
                (labels, chunk.first, chunk.last, chunk.lines, chunk.size, stored, chunk.head, chunk.text),
            ).lastrowid
            assert row is not None
            refs.append((labels, ChunkRef(chunk.first, chunk.last, row, chunk.lines, chunk.size, stored)))
        return refs

    def remove(self, rows: list[int]) -> None:
        """Removes chunks, in the transaction that is open."""
        self.writer.executemany("DELETE FROM chunk WHERE id = ?", [(row,) for row in rows])

    def checkpoint(self) -> None:
        """Moves what is in the write-ahead log into the file, as far as that holds up nobody."""
        with self.reading() as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def close(self) -> None:
        """Waits for the reads that go on; a later one is told ClosedError."""
        super().close()
        self.writer.close()
        os.close(self._held)
