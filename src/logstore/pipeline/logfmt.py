"""The pairs of a logfmt line, and where it breaks the rules."""

from __future__ import annotations

import re
from collections.abc import Iterator

from logstore.pipeline.jsonscan import JsonError, unescape

# A key, and its value: quoted, or up to the next blank. Blanks are all control characters, too.
_PAIR = re.compile(
    rb'[\x00-\x20]*([^\x00-\x20="]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^\x00-\x20"=]*)(?=[\x00-\x20]|\Z))|(?=[\x00-\x20]|\Z))',
    re.DOTALL,
)
_BLANKS = re.compile(rb"[\x00-\x20]*")
_TO_FAULT = re.compile(rb'[^\x00-\x20="]*(?:(?<=[^\x00-\x20="])=(?:"|[^\x00-\x20="]*))?')
_WORD = re.compile(rb"[^\x00-\x20]*")


def logfmt_pairs(line: bytes) -> Iterator[tuple[str, str] | str]:
    """Keys and values of a line; a string instead says what is wrong at that place, and what follows is read again."""
    position, end = 0, len(line)
    while position < end:
        match = _PAIR.match(line, position)
        if match is None:
            start = _skip(line, position)
            if start >= end:
                return
            fault, position = _fault(line, start)
            yield fault
            continue
        raw, quoted, plain = match.groups()
        position = match.end()
        key = raw.decode(errors="replace")
        if "\ufffd" in key:
            yield _error(match.end(1), "invalid key")
            continue
        value = quoted if quoted is not None else plain or b""
        if quoted is not None and b"\\" in quoted:
            try:
                yield key, unescape(quoted)
            except JsonError:
                yield _error(position, "invalid quoted value")
            continue
        yield key, value.decode(errors="replace")


def _skip(line: bytes, position: int) -> int:
    match = _BLANKS.match(line, position)
    assert match is not None
    return match.end()


def _error(position: int, text: str) -> str:
    return f"logfmt syntax error at pos {position + 1} : {text}"


def _fault(line: bytes, start: int) -> tuple[str, int]:
    """What is wrong with the pair that begins at `start`, and where to go on."""
    match = _TO_FAULT.match(line, start)
    assert match is not None
    place = match.end()
    if line[start:place].endswith(b'="'):
        return _error(len(line), "unterminated quoted value"), len(line)
    word = _WORD.match(line, place)
    assert word is not None
    character = chr(line[place]) if place < len(line) else ""
    return _error(place, f"unexpected '{character}'"), max(word.end(), start + 1)
