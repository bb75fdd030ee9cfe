"""Reading a store: what queries need of it, whoever writes it."""

from __future__ import annotations

import logging
import sqlite3
import time

from logstore.store import chunk as chunks
from logstore.store.chunk import Block, DamagedError
from logstore.store.database import Readable
from logstore.store.index import ChunkRef, Index, Stream
from logstore.store.limits import Limits

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR)
log = logging.getLogger(__name__)


class MovedError(Exception):
    """A chunk was compacted or deleted while a query ran: the query must look again."""


class Reader:
    """What is where, and what is in it."""

    def __init__(self, database: Readable, limits: Limits) -> None:
        self.limits = limits
        self.database = database
        self.index = Index()
        self.damaged_chunks = 0

    def text(self, stream: Stream, ref: ChunkRef) -> tuple[bytes, bytes] | None:
        """A chunk's packed index and its text; None if it is damaged. Raises MovedError."""
        try:
            found = self.database.read(ref.row)
            if found is None:
                raise MovedError
            return found[0], chunks.decode_text(found[1])
        except (sqlite3.DatabaseError, DamagedError) as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
            if code not in _DAMAGE:  # locked, no more files, no memory: the chunk may be read later
                raise
            self.lost(stream.key, ref, str(error))
            return None

    def block(self, stream: Stream, ref: ChunkRef, index: bytes, text: bytes) -> Block | None:
        """The block of what `text` gave; None if it is damaged."""
        try:
            block = chunks.decode(index, text)
            if (block.count, len(text)) != (ref.lines, ref.size):
                raise DamagedError("its head and its text do not belong together")
        except (DamagedError, ValueError) as error:
            self.lost(stream.key, ref, str(error))
            return None
        return block

    def read(self, stream: Stream, ref: ChunkRef) -> Block | None:
        """A chunk; None if it is damaged. Raises MovedError."""
        found = self.text(stream, ref)
        return None if found is None else self.block(stream, ref, *found)

    def lost(self, key: str, ref: ChunkRef, error: str) -> None:
        """A chunk turned out to be damaged: once it is said, counted, and left out, whoever finds it."""
        if not self.index.replace(key, [ref], []):
            return
        self.damaged_chunks += 1
        log.error(
            "damaged: %s: chunk %d of %s, %d lines from %d to %d, cannot be read (%s); it is left out from now on",
            *(self.database.path, ref.row, key, ref.lines, ref.first, ref.last, error),
        )

    def oldest(self) -> int:
        """Nanoseconds since 1970 before which nothing is shown."""
        seconds = self.limits.retention_seconds
        return time.time_ns() - int(seconds * 1e9) if seconds else -(1 << 62)
