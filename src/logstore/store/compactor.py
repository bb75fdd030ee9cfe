"""What goes on in the background: merging small chunks, retention, deletions, checkpoints. Never in the way of pushes:
the merging is done on copies, and the writing thread gets only the swap, one small transaction at a time.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from logstore.logql.errors import QueryError
from logstore.store import chunk as chunks
from logstore.store.database import Database
from logstore.store.index import Change, ChunkRef, Stream
from logstore.store.reader import MovedError
from logstore.store.store import Store

if TYPE_CHECKING:
    from logstore.store.doomed import Doomed

log = logging.getLogger(__name__)
_SMALL = 256 << 10  # bytes of text: smaller chunks are merged
_IDLE_SECONDS = 3.0  # after the last push, before few small chunks are worth a merge
_FEW, _MANY = 8, 512  # small chunks of a stream: merged when idle; merged even under load
_MOST = 4 << 20  # bytes of text merged at once
_CROWDED = 20_000  # chunks in all, from which on few small ones of a stream are merged even under load
_DELETE_SECONDS, _CHUNK_SECONDS = 2.0, 20.0  # for a deletion at a time; that one chunk of it may take


@dataclass
class _Deletion:
    """A request that is being done: what it means, and where it has not been looked for yet."""

    number: int
    query: str
    first: int
    last: int
    doomed: Doomed | None = None
    work: list[tuple[Stream, ChunkRef]] = field(default_factory=list)


class Compactor:
    """A thread that looks after a store."""

    def __init__(self, store: Store, every_seconds: float = 1.0) -> None:
        self.store, self.every = store, every_seconds
        self.merged = self.expired = 0
        self._deletion: _Deletion | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-compactor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when the current step is done."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self.every):
            try:
                self.expire()
                self.delete()
                self.compact()
                self.store.database.checkpoint()
            except MovedError:
                continue
            except Exception:
                log.exception("compactor failed; it goes on in %g s", self.every)

    # Retention

    def expire(self) -> None:
        """Removes chunks that are too old, then the oldest ones while the store is too big."""
        store, doomed = self.store, list[tuple[Stream, ChunkRef]]()
        oldest = store.oldest()
        refs = [(stream, ref) for stream in store.index.streams() for ref in list(stream.chunks)]
        doomed = [(stream, ref) for stream, ref in refs if ref.last < oldest]
        excess = store.index.stored - sum(ref.stored for _, ref in doomed) - store.limits.retention_bytes
        if excess > 0:
            gone = {ref.row for _, ref in doomed}
            for stream, ref in sorted(refs, key=lambda pair: pair[1].last):
                if excess <= 0:
                    break
                if ref.row not in gone:
                    doomed.append((stream, ref))
                    excess -= ref.stored
        for start in range(0, len(doomed), 100):
            part = doomed[start : start + 100]
            self._swap([(stream, [ref], []) for stream, ref in part])
            self.expired += len(part)

    def _swap(self, changes: list[tuple[Stream, list[ChunkRef], list[chunks.Encoded]]]) -> None:
        def work(database: Database) -> list[Change]:
            done = []
            for stream, old, new in changes:
                database.remove([ref.row for ref in old])
                added = database.insert([(stream.key, part) for part in new])
                done.append((stream.key, old, [ref for _, ref in added]))
            database.writer.execute("PRAGMA incremental_vacuum(256)").fetchall()
            return done

        self.store.submit(work).result()

    # Compaction

    def compact(self, *, now: bool = False) -> None:
        """Merges runs of small chunks, and chunks whose times overlap, stream by stream."""
        crowded = self.store.index.chunks > _CROWDED
        idle = now or time.monotonic() - self.store.last_push > _IDLE_SECONDS
        for stream in self.store.index.streams():
            for run in self._runs(list(stream.chunks), 2 if now else _FEW if idle or crowded else _MANY, overlaps=idle):
                if self._stop.is_set():
                    return
                self._merge(stream, run)

    def _runs(self, refs: list[ChunkRef], least: int, *, overlaps: bool) -> list[list[ChunkRef]]:
        runs: list[list[ChunkRef]] = []
        if sum(ref.size < _SMALL for ref in refs) >= least:
            run: list[ChunkRef] = []
            for ref in refs:
                if ref.size >= _SMALL or sum(one.size for one in run) + ref.size > chunks.MOST_TEXT:
                    runs.append(run)
                    run = []
                if ref.size < _SMALL:
                    run.append(ref)
            runs = [run for run in [*runs, run] if len(run) >= 2]
        if not runs and overlaps:
            for one, other in pairwise(refs):
                if other.first < one.last:  # an equal time is left to queries, or a merge might never end
                    size = one.size + other.size
                    if size <= _MOST and not any(one in run for run in runs):
                        runs.append([one, other])
        return runs

    def _merge(self, stream: Stream, run: list[ChunkRef]) -> None:
        blocks = [block for ref in run if (block := self.store.read(stream, ref)) is not None]
        if len(blocks) == len(run):
            merged = chunks.merge(blocks)
            self._swap([(stream, run, chunks.encode_bytes(merged.times, merged.lines(), merged.metadata))])
            self.merged += len(run)

    # Deletions

    def delete(self) -> None:
        """Goes on with the oldest deletion that was asked for, for some seconds."""
        end = time.monotonic() + _DELETE_SECONDS
        deletion = self._deletion = self._deletion or self._next_deletion()
        if deletion is None:
            return
        try:
            if deletion.doomed is None:
                self._look_up(deletion)
            while time.monotonic() < end and deletion.work:
                stream, ref = deletion.work.pop()
                self._delete_lines(stream, ref, deletion, time.monotonic() + _CHUNK_SECONDS)
        except MovedError:  # merged meanwhile: what was made of it is new, and must be found again
            deletion.doomed = None
        except (QueryError, TimeoutError) as error:
            log.error("delete request %d is given up: %s", deletion.number, error)  # noqa: TRY400 - says it all
            self._ended(deletion.number, "failed")
        else:
            if not deletion.work:
                self._ended(deletion.number, "processed")

    def _next_deletion(self) -> _Deletion | None:
        with self.store.database.reading() as connection:
            row = connection.execute(
                "SELECT id, query, first, last FROM deletion WHERE status = 'received' ORDER BY id LIMIT 1"
            ).fetchone()
        if row is None:
            return None
        return _Deletion(*row)

    def _look_up(self, deletion: _Deletion) -> None:
        """What it means, and where to look. Raises QueryError."""
        from logstore.store.doomed import Doomed  # noqa: PLC0415 - LogQL, for who deletes

        deletion.doomed = Doomed(deletion.query)
        selected = self.store.index.select(deletion.doomed.stream, deletion.first, deletion.last + 1)
        deletion.work = [(stream, ref) for stream, refs in selected for ref in reversed(refs)]

    def _ended(self, number: int, status: str) -> None:
        def done(database: Database) -> list[Change]:
            database.writer.execute("UPDATE deletion SET status = ? WHERE id = ?", (status, number))
            return []

        self.store.submit(done).result()
        self._deletion = None

    def _delete_lines(self, stream: Stream, ref: ChunkRef, deletion: _Deletion, end: float) -> None:
        block = self.store.read(stream, ref)
        if block is None:
            return
        kept: list[int] = []
        lines = block.lines()
        assert deletion.doomed is not None
        inside, doomed = block.between(deletion.first, deletion.last + 1), deletion.doomed.line
        for index, line in enumerate(lines):
            if not index % 256 and time.monotonic() > end:
                raise TimeoutError(f"one chunk took longer than {_CHUNK_SECONDS:g} s")
            if index not in inside or not doomed(line):
                kept.append(index)
        if len(kept) == len(lines):
            return
        fields = {place: block.metadata[index] for place, index in enumerate(kept) if index in block.metadata}
        new = chunks.encode_bytes([block.times[i] for i in kept], [lines[i] for i in kept], fields) if kept else []
        self._swap([(stream, [ref], new)])
