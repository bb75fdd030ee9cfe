"""What is where: the streams and their chunks, in memory. Rebuilt from the database at the start."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

import msgspec


class ChunkRef(NamedTuple):
    """A chunk that is stored: times of its first and last line, row, number of lines, bytes of text and on disk."""

    first: int
    last: int
    row: int
    lines: int
    size: int
    stored: int


Change = tuple[str, list[ChunkRef], list[ChunkRef]]
"""A stream's key, and which of its chunks were removed and which were added."""


@dataclass(eq=False)
class Stream:
    """A stream and its chunks in the order of their first times."""

    key: str
    labels: dict[str, str]
    chunks: list[ChunkRef] = field(default_factory=list)
    longest: int = 0  # nanoseconds that any chunk spans: how far back a search must begin

    def between(self, start: int, end: int) -> list[ChunkRef]:
        """The chunks that may hold lines with start <= time < end."""
        low = bisect_left(self.chunks, start - self.longest, key=attrgetter("first"))
        high = bisect_left(self.chunks, end, key=attrgetter("first"))
        return [chunk for chunk in self.chunks[low:high] if chunk.last >= start]


def stream_key(labels: dict[str, str]) -> str:
    """The labels as JSON in the order of their names: a stream's identity, and what the database holds."""
    return msgspec.json.encode(labels, order="sorted").decode()


def labels_of(key: str) -> dict[str, str]:
    """The labels of a stream's key."""
    return msgspec.json.decode(key, type=dict[str, str])


class Index:
    """All streams. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams: dict[str, Stream] = {}
        self.lines = self.stored = self.chunks = self.label_bytes = 0

    def add(self, key: str, chunk: ChunkRef) -> None:
        with self._lock:
            stream = self._streams.get(key)
            if stream is None:
                stream = self._streams[key] = Stream(key, labels_of(key))
                self.label_bytes += len(key)
            place = bisect_left(stream.chunks, chunk)
            if stream.chunks[place : place + 1] == [chunk]:  # told twice
                return
            stream.chunks.insert(place, chunk)
            stream.longest = max(stream.longest, chunk.last - chunk.first)
            self._count(chunk, 1)

    def _count(self, chunk: ChunkRef, sign: int) -> None:
        self.lines += sign * chunk.lines
        self.stored += sign * chunk.stored
        self.chunks += sign

    def replace(self, key: str, old: Sequence[ChunkRef], new: Sequence[ChunkRef]) -> bool:
        """Swaps chunks for what was made of them. False: none of them was there."""
        with self._lock:
            stream = self._streams.get(key)
            if stream is None:
                return False
            gone = {chunk.row for chunk in old}
            for chunk in stream.chunks:
                if chunk.row in gone:
                    self._count(chunk, -1)
            kept = [chunk for chunk in stream.chunks if chunk.row not in gone]
            found = len(kept) < len(stream.chunks)
            added = set(new).difference(kept)
            stream.chunks = sorted([*kept, *added])
            stream.longest = max((chunk.last - chunk.first for chunk in stream.chunks), default=0)
            for chunk in added:
                self._count(chunk, 1)
            if not stream.chunks:
                del self._streams[key]
                self.label_bytes -= len(key)
            return found

    def apply(self, change: Change) -> None:
        """What was committed to the store."""
        key, old, new = change
        if old:
            self.replace(key, old, new)
        else:
            for ref in new:
                self.add(key, ref)

    def snapshot(self) -> list[Change]:
        """All there is, as changes to nothing."""
        with self._lock:
            return [(stream.key, [], list(stream.chunks)) for stream in self._streams.values()]

    def streams(self) -> list[Stream]:
        with self._lock:
            return list(self._streams.values())

    def __contains__(self, key: str) -> bool:
        return key in self._streams

    def __len__(self) -> int:
        return len(self._streams)

    def select(
        self, matches: Callable[[dict[str, str]], bool], start: int, end: int
    ) -> Iterator[tuple[Stream, list[ChunkRef]]]:
        """The streams whose labels match, each with its chunks of the time."""
        for stream in self.streams():
            if matches(stream.labels):
                with self._lock:
                    chunks = stream.between(start, end)
                if chunks:
                    yield stream, chunks
