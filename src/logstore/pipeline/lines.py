"""Filters on the line: text, regular expression, pattern, address. Each also offers a search over a whole block."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from logstore.logql import ast
from logstore.logql.errors import ParseError
from logstore.logql.regex import compile_
from logstore.pipeline.labels import addresses, network_test

Find = Callable[[bytes, int], int]
"""The first position at or after the given one where a line may match, or -1. Exact when the line's own test agrees."""

_CAPTURE = re.compile(r"<([A-Za-z_][A-Za-z0-9_]*)>")
# Where a pattern looks at what surrounds it, in ways that differ between a line and a block of lines.
_CONTEXT = re.compile(r"\\[AzZQ]|\(\?[a-zA-Z]*-")


@dataclass(frozen=True)
class Alternative:
    """One way to match: `test` decides for a line; `find` searches a block of lines, None if it cannot."""

    test: Callable[[bytes], bool]
    find: Find | None = None
    needle: bytes | None = None  # the text that is looked for, if that is all: what `find` finds needs no test
    folded: bool = False  # the needle is in lower case, and any case will do


@dataclass(frozen=True)
class LineFilter:
    """Keeps the lines that some alternative matches, or, if negative, those that none does."""

    alternatives: tuple[Alternative, ...]
    positive: bool

    def __call__(self, line: bytes) -> bool:
        return any(alternative.test(line) for alternative in self.alternatives) == self.positive


def text_alternative(text: str) -> Alternative:
    needle = text.encode(errors="surrogateescape")
    if b"\n" in needle:  # in a block it might be found across two lines
        return Alternative(lambda line: needle in line, lambda block, start: block.find(needle, start))
    return Alternative(lambda line: needle in line, lambda block, start: block.find(needle, start), needle)


def regex_alternative(pattern: str) -> Alternative:
    search = compile_(pattern).search
    literal = _literal(pattern)
    if literal is not None:
        return text_alternative(literal)

    def test(line: bytes) -> bool:
        return search(line) is not None

    if _CONTEXT.search(pattern):
        return Alternative(test)
    scan = compile_(f"(?m:{pattern})").search

    def find(block: bytes, start: int) -> int:
        match = scan(block, start)
        return -1 if match is None else int(match.start())

    needle = _folded_needle(pattern)
    return Alternative(test, find, needle, folded=needle is not None)


def _literal(pattern: str) -> str | None:
    return pattern if pattern and re.fullmatch(r"[^\\.+*?()|\[\]{}^$\n]+", pattern) else None


def _folded_needle(pattern: str) -> bytes | None:
    """The text, in lower case, that a pattern such as `(?i)took \\(` looks for, if that is all and it is ASCII."""
    if not pattern.startswith("(?i)") or not pattern.isascii() or "\0" in pattern:
        return None
    text = re.sub(r"\\([^\w\s])", lambda found: f"\0{ord(found[1]):02x}", pattern[4:])
    if _literal(text) is None:
        return None
    return re.sub(r"\0(..)", lambda found: chr(int(found[1], 16)), text).lower().encode()


def matches_everything(tree: ast.LineFilter) -> bool:
    """Whether a filter keeps every line, as one for an empty text does."""
    everything = {"|=": ("",), "|~": ("", "(?i)", ".*", "(?i).*")}.get(tree.op, ())
    return any(function != "ip" and text in everything for function, text in tree.alternatives)


def pattern_parts(pattern: str) -> list[str]:
    """Splits a pattern into texts and captures: captures are at odd places, by name."""
    parts = _CAPTURE.split(pattern)
    for literal in parts[2:-1:2]:
        if not literal:
            raise ParseError(f"invalid pattern: found consecutive capture: {pattern}")
    return parts


def _pattern_alternative(pattern: str) -> Alternative:
    if pattern == "":
        return Alternative(lambda line: line == b"")
    parts = pattern_parts(pattern)
    if any(name != "_" for name in parts[1::2]):
        raise ParseError("invalid pattern: named captures are not allowed in line filters")
    texts = [part.encode() for part in parts[::2]]
    ends_in_capture = len(texts) > 1 and not texts[-1]

    def test(line: bytes) -> bool:
        position = 0
        for index, text in enumerate(texts):
            if not text:
                continue  # only before the first and after the last capture
            found = line.find(text, position)
            if found < 0 or (index and found == position):  # a capture between two texts is never empty
                return False
            position = found + len(text)
        # The last text ends the line; a capture after it takes at least one byte.
        return ends_in_capture == (position != len(line))

    longest = max(texts, key=len)
    if not longest or b"\n" in longest:
        return Alternative(test)
    return Alternative(test, lambda block, start: block.find(longest, start))


def _address_alternative(text: str) -> Alternative:
    contains = network_test(text)
    return Alternative(lambda line: addresses(line, contains))


def line_filter(tree: ast.LineFilter) -> LineFilter:
    """The filter of one `|= ...`. Raises ParseError for a pattern or an address that is none."""
    alternatives = []
    for function, text in tree.alternatives:
        if function == "ip" and len(tree.alternatives) == 1:  # among others it is a text like them, as in Loki
            alternatives.append(_address_alternative(text))
        elif tree.op in ("|~", "!~"):
            alternatives.append(regex_alternative(text))
        elif tree.op in ("|>", "!>"):
            alternatives.append(_pattern_alternative(text))
        else:
            alternatives.append(text_alternative(text))
    return LineFilter(tuple(alternatives), tree.op[0] == "|")


def matching_lines(block: bytes, starts: Any, filter_: LineFilter) -> list[int] | None:
    """Indexes of the lines that match, found by searching the block as a whole; None if that cannot be done.

    `starts[i]` is the offset of line i, each ended by a newline, and starts[-1] is the block's end. A search may run
    over the end of a line; so a hit is tested on its line unless it is exact, and the search goes on with the next one.
    No match is missed: it begins in its own line, and the search skips no line's beginning.
    """
    found: set[int] = set()
    for alternative in filter_.alternatives:
        find, test = alternative.find, alternative.test
        if alternative.needle and (not alternative.folded or _folds(block, alternative.needle)):
            text = block.lower() if alternative.folded else block
            found.update(_holding(text, starts, alternative.needle))
            continue
        if find is None:
            return None
        position = find(block, 0)
        while position >= 0:
            index = bisect_right(starts, position) - 1
            if index >= len(starts) - 1:
                break
            if index not in found and test(block[starts[index] : starts[index + 1] - 1]):
                found.add(index)
            position = find(block, starts[index + 1])
    if filter_.positive:
        return sorted(found)
    return [index for index in range(len(starts) - 1) if index not in found]


def _folds(block: bytes, needle: bytes) -> bool:
    """Whether lower case is all there is to it: U+017F and U+212A are an s and a k to RE2."""
    return block.isascii() or not set(needle) & set(b"ks")


def _holding(block: bytes, starts: Any, needle: bytes) -> Iterator[int]:
    """The indexes of the lines that hold a text: where the block splits at it."""
    position, index, last = 0, 0, len(starts) - 1
    for piece in block.split(needle)[:-1]:
        position += len(piece)
        if position >= starts[index]:
            index = bisect_right(starts, position, index, last)
            yield index - 1
        position += len(needle)
