"""Chunks: lines of one stream, in the order of time, as two compressed blobs: times and the like, and the text.

The text is searched without looking at the rest; so a query that finds nothing in a chunk unpacks half of it. Both
blobs are zstd frames with a checksum: damage is noticed when they are read.
"""

from __future__ import annotations

import heapq
import operator
import sys
import threading
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from itertools import count as counting
from typing import NamedTuple

import msgspec
import zstandard

Metadata = dict[str, str]
LEVEL = 1  # of zstd: the best that keeps up with ingestion
MOST_TEXT = 1 << 20  # bytes of a chunk's text, unless a single line is longer
_MOST_UNPACKED = 64 << 20  # bytes
_FLAT = 1 << 31  # beside the number of lines: none of them holds a newline
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
    """A chunk, unpacked: line i, of `times[i]`, is `text[starts[i]:starts[i + 1] - 1]`.

    What a query does not look at is not unpacked.
    """

    def __init__(  # noqa: PLR0917
        self, count: int, text: bytes, times: bytes, lengths: bytes, metadata: dict[int, Metadata], flat: bool
    ) -> None:
        self.count, self.text, self.metadata = count, text, metadata
        self._times, self._lengths, self._flat = times, lengths, flat

    @cached_property
    def times(self) -> array[int]:
        return _restored("q", self._times)

    @cached_property
    def starts(self) -> array[int]:
        before = accumulate(_restored("I", self._lengths), initial=0)
        return array("I", map(operator.add, before, counting()))  # a newline for each line before

    @cached_property
    def one_line_each(self) -> bool:
        """Whether no line holds a newline."""
        return self._flat or self.text.count(b"\n") == self.count

    def line(self, index: int) -> bytes:
        return self.text[self.starts[index] : self.starts[index + 1] - 1]

    def lines(self) -> list[bytes]:
        """All lines."""
        if self.one_line_each:
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


def encode(times: Sequence[int], lines: Sequence[str], metadata: dict[int, Metadata]) -> list[Encoded]:
    """Packs lines that are in order of time, as one chunk or, if they are many, several."""
    if sum(map(len, lines)) < MOST_TEXT:
        joined = "\n".join(lines)
        if len(joined) <= MOST_TEXT // (1 if joined.isascii() else 4):
            text = joined.encode(errors="replace")
            flat = "\n" not in "".join(lines)  # a look for a single byte takes no time if it is not there
            return [_encoded(times, text, _lengths(joined, text, lines), metadata, flat)]
    return encode_bytes(times, [line.encode(errors="replace") for line in lines], metadata)


def encode_bytes(times: Sequence[int], lines: Sequence[bytes], metadata: dict[int, Metadata]) -> list[Encoded]:
    """The same from UTF-8."""
    parts = []
    for cut in pieces(map(len, lines)):
        inside = {index - cut.start: value for index, value in metadata.items() if cut.start <= index < cut.stop}
        flat = b"\n" not in b"".join(lines[cut])
        parts.append(_encoded(times[cut], b"\n".join(lines[cut]), map(len, lines[cut]), inside, flat))
    return parts


def _lengths(joined: str, text: bytes, lines: Sequence[str]) -> Iterable[int]:
    if joined.isascii():
        return map(len, lines)
    parts = text.split(b"\n")
    return map(len, parts if len(parts) == len(lines) else [line.encode(errors="replace") for line in lines])


def _encoded(
    times: Sequence[int], text: bytes, lengths: Iterable[int], metadata: dict[int, Metadata], flat: bool
) -> Encoded:
    head = b"".join(
        (
            (len(times) | (_FLAT if flat else 0)).to_bytes(4, "little"),
            _transposed(array("q", times)),
            _transposed(array("I", lengths)),
            _packed.encode(metadata),
        )
    )
    pack = _compressor().compress
    return Encoded(times[0], times[-1], len(times), len(text) + 1, pack(head), pack(text + b"\n"))


def decode_text(blob: bytes) -> bytes:
    """The text of a chunk. Raises DamagedError."""
    try:
        if zstandard.frame_content_size(blob) > _MOST_UNPACKED:
            raise DamagedError("it says that it holds more than any chunk does")
        return _decompressor().decompress(blob)
    except zstandard.ZstdError as error:
        if "llocat" in str(error):  # "Allocation error": it is not the chunk that is wrong
            raise MemoryError from None
        raise DamagedError(str(error)) from None


def decode(head: bytes, text: bytes) -> Block:
    """A chunk from its packed head and its unpacked text. Raises DamagedError."""
    raw = decode_text(head)
    first = int.from_bytes(raw[:4], "little")
    count = first & ~_FLAT
    times, lengths = 4 + 8 * count, 4 + 12 * count
    metadata = _unpacked.decode(raw[lengths:])
    return Block(count, text, raw[4:times], raw[times:lengths], metadata, bool(first & _FLAT))


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
    text = b"\n".join(lines) + b"\n" if lines else b""
    lengths = array("I", map(len, lines))
    return Block(len(lines), text, _transposed(times), _transposed(lengths), metadata, flat=False)


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
