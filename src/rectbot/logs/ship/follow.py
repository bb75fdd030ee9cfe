"""Reads a log's lines as they come, through rotation and truncation, from where an earlier process stopped.

When the file at the path is another one, or was emptied, the log goes on: first the rest of the old text is read, in
the file that is still open, or wherever it is by now (renamed, copied, compressed); then what was written and rotated
away meanwhile, oldest first; then the file at the path. Rotated files that were there before are known, and left out.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from rectbot.logs.ship.generations import MAX_LINE_BYTES, SURE_BYTES, Generation, Library
from rectbot.logs.ship.places import Places, by_age, open_quietly
from rectbot.logs.ship.source import Source, open_source

LATE_SECONDS = 30.0  # for who goes on writing into a rotated file for a while
_CLOCK_SLACK_NS = 3600 * 10**9
_Look = tuple[object, ...]


class Follower:
    """Follows the log at `path`, which may come, go, be rotated or be truncated at any time.

    `library` holds what is known from before. `given` are the paths that are followed beside this one: they are logs of
    their own, also where their names look like this one's rotated files. With `new_only` a path that is not known yet
    is begun at its end.
    """

    def __init__(
        self,
        path: Path,
        library: Library | None = None,
        given: frozenset[Path] = frozenset(),
        *,
        new_only: bool = False,
    ) -> None:
        self.path = path
        self.lost = False  # the rest of a text was not found
        self._library = library or Library()
        self._new_only = new_only
        self._places = Places(path, given)
        self._started = False
        self._written = 0  # when the text that was left last was written
        self._late: list[tuple[Generation, float]] = []
        self._looked: _Look | None = None  # what there was when there was nothing new

    @property
    def absent(self) -> bool:
        """Whether there is no file to read."""
        return self._started and self._current is None

    @property
    def _current(self) -> Generation | None:
        return self._library.current.get(str(self.path))

    def start(self) -> None:
        """Opens the file where it was left. A path that is new begins with what is there now.

        Raises OSError when the file is there but cannot be read.
        """
        if self._started:
            return
        if str(self.path) not in self._library.current:
            self._begin()
        elif self._current is not None and self._current.source is None:
            self._resume(self._current)
        self._started = True

    def read(self, limit: int) -> list[bytes]:
        """The next whole lines, about `limit` bytes of them, without their line ends; none when there is nothing new.

        Raises OSError when the file is there but cannot be read.
        """
        self.start()
        if late := self._late_lines(limit):
            return late
        while True:
            current = self._current
            if current is not None:
                lines = current.lines(limit)
                if lines:
                    return lines
                if lines is None:
                    self._text_went(current)
                    continue
            following = self._following()
            if following is None:
                return []
            # The old file may have been written to after we looked, and before it was rotated.
            if current is not None and (rest := current.lines(limit, last=True)):
                return rest
            self._go_to(following)

    def close(self) -> None:
        """Closes the files; what is known stays in the library."""
        for generation in (*(late for late, _ in self._late), self._current):
            if generation is not None:
                generation.close()
        self._late.clear()
        self._started = False

    def _begin(self) -> None:
        live = open_source(self.path)
        self._library.current[str(self.path)] = None
        if live is not None:
            self._go_to(live)
            if self._new_only:
                self._skip()
        self._note_rotated(None)

    def _skip(self) -> None:
        """Leaves out what is in the file now, but for a line that is being written."""
        current = self._current
        if current is not None and current.source is not None and not current.source.packed:
            end = current.source.status.st_size
            begun = current.source.read(MAX_LINE_BYTES, max(0, end - MAX_LINE_BYTES)).rpartition(b"\n")[2]
            current.move(end - len(begun))

    def _note_rotated(self, until: int | None) -> None:
        """Remembers the rotated files that are there (and were written by then): they are not ours to read."""
        for path in self._places.rotated(self._seen(None)):
            source = open_quietly(path)
            if source is None:
                continue
            old = until is None or source.status.st_mtime_ns <= until
            if old and self._known(source) is None:
                self._library.add(Generation.leave_out(source, foreign=True))
            source.close()

    def _resume(self, current: Generation) -> None:
        """Opens the file that has the text, under whatever name it has now."""
        _close(open_source(self.path))  # where it may not be read, that is to be told
        source = self._search(current)
        if self._library.forget_unnoted(str(self.path)):
            self._note_rotated(None if source is None else source.status.st_mtime_ns)
        if source is not None:
            current.open(source)
            return
        self.lost = current.position.offset > 0 and not self._places.copies_come
        self._leave(current)

    def _text_went(self, current: Generation) -> None:
        """The file was emptied, or overwritten: what was not read of it yet is in a copy, if there is one."""
        copy = self._search(current)
        if copy is not None:
            current.open(copy)
            return
        self.lost = not self._places.copies_come
        self._leave(current)

    def _leave(self, generation: Generation) -> None:
        self._written = generation.position.written
        self._library.current[str(self.path)] = None
        self._library.release(generation)

    def _following(self) -> Source | None:
        """The file to go on with when the present one has nothing new: None unless it was rotated."""
        live = open_source(self.path)
        try:
            following = self._choose(live)
        except OSError:
            _close(live)
            raise
        if following is not live:
            _close(live)
        return following

    def _choose(self, live: Source | None) -> Source | None:
        current = self._current
        if live and current and current.source and current.source.numbers == live.numbers:
            return None
        look = self._look(live)
        if look is not None and look == self._looked:
            return None
        found = self._unread(live)
        # While the next file is empty, its writer may still have the old one open.
        if not found and live is not None and live.status.st_size and (current is None or not self._is_at(live)):
            return live
        self._looked = None if found else look
        return found

    def _is_at(self, live: Source) -> bool:
        """Whether the live file has the text that is being read, though it is another file."""
        known = self._known(live)
        return known is not None and known is self._current and not self._is_weak(known, live)

    def _look(self, live: Source | None) -> _Look | None:
        """What changes when there may be something new; None where a change may not be seen for the clock's ticks."""
        changed = [0]
        for folder in self._places.folders(self._seen(live)):
            with contextlib.suppress(OSError):
                changed.append(folder.stat().st_mtime_ns)
        if abs(time.time_ns() - max(changed)) < 2 * 10**9:
            return None
        return (*changed, live and (live.numbers, live.status.st_size > 0))

    def _unread(self, live: Source | None) -> Source | None:
        """The oldest file that was rotated away before it was begun. Copies of what is known are remembered as such."""
        least = (self._current.position.written if self._current else self._written) - _CLOCK_SLACK_NS
        found: list[Source] = []
        for path in self._places.rotated(self._seen(live)):
            source = open_quietly(path)
            if source is None:
                continue
            status = source.status
            known = self._known(source)
            if known is not None and not known.position.numbers.may_be(source.numbers):
                self._library.add(Generation.leave_out(source, foreign=known.foreign))
            if known is not None or not status.st_size or status.st_mtime_ns < least:
                source.close()
                continue
            found.append(source)
        found = by_age(found)
        for source in found[1:]:
            source.close()
        return found[0] if found else None

    def _go_to(self, source: Source) -> None:
        """Begins the file, or goes on in it where it was left."""
        previous = self._current
        following = self._known(source)
        if following is None or following.foreign or self._is_weak(following, source):
            following = Generation.begin(source)
            self._library.add(following)
        elif following.source is None or not following.position.fits(following.source):
            following.open(source)
        else:
            source.close()
        self._looked = None
        self._library.current[str(self.path)] = following
        if previous is not None and previous is not following:
            self._written = previous.position.written
            self._late.append((previous, time.monotonic() + LATE_SECONDS))

    def _is_weak(self, known: Generation, source: Source) -> bool:
        """Whether a file has but a few lines in common with a known text: two starts may begin with the same ones."""
        return (
            not self._places.copies_come
            and not source.packed
            and not known.position.numbers.may_be(source.numbers)
            and known.position.offset < SURE_BYTES
        )

    def _late_lines(self, limit: int) -> list[bytes]:
        """What was written into rotated files after they were left."""
        for late in list(self._late):
            generation, until = late
            lines = generation.lines(limit)
            if lines:
                return lines
            if lines is None or time.monotonic() > until:
                self._late.remove(late)
                if all(generation is not other for other, _ in self._late):
                    self._library.release(generation)
        return []

    def _known(self, source: Source) -> Generation | None:
        """The text that is in a file, if it is known."""
        return self._library.find(source, lambda known: self._places.has(known.position, self._seen(None)))

    def _search(self, generation: Generation) -> Source | None:
        """The file that has a text now."""

        def is_other(source: Source) -> bool:
            known = self._known(source)
            return known is not None and known is not generation

        return self._places.find(generation.position, self._seen(None), is_other)

    def _seen(self, live: Source | None) -> list[Path]:
        """Where the file at the path is, and where the text that is read is, and was."""
        current = self._current
        seen = [live.place] if live else []
        seen += [current.source.place] if current and current.source else []
        seen += [Path(current.position.place)] if current and current.position.place else []
        return seen


def _close(source: Source | None) -> None:
    if source is not None:
        source.close()
