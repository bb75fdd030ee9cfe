"""Chunks: lines of one stream, in the order of time, as two compressed blobs: times and the like, and the text.

The text is searched without looking at the rest; so a query that finds nothing in a chunk unpacks half of it. Both
blobs are zstd frames with a checksum: damage is noticed when they are read.
"""

from __future__ import annotations

import heapq
import sys
import threading
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import msgspec
import zstandard

Metadata = dict[str, str]
LEVEL = 1  # of zstd: the best that keeps up with ingestion
MOST_TEXT = 1 << 20  # bytes of a chunk's text, unless a single line is longer
_LOCAL = threading.local()
_packed = msgspec.msgpack.Encoder()
_unpacked = msgspec.msgpack.Decoder(dict[int, dict[str, str]])


class DamagedError(Exception):
    """A chunk's bytes are not what was written."""


class Line(NamedTuple):
    """A line as it was pushed: nanoseconds since 1970, UTF-8, structured metadata."""

    time: int
    text: bytes
    metadata: Metadata | None = None


class Encoded(NamedTuple):
    """A chunk as it is stored."""

    first: int
    last: int
    lines: int
    size: int  # of the text, before compression
    head: bytes  # times, lengths, structured metadata
    text: bytes


class Block:
    """A chunk, unpacked: `text[starts[i]:starts[i + 1] - 1]` is line i, at `times[i]`."""

    __slots__ = ("metadata", "starts", "text", "times")

    def __init__(self, times: array[int], starts: array[int], text: bytes, metadata: dict[int, Metadata]) -> None:
        self.times, self.starts, self.text, self.metadata = times, starts, text, metadata

    def line(self, index: int) -> bytes:
        return self.text[self.starts[index] : self.starts[index + 1] - 1]

    def lines(self) -> list[bytes]:
        """All lines."""
        if self.text.count(b"\n") == len(self.times):
            return self.text[:-1].split(b"\n")
        text = self.text
        return [text[start : end - 1] for start, end in pairwise(self.starts)]

    def between(self, start: int, end: int) -> range:
        """The indexes of lines with start <= time < end."""
        return range(bisect_left(self.times, start), bisect_left(self.times, end))

    def __iter__(self) -> Iterator[Line]:
        for index, text in enumerate(self.lines()):
            yield Line(self.times[index], text, self.metadata.get(index))


def _compressor() -> zstandard.ZstdCompressor:
    if not hasattr(_LOCAL, "compressor"):
        _LOCAL.compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True)
    return _LOCAL.compressor  # type: ignore[no-any-return]


def _decompressor() -> zstandard.ZstdDecompressor:
    if not hasattr(_LOCAL, "decompressor"):
        _LOCAL.decompressor = zstandard.ZstdDecompressor()
    return _LOCAL.decompressor  # type: ignore[no-any-return]


def _transposed(values: array[int]) -> bytes:
    """The first bytes of all numbers, then the second ones, ...: their high bytes are alike and compress away."""
    if sys.byteorder == "big":
        values = array(values.typecode, values)
        values.byteswap()
    raw, width = values.tobytes(), values.itemsize
    return b"".join(raw[place::width] for place in range(width))


def _restored(typecode: str, raw: bytes) -> array[int]:
    values = array(typecode)
    count, width = len(raw) // values.itemsize, values.itemsize
    mixed = bytearray(len(raw))
    for place in range(width):
        mixed[place::width] = raw[place * count : (place + 1) * count]
    values.frombytes(mixed)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def encode(times: Sequence[int], lines: Sequence[str | bytes], metadata: dict[int, Metadata]) -> Encoded:
    """Packs lines that are in order of time; not empty."""
    if isinstance(lines[0], str):
        text = ("\n".join(lines) + "\n").encode(errors="replace")  # type: ignore[arg-type]
        if len(text) == sum(map(len, lines)) + len(lines):
            lengths = array("I", map(len, lines))
        else:
            lengths = array("I", [len(line.encode(errors="replace")) for line in lines])  # type: ignore[union-attr]
    else:
        text = b"\n".join(lines) + b"\n"  # type: ignore[arg-type]
        lengths = array("I", map(len, lines))
    index = b"".join(
        (
            len(times).to_bytes(4, "little"),
            _transposed(array("q", times)),
            _transposed(lengths),
            _packed.encode(metadata),
        )
    )
    pack = _compressor().compress
    return Encoded(times[0], times[-1], len(times), len(text), pack(index), pack(text))


def decode_text(blob: bytes) -> bytes:
    """The text of a chunk. Raises DamagedError."""
    try:
        return _decompressor().decompress(blob)
    except (zstandard.ZstdError, MemoryError) as error:
        raise DamagedError(str(error)) from None


def decode(index: bytes, text: bytes) -> Block:
    """A chunk from its packed index and its unpacked text. Raises DamagedError."""
    raw = decode_text(index)
    count = int.from_bytes(raw[:4], "little")
    times = _restored("q", raw[4 : 4 + 8 * count])
    lengths = _restored("I", raw[4 + 8 * count : 4 + 12 * count])
    starts = array("I", accumulate((length + 1 for length in lengths), initial=0))
    metadata = _unpacked.decode(raw[4 + 12 * count :])
    if len(times) != count or starts[-1] != len(text):
        raise DamagedError("its index and its text do not belong together")
    return Block(times, starts, text, metadata)


def merge(blocks: Sequence[Block]) -> Block:
    """One block of all lines in order of time; a line that is there twice at the same time counts once."""
    times, lines, metadata = array("q"), list[bytes](), dict[int, Metadata]()
    seen: set[bytes] = set()
    now: int | None = None
    for line in heapq.merge(*blocks, key=lambda line: line.time):
        if line.time != now:
            now, seen = line.time, set()
        if line.text in seen:
            continue
        seen.add(line.text)
        if line.metadata:
            metadata[len(times)] = line.metadata
        times.append(line.time)
        lines.append(line.text)
    starts = array("I", accumulate((len(line) + 1 for line in lines), initial=0))
    return Block(times, starts, b"\n".join(lines) + b"\n" if lines else b"", metadata)


def pieces(sizes: Iterable[int], most: int = MOST_TEXT) -> list[slice]:
    """Cuts lines of these sizes into runs of at most `most` bytes."""
    cuts, start, total = [], 0, 0
    end = 0
    for end, size in enumerate(sizes):
        if total and total + size > most:
            cuts.append(slice(start, end))
            start, total = end, 0
        total += size
    cuts.append(slice(start, end + 1))
    return cuts
