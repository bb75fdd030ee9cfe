"""The files that a log was, one after the other: how each is recognized, and how far it was read.

A file is known by its device, its inode and its text. Each alone would be wrong: an inode may be given to the next
file at once, and two files may begin with the same lines. So the hash of the text's beginning is remembered, and that
of what stands right before the place up to which it was read. A file that has both is the same, or a copy of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from rectbot.logs.ship.source import Numbers, Source, digest

MAX_LINE_BYTES = 60_000
SURE_BYTES = 4096  # so much text in common is no accident, as the first lines of two starts may be
_HEAD_BYTES = 1024
_TAIL_BYTES = 4096
_READ_KEPT, _FOREIGN_KEPT = 100, 1000
_HOLE = re.compile(rb"\0{8,}")


@dataclass(frozen=True)
class Position:
    """How far a text was read: `offset` in bytes.

    `head` is the hash of its first `head_size` bytes, `tail` of the `tail_size` bytes before the offset. `place` is
    where the file was, `written` when it was written last, and `born` when it was made (nanoseconds).
    """

    device: int = 0
    inode: int = 0
    offset: int = 0
    head: str = ""
    head_size: int = 0
    tail: str = ""
    tail_size: int = 0
    place: str = ""
    written: int = 0
    born: int = 0

    @property
    def numbers(self) -> Numbers:
        """The file's, when it was last read."""
        return Numbers(self.device, self.inode, self.born)

    @classmethod
    def load(cls, saved: Any) -> Position:
        """What `save` gave, now or before there was all of it. Raises TypeError or ValueError for anything else."""
        position = cls(**saved)
        texts = (position.head, position.tail, position.place)
        numbers = (position.device, position.inode, position.offset, position.head_size, position.tail_size)
        if not all(isinstance(text, str) for text in texts) or min(*numbers, position.written, position.born) < 0:
            raise ValueError("not a position")
        return position

    def save(self) -> dict[str, Any]:
        """For a JSON file."""
        return asdict(self)

    def fits(self, source: Source) -> bool:
        """Whether the text up to the offset is what `source` begins with, as far as can be told."""
        return self.fits_head(source.digest(0, self.head_size)) and self.fits_tail(source)

    def fits_head(self, found: str) -> bool:
        """Whether this is the hash of the text's beginning."""
        return not self.head_size or found == self.head

    def fits_tail(self, source: Source) -> bool:
        """Whether what precedes the offset is the same in `source`."""
        if not self.tail_size:
            return source.packed or source.status.st_size >= self.offset
        return source.digest(self.offset - self.tail_size, self.offset) == self.tail


class Generation:
    """One text of a log, and how far it was read. `foreign` are those that are not ours to read.

    It is open while it is read; followers of several names of one file share it, so that it is read once.
    """

    def __init__(self, position: Position, *, foreign: bool = False) -> None:
        self.position = position
        self.foreign = foreign
        self.source: Source | None = None

    @classmethod
    def begin(cls, source: Source) -> Generation:
        """A text that is read from its start."""
        generation = cls(Position())
        generation.open(source)
        return generation

    @classmethod
    def leave_out(cls, source: Source, *, foreign: bool) -> Generation:
        """A text that is not to be read, but known again. Of a compressed one the beginning must do."""
        generation = cls.begin(source)
        generation.foreign = foreign
        generation.move(_HEAD_BYTES if source.packed else source.status.st_size)
        if source.packed:
            generation.position = replace(generation.position, offset=0, tail="", tail_size=0)
        generation.source = None  # it stays the caller's
        return generation

    @property
    def is_begun(self) -> bool:
        """Whether there is something by which it can be known."""
        return self.source is not None or self.position.head_size > 0

    def open(self, source: Source) -> None:
        """Goes on in this file, which has the text."""
        self.close()
        self.source = source
        device, inode, born = source.numbers
        written = source.status.st_mtime_ns
        self.position = replace(
            self.position, device=device, inode=inode, born=born, place=str(source.place), written=written
        )

    def close(self) -> None:
        """Closes the file."""
        if self.source is not None:
            self.source.close()
            self.source = None

    def holds(self, source: Source) -> bool:
        """Whether all of a plain `source` is in the file that is open, as of a copy that was made a while ago."""
        if self.source is None or self.source.packed or source.packed or not self.position.fits(self.source):
            return False
        ours, other = self.source.status, source.status
        size = other.st_size
        # A new text that begins as this one does was written later than this one.
        older = size == ours.st_size or (size < ours.st_size and other.st_mtime_ns < ours.st_mtime_ns)
        parts = ((0, min(size, _HEAD_BYTES)), (max(0, size - _TAIL_BYTES), size))
        return size > 0 and older and all(source.digest(*part) == self.source.digest(*part) for part in parts)

    def lines(self, limit: int, *, last: bool = False) -> list[bytes] | None:
        """The next whole lines, about `limit` bytes of them; None when the text is no longer in the file.

        With `last` also a line without an end, for it will get none.
        """
        if self.source is None:
            return []
        while True:
            at = self.position
            start = at.offset - at.tail_size
            data = self.source.read(at.tail_size + max(limit, MAX_LINE_BYTES), start)
            if not self._is_intact(data[: at.tail_size]):
                return None
            new = self._before_hole(data[at.tail_size :])
            if new is None:
                continue
            end = _end_of_lines(new, limit, last=last)
            if end:
                self._remember(at.offset + end, data[: at.tail_size + end])
            return [piece for line in _split(new[:end]) for piece in _pieces(line)]

    def _before_hole(self, data: bytes) -> bytes | None:
        """New bytes up to where NULs cut a line; None where NULs came before the next text, which were skipped.

        Who goes on writing where he was, when the file was emptied, leaves a hole. NULs up to the end are none: they
        are room that was made beforehand, and lines will be written there.
        """
        assert self.source is not None
        offset = self.position.offset
        if data.startswith(b"\0"):
            text = self.source.text_from(offset)
            if text is None:
                return b""
            self.move(text)
            return None
        if b"\n" in data or not data.endswith(b"\0"):
            return data
        begun = data.rstrip(b"\0")
        return begun if self.source.text_from(offset + len(begun)) is None else begun + b"\n"

    def _is_intact(self, before: bytes) -> bool:
        """Whether what stands before the offset is what was read; `before` came with the new lines, at one moment."""
        assert self.source is not None
        at = self.position
        if at.tail_size and digest(before) != at.tail:
            return False
        if self.source.packed:
            return True  # nobody writes into it
        return self.source.status.st_size >= at.offset and (
            not at.head_size or self.source.digest(0, at.head_size) == at.head
        )

    def move(self, offset: int) -> None:
        """Goes on reading at `offset`, or at the end if that is before."""
        assert self.source is not None
        start = max(0, offset - _TAIL_BYTES)
        before = self.source.read(offset - start, start)
        self._remember(start + len(before), before)

    def _remember(self, offset: int, before: bytes) -> None:
        """The text was read up to `offset`; `before` is what stands there, as far back as is known."""
        assert self.source is not None
        at, tail = self.position, before[-_TAIL_BYTES:]
        head, head_size = at.head, at.head_size
        if head_size < min(offset, _HEAD_BYTES):
            head_size = min(offset, _HEAD_BYTES)
            head = digest(before[:head_size]) if len(before) == offset else self.source.digest(0, head_size)
        self.position = replace(
            at,
            offset=offset,
            head=head,
            head_size=head_size,
            tail=digest(tail),
            tail_size=len(tail),
            written=self.source.status.st_mtime_ns,
        )


class Library:
    """All texts that are known, and which of them each path is at. Shared by the followers of one shipper."""

    def __init__(self) -> None:
        self.current: dict[str, Generation | None] = {}
        self._known: list[Generation] = []
        self._unnoted: set[str] = set()

    def forget_unnoted(self, path: str) -> bool:
        """Whether nothing was remembered yet of a path's rotated files, as in earlier versions; the first time only."""
        unnoted = path in self._unnoted
        self._unnoted.discard(path)
        return unnoted

    def add(self, generation: Generation) -> None:
        """Remembers a text."""
        self._known.append(generation)

    def find(self, source: Source, is_there: Callable[[Generation], bool]) -> Generation | None:
        """The text that is in a file, if it is known: by the file's numbers and the text, else by the text alone.

        Where little of a text was read, a file with the same beginning is a copy only if the text's own file is not
        there any more (`is_there`): two starts of a program may begin with the same lines.
        """
        copied = next((known for known in reversed(self._known) if known.holds(source)), None)
        return self.find_file(source) or copied or self._find_text(source, is_there)

    def find_file(self, source: Source) -> Generation | None:
        """The text that was read in this very file, if it is still there."""
        numbers = source.numbers
        for known in reversed(self._known):
            if known.position.numbers.may_be(numbers) and known.is_begun and known.position.fits(source):
                return known
        return None

    def _find_text(self, source: Source, is_there: Callable[[Generation], bool]) -> Generation | None:
        """The longest of the known texts with which a file begins. A compressed one is read forwards only."""
        known = sorted((each for each in self._known if each.position.offset), key=lambda each: each.position.offset)
        heads = {size: source.digest(0, size) for size in sorted({each.position.head_size for each in known})}
        alike = [each for each in known if each.position.fits_head(heads[each.position.head_size])]
        found = [each for each in alike if each.position.fits_tail(source)]
        return next((each for each in reversed(found) if self._is_copy(source, each, is_there)), None)

    def _is_copy(self, source: Source, known: Generation, is_there: Callable[[Generation], bool]) -> bool:
        """Whether a file that begins as a known text is a copy of it. Of a text that is read it may have the rest."""
        at = known.position
        if at.offset >= SURE_BYTES or not source.read(1, at.offset):
            return True
        return any(known is current for current in self.current.values()) and not is_there(known)

    def release(self, generation: Generation) -> None:
        """Closes a text's file, unless some path is at it."""
        if all(generation is not current for current in self.current.values()):
            generation.close()

    def save(self) -> dict[str, Any]:
        """For a JSON file."""
        kept = list(self._kept())
        places = {id(generation): place for place, generation in enumerate(kept)}
        return {
            "generations": [{**each.position.save(), "foreign": each.foreign} for each in kept],
            "files": {path: None if each is None else places[id(each)] for path, each in self.current.items()},
        }

    def _kept(self) -> Iterator[Generation]:
        """What is worth remembering, oldest first: what some path is at, and the newest of the rest."""
        room = {True: _FOREIGN_KEPT, False: _READ_KEPT}
        current = {id(generation) for generation in self.current.values()}
        kept = []
        for each in reversed(self._known):
            room[each.foreign] -= 1
            if id(each) in current or room[each.foreign] >= 0:
                kept.append(each)
        self._known = kept[::-1]
        return iter(self._known)

    @classmethod
    def load(cls, saved: Any) -> Library:
        """What `save` gave, or what an earlier version did. Raises TypeError, ValueError, KeyError or IndexError."""
        library = cls()
        for each in saved.get("generations", ()):
            foreign = bool(each.pop("foreign"))
            library.add(Generation(Position.load(each), foreign=foreign))
        for path, known in saved["files"].items():
            if isinstance(known, dict):  # of an earlier version, which remembered nothing of rotated files
                library.add(Generation(Position.load(known)))
                library._unnoted.add(path)
            place = -1 if isinstance(known, dict) else known
            library.current[path] = None if place is None else library._known[place]
        return library


def _end_of_lines(data: bytes, limit: int, *, last: bool) -> int:
    """How much of `data` are whole lines: as many as are in `limit` bytes, but at least one."""
    end = data.rfind(b"\n", 0, limit) + 1 or data.find(b"\n") + 1
    if not end and (last or len(data) >= MAX_LINE_BYTES):
        return min(len(data), MAX_LINE_BYTES)
    return end


def _split(data: bytes) -> list[bytes]:
    return [line.removesuffix(b"\r") for line in data.removesuffix(b"\n").split(b"\n")] if data else []


def _pieces(line: bytes) -> Iterator[bytes]:
    """A line without holes, in pieces when it is too long for Loki."""
    parts = [part for part in _HOLE.split(line.strip(b"\0")) if part] if b"\0" in line else [line]
    for part in parts:
        for at in range(0, len(part) or 1, MAX_LINE_BYTES):
            yield part[at : at + MAX_LINE_BYTES]
