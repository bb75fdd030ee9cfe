"""Stages that find labels in a line: json, logfmt, regexp, pattern, unpack."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Container, Iterable, Iterator

import msgspec

from logstore.logql import ast
from logstore.logql.errors import ParseError
from logstore.logql.regex import byte_search, compile_
from logstore.pipeline import jsonscan
from logstore.pipeline.entry import Entry, Stage
from logstore.pipeline.hints import ALL
from logstore.pipeline.jsonscan import JsonError
from logstore.pipeline.keys import sanitize, underscored
from logstore.pipeline.lines import pattern_parts
from logstore.pipeline.logfmt import logfmt_pairs

# Values stay raw, because a label holds a number as it was written: 1.50, not 1.5.
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_ANY = msgspec.json.Decoder(msgspec.Raw)
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_NESTED = 1 << 20  # bytes of objects in objects in objects, of one line
_LEAST_NESTED = _MOST_NESTED >> 6  # that one counts for: never more than 64 in each other
_TWO_OBJECTS = byte_search(rb"\}[ \t\r]*\{")


def two_objects(text: bytes) -> bool:
    """Whether a line may hold two objects, where the C parser would not mind."""
    return _TWO_OBJECTS(text) is not None


def scalar(raw: bytes) -> str | None:
    """The text of a raw JSON value that is no object and no array; None for those and for null."""
    first = raw[0]
    if first == 0x22:  # "
        try:
            text = jsonscan.unescape(raw[1:-1])
        except JsonError:
            return ""
        return text.replace("\ufffd", " ") if "\ufffd" in text else text
    return None if first in b"{[n" else raw.decode(errors="replace")


def flatten(text: bytes, prefix: str = "", room: int = _MOST_NESTED) -> Iterator[tuple[str, str]]:
    """Label names and values of an object; nested keys are joined by underscores, arrays left out.

    Nested objects are read again, at each depth; so those are left out with which that would be more than `room` bytes.
    Raises JsonError, after what can be read, for what is no JSON object.
    """
    for key, raw in _members(text):
        name = _joined(prefix, key)
        if raw[0] == 0x7B:  # {
            if (left := room - max(len(raw), _LEAST_NESTED)) >= 0:
                yield from flatten(raw, name, left)
        elif name and (found := scalar(raw)) is not None:
            yield name, found


def _members(text: bytes) -> Iterable[tuple[str, bytes]]:
    """By the fast parser where it surely sees the same: all of the text is JSON, and no key is there twice."""
    try:
        document = _OBJECT.decode(text)
    except jsonscan.UNREADABLE:
        return jsonscan.pairs(text)
    if _repeats(text, document):
        return jsonscan.pairs(text)
    return [(key, bytes(value)) for key, value in document.items()]


def _joined(prefix: str, key: str) -> str:
    return sanitize(key) if not prefix else prefix + "_" + underscored(key) if key.strip() else prefix


_ESCAPED_KEY = byte_search(rb'\\(?:u[0-9a-fA-F]{4}|[^u])[^"]*"[ \t\r\n]*:')
_MANY_KEYS = 64  # of one object, from which on it is not worth looking for each of them


def _repeats(line: bytes, document: dict[str, msgspec.Raw]) -> bool:
    """Whether a key may be there twice: a dict holds the last of them, but Loki takes the first."""
    if len(document) > _MANY_KEYS or (b"\\" in line and _ESCAPED_KEY(line) is not None):
        return True
    return any(line.count(b'"%b"' % key.encode()) > 1 for key in document)


def _json(entry: Entry) -> bool:
    entry.begin()
    if entry.satisfied:
        return True
    try:
        if entry.hints is ALL:  # the usual case need not look whether it has enough
            for name, value in flatten(entry.line):
                entry.extract(name, value)
            return True
        for name, value in flatten(entry.line):
            entry.extract(name, value)
            if entry.satisfied:
                break
    except JsonError as error:
        entry.fail_parsing("JSONParserErr", str(error))
    return True


_STEP = re.compile(r"""\.?([A-Za-z_][A-Za-z0-9_]*)|\[\s*(\d+)\s*\]|\[\s*("(?:[^"\\]|\\.)*")\s*\]""")


def json_path(expression: str) -> list[str | int]:
    """The steps of `a.b[0]["c d"]`. Raises ParseError."""
    steps: list[str | int] = []
    position = 0
    while position < len(expression):
        match = _STEP.match(expression, position)
        if match is None or (position == 0 and expression[0] == "."):
            raise ParseError(f"cannot parse expression [{expression}]: syntax error: unexpected {expression[position]}")
        name, index, quoted = match.groups()
        steps.append(name if name is not None else int(index) if index is not None else _TEXT.decode(quoted))
        position = match.end()
    if not steps:
        raise ParseError("cannot parse expression []: syntax error: unexpected $end")
    return steps


def _follow(raw: bytes, path: list[str | int]) -> str | None:
    """The text of what is at the path; None if nothing is."""
    for step in path:
        if isinstance(step, str) and raw[:1] == b"{":
            raw = _member(raw, step)
        elif isinstance(step, int) and raw[:1] == b"[":
            raw = _item(raw, step)
        else:
            return None
    if not raw:
        return None
    return raw.decode(errors="replace") if raw[:1] in (b"{", b"[") else scalar(raw) or ""


def _member(raw: bytes, wanted: str) -> bytes:
    with contextlib.suppress(JsonError):
        for key, value in _members(raw):
            if key == wanted:
                return value
    return b""


def _item(raw: bytes, place: int) -> bytes:
    try:
        items = _LIST.decode(raw)
    except jsonscan.UNREADABLE:
        return b""
    return bytes(items[place]) if place < len(items) else b""


def _json_expressions(expressions: tuple[tuple[str, str], ...]) -> Stage:
    paths = [(name, json_path(expression)) for name, expression in expressions]
    first = {path[0] for _, path in paths if len(path) == 1}

    def stage(entry: Entry) -> bool:
        line = entry.line
        if not line or entry.satisfied:
            return True
        if line[0] not in b'"{[':
            entry.fail_parsing("JSONParserErr", "")
            return True
        if (fault := _fault(line, first)) is not None:
            entry.fail_parsing("JSONParserErr", fault)
        for name, path in paths:
            found = _follow(line, path)
            if found is not None:
                entry.extract_asked(name, found)
        for name, _ in paths:
            if name not in entry.labels:
                entry.assign(name, "")
        return True

    return stage


def _fault(line: bytes, wanted: Container[str | int]) -> str | None:
    """What is wrong with a line, if it is the value of a wanted key: nothing else is looked at."""
    try:
        _ANY.decode(line)
    except jsonscan.UNREADABLE:
        try:
            for _ in jsonscan.pairs(line):
                pass
        except JsonError as error:
            return str(error) if error.key in wanted else None
    return None


def _logfmt(strict: bool, keep_empty: bool) -> Stage:
    def stage(entry: Entry) -> bool:
        entry.begin()
        if entry.satisfied:
            return True
        for pair in logfmt_pairs(entry.line):
            if isinstance(pair, str):
                if strict:
                    entry.fail_parsing("LogfmtParserErr", pair)
                    break
                continue
            key, value = pair
            name = sanitize(key)
            if name and (value or keep_empty):
                entry.extract(name, value.replace("\ufffd", " "))
                if entry.hints is not ALL and entry.satisfied:
                    break
        return True

    return stage


def _logfmt_expressions(tree: ast.Logfmt) -> Stage:  # noqa: C901
    for _, source in tree.expressions:
        if not _KEY.fullmatch(source):
            raise ParseError(f"cannot parse expression [{source}]: syntax error: unexpected {source[:1] or '$end'}")
    names = {name for name, _ in tree.expressions}
    sources = {source: name for name, source in tree.expressions}

    def stage(entry: Entry) -> bool:
        if entry.satisfied:
            return True
        for name in names:
            if name not in entry.taken:
                entry.assign(name, "")
        for pair in logfmt_pairs(entry.line):
            if isinstance(pair, str):
                if tree.strict:
                    entry.fail_parsing("LogfmtParserErr", pair)
                    break
                continue
            key, value = pair
            name = sanitize(key)
            name = sources.get(name, name)
            if name in names:
                entry.extract_asked(name, "" if "\ufffd" in value else value)
        return True

    return stage


def _regexp(pattern: str) -> Stage:
    compiled = compile_(pattern)
    groups = sorted((index, name) for name, index in compiled.groupindex.items())
    search = compiled.search

    def stage(entry: Entry) -> bool:
        entry.begin()
        match = search(entry.line)
        if match is not None:
            for index, name in groups:
                entry.extract(name, (match.group(index) or b"").decode(errors="replace"))
        return True

    return stage


def _pattern(pattern: str) -> Stage:  # noqa: C901
    parts = pattern_parts(pattern)
    if len(parts) == 1 or all(name == "_" for name in parts[1::2]):
        raise ParseError(f"invalid pattern: at least one capture is required: {pattern}")
    names = [name for name in parts[1::2] if name != "_"]
    if len(set(names)) != len(names):
        raise ParseError(f"invalid pattern: duplicate capture name: {pattern}")
    texts = [part.encode() for part in parts[::2]]
    captures = list(zip(parts[1::2], texts[1:], strict=True))

    def stage(entry: Entry) -> bool:
        entry.begin()
        line, position = entry.line, 0
        if not line or entry.satisfied:
            return True
        if texts[0]:
            if not line.startswith(texts[0]):
                return True
            position = len(texts[0])
        for name, text in captures:
            end = line.find(text, position) if text else len(line)
            if end < 0:  # the rest of the line belongs to the capture, and nothing follows
                end, text = len(line), b""  # noqa: PLW2901
                if name != "_":
                    entry.extract(name, line[position:end].decode(errors="replace"))
                return True
            if name != "_":
                entry.extract(name, line[position:end].decode(errors="replace"))
            position = end + len(text)
        return True

    return stage


def _unpack(entry: Entry) -> bool:
    entry.begin()
    if not entry.line or entry.satisfied:
        return True
    if entry.line[0] != 0x7B:  # {
        entry.fail_parsing("JSONParserErr", "expecting json object(6), but it is not")
        return True
    line: str | None = None
    labels = []
    try:
        for key, raw in _members(entry.line):
            if raw[0] != 0x22:  # "
                continue
            if key == "_entry":
                line = jsonscan.unescape(raw[1:-1])
            else:
                labels.append((sanitize(key), scalar(raw) or ""))
    except JsonError as error:
        entry.fail_parsing("JSONParserErr", str(error))
        return True
    if line is not None:
        entry.line = line.encode()
        for name, value in labels:
            entry.extract(name, value)
    return True


def parser(tree: ast.Json | ast.Logfmt | ast.Regexp | ast.Pattern | ast.Unpack) -> Stage:
    """The stage of a parser. Raises ParseError for patterns and expressions that are none."""
    if isinstance(tree, ast.Json):
        return _json_expressions(tree.expressions) if tree.expressions else _json
    if isinstance(tree, ast.Logfmt):
        return _logfmt_expressions(tree) if tree.expressions else _logfmt(tree.strict, tree.keep_empty)
    if isinstance(tree, ast.Regexp):
        return _regexp(tree.pattern)
    if isinstance(tree, ast.Pattern):
        return _pattern(tree.pattern)
    return _unpack
