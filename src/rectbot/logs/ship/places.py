"""Where the files are that a log was: beside it, beside what a link points to, and where they were moved."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from rectbot.logs.ship.generations import SURE_BYTES, Position
from rectbot.logs.ship.names import date_in, is_rotated, is_sibling, serial, unpacked
from rectbot.logs.ship.source import Source, open_source

_LOOKED_AT = 5000  # files of a folder
_FOLDERS_LOOKED_INTO = 100


class Places:
    """The surroundings of the log at `path`.

    `given` are paths that are followed as logs of their own. What the methods are given as `seen` is where files of the
    log are or were: a link points to other places than its own.
    """

    def __init__(self, path: Path, given: Iterable[Path]) -> None:
        self._path = path
        self._file = _real(path)
        self._given = frozenset(map(_real, given))
        #: Whether the path is that of a rotated file, as in a glob: what comes there is a text that was elsewhere.
        self.copies_come = any(is_rotated(path.name, other.name) for other in given)

    def folders(self, seen: Sequence[Path]) -> list[Path]:
        """Where rotated files may be."""
        found = [self._path.parent, Path(os.path.realpath(self._path)).parent, *(place.parent for place in seen)]
        return list(dict.fromkeys(Path(os.path.realpath(folder)) for folder in found))

    def rotated(self, seen: Sequence[Path]) -> list[Path]:
        """The files that by their names were this log. Of a file and its compressed form only the file."""
        found = []
        for folder in self.folders(seen):
            entries = list(_entries(folder))
            names = {path.name for path in entries}
            for path in entries:
                twice = unpacked(path.name) != path.name and unpacked(path.name) in names
                if not twice and path not in self._given and self._is_named_so(path, seen):
                    found.append(path)
        return found

    def has(self, at: Position, seen: Sequence[Path]) -> bool:
        """Whether the very file in which a text was read is there, with the text."""
        paths = [path for folder in self.folders(seen) for path in _entries(folder) if _inode(path) == at.inode]
        found = _first(_opened(paths), lambda source: at.numbers.may_be(source.numbers) and at.fits(source))
        if found is not None:
            found.close()
        return found is not None

    def find(self, at: Position, seen: Sequence[Path], is_other: Callable[[Source], bool]) -> Source | None:
        """The file that has the text up to a position: the same one, or a copy that is not known for something else."""
        here = [self._file, *seen, *(path for folder in self.folders(seen) for path in _entries(folder))]
        found = self._find_among(list(dict.fromkeys(here)), at, seen, is_other)
        if found is not None:
            return found
        below = [path for folder in _folders_in(self._file.parent) for path in _entries(folder)]
        return self._find_among(below, at, seen, is_other)

    def _find_among(
        self, files: Sequence[Path], at: Position, seen: Sequence[Path], is_other: Callable[[Source], bool]
    ) -> Source | None:
        same = [path for path in files if _inode(path) == at.inode]
        if found := _first(_opened(same), lambda source: at.numbers.may_be(source.numbers) and at.fits(source)):
            return found
        if not at.offset:
            return None
        named = [path for path in files if self._is_named_so(path, seen)]
        copies = by_age(_opened(named))
        if found := _first(copies, lambda source: at.fits(source) and not is_other(source)):
            return found
        # Other texts may begin as this one did: there must be much in common. The file at the path comes last.
        rest = [path for path in files if path not in named and path != self._file] if at.offset >= SURE_BYTES else []
        return _first(_opened([*rest, self._file] if rest else rest), at.fits)

    def _is_named_so(self, path: Path, seen: Sequence[Path]) -> bool:
        if path == self._file:
            return self.copies_come
        targets = seen if self._path.is_symlink() else ()
        return is_rotated(path.name, self._path.name) or any(
            is_rotated(path.name, each.name) or is_sibling(path.name, each.name) for each in targets
        )


def by_age(sources: Iterable[Source]) -> list[Source]:
    """The oldest first: by the dates in their names if all have one, else by when they were written."""
    found = list(sources)
    if all(date_in(source.path.name) for source in found):
        return sorted(found, key=lambda source: (date_in(source.path.name), source.packed))
    return sorted(found, key=lambda source: (source.status.st_mtime_ns, source.packed, -serial(source.path.name)))


def open_quietly(path: Path) -> Source | None:
    """Opens a file that may be anything; None if it cannot be read."""
    with contextlib.suppress(OSError):
        return open_source(path)
    return None


def _opened(paths: Iterable[Path]) -> Iterator[Source]:
    for path in paths:
        if (source := open_quietly(path)) is not None:
            yield source


def _first(sources: Iterable[Source], condition: Callable[[Source], bool]) -> Source | None:
    """The first with which all is well; the others are closed."""
    found = None
    for source in sources:
        if found is None and condition(source):
            found = source
        else:
            source.close()
    return found


def _real(path: Path) -> Path:
    """The path without links, but for the last one: that may change."""
    return Path(os.path.realpath(path.parent)) / path.name


def _entries(folder: Path) -> Iterator[Path]:
    """The regular files in a folder, as far as it is of a usable size."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            if number >= _LOOKED_AT:
                return
            if entry.is_file(follow_symlinks=False):
                yield Path(entry.path)


def _folders_in(folder: Path) -> list[Path]:
    """The folders in a folder: some people rotate into one."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)][:_FOLDERS_LOOKED_INTO]
    return []


def _inode(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_ino
    return 0
