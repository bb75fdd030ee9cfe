"""Stages that find labels in a line: json, logfmt, regexp, pattern, unpack."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec

from rectbot.logs.logql import ast
from rectbot.logs.logql.errors import ParseError
from rectbot.logs.logql.regex import byte_search, compile_
from rectbot.logs.pipeline.entry import Entry, Stage
from rectbot.logs.pipeline.lines import pattern_parts

# Values stay raw, because a label holds a number as it was written: 1.50, not 1.5.
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_BAD = re.compile(r"[^a-zA-Z0-9_]")
_DEEPEST = 64  # nested objects
_TWO_OBJECTS = byte_search(rb"\}[ \t\r]*\{")


def two_objects(text: bytes) -> bool:
    """Whether a line may hold two objects, where the C parser would not mind."""
    return _TWO_OBJECTS(text) is not None


@lru_cache(maxsize=4096)
def sanitize(key: str) -> str:
    """A key as a label name: what a name may not hold becomes an underscore."""
    key = key.strip()
    if key[:1].isascii() and key[:1].isdigit():
        key = "_" + key
    return _BAD.sub("_", key)


def scalar(raw: bytes) -> str | None:
    """The text of a raw JSON value that is no object and no array; None for those and for null."""
    first = raw[0]
    if first == 0x22:  # "
        text = _TEXT.decode(raw) if b"\\" in raw else raw[1:-1].decode(errors="replace")
        return text.replace("\ufffd", " ") if "\ufffd" in text else text
    return None if first in b"{[n" else raw.decode()


def flatten(text: bytes, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Label names and values of an object; nested keys are joined by underscores, arrays left out.

    Raises ValueError for what is no JSON object.
    """
    document = _OBJECT.decode(text)
    if _repeats(text, document):
        yield from _flatten_all(_ALL_PAIRS.decode(text.decode()), prefix, depth)
        return
    for key, value in document.items():
        raw = bytes(value)
        name = _joined(prefix, key)
        if raw[0] == 0x7B and depth < _DEEPEST:  # {
            yield from flatten(raw, name, depth + 1)
        elif name and (found := scalar(raw)) is not None:
            yield name, found


def _joined(prefix: str, key: str) -> str:
    return sanitize(key) if not prefix else prefix + "_" + _BAD.sub("_", key) if key.strip() else prefix


class _Pairs(list[tuple[str, Any]]):
    """An object with all its keys, even those that are there twice."""


class _Number(str):
    """A number as it was written."""


_ALL_PAIRS = json.JSONDecoder(object_pairs_hook=_Pairs, parse_float=_Number, parse_int=_Number)
_ESCAPED_KEY = re.compile(rb'\\(?:u[0-9a-fA-F]{4}|[^u])[^"]*"\s*:')


def _repeats(line: bytes, document: dict[str, msgspec.Raw]) -> bool:
    """Whether a key may be there twice: a dict holds the last of them, but Loki takes the first."""
    if b"\\" in line and _ESCAPED_KEY.search(line) is not None:
        return True
    return any(line.count(b'"%b"' % key.encode()) > 1 for key in document)


def _flatten_all(document: _Pairs, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    for key, value in document:
        name = _joined(prefix, key)
        if isinstance(value, _Pairs) and depth < _DEEPEST:
            yield from _flatten_all(value, name, depth + 1)
        elif name and isinstance(value, bool):
            yield name, "true" if value else "false"
        elif name and isinstance(value, str):
            yield name, str(value).replace("\ufffd", " ")


def _json(entry: Entry) -> bool:
    try:
        for name, value in flatten(entry.line):
            entry.extract(name, value)
    except (ValueError, RecursionError):  # msgspec's errors, json's and those of UTF-8 are of that kind
        entry.fail("JSONParserErr", "Value looks like object, but can't find closing '}' symbol")
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


def _follow(raw: bytes, path: list[str | int]) -> str:
    for step in path:
        if isinstance(step, str) and raw[:1] == b"{":
            raw = bytes(_OBJECT.decode(raw).get(step, b""))
        elif isinstance(step, int) and raw[:1] == b"[":
            items = _LIST.decode(raw)
            raw = bytes(items[step]) if step < len(items) else b""
        else:
            raw = b""
        if not raw:
            return ""
    if raw[:1] in (b"{", b"["):
        return raw.decode()
    return scalar(raw) or ""


def _json_expressions(expressions: tuple[tuple[str, str], ...]) -> Stage:
    paths = [(name, json_path(expression)) for name, expression in expressions]

    def stage(entry: Entry) -> bool:
        line = entry.line.strip()
        try:
            _OBJECT.decode(line)
            for name, path in paths:
                entry.extract(name, _follow(line, path))
        except (msgspec.DecodeError, UnicodeDecodeError):
            entry.fail("JSONParserErr", "Unknown value type")
            for name, _ in paths:
                entry.extract(name, "")
        return True

    return stage


# A key, and its value: quoted, or up to the next blank. What stands between pairs without a key is skipped.
_PAIR = re.compile(
    rb'[\x00-\x20]*([^\x00-\x20="]+)(?:=(?:"((?:[^"\\]|\\.)*)"(?=[\x00-\x20]|\Z)|([^\x00-\x20"]*)(?=[\x00-\x20]|\Z)))?'
)
_WORD = re.compile(rb"[\x00-\x20]*[^\x00-\x20]*")


def logfmt_pairs(line: bytes) -> Iterator[tuple[str, str] | str]:
    """Keys and values of a line; a string instead says what is wrong at that place."""
    position, end = 0, len(line.rstrip())
    while position < end:
        match = _PAIR.match(line, position)
        if match is None or (match.end() < end and line[match.end()] > 0x20):
            word = _WORD.match(line, position)
            assert word is not None
            yield f"logfmt syntax error at pos {position + 1} : unexpected '\"'"
            position = max(word.end(), position + 1)
            continue
        key, quoted, plain = match.groups()
        value = (quoted if quoted is not None else plain or b"").decode(errors="replace").replace("\ufffd", " ")
        if quoted is not None and "\\" in value:
            value = _unescape(value)
        yield key.decode(errors="replace"), value
        position = match.end()


def _unescape(value: str) -> str:
    try:
        return _TEXT.decode(f'"{value}"'.encode())
    except msgspec.DecodeError:
        return value


def _logfmt(strict: bool, keep_empty: bool) -> Stage:
    def stage(entry: Entry) -> bool:
        for pair in logfmt_pairs(entry.line):
            if isinstance(pair, str):
                if strict:
                    entry.fail("LogfmtParserErr", pair)
                    break
                continue
            key, value = pair
            name = sanitize(key)
            if name and (value or keep_empty):
                entry.extract(name, value)
        return True

    return stage


def _logfmt_expressions(tree: ast.Logfmt) -> Stage:
    sources = {source: name for name, source in tree.expressions}

    def stage(entry: Entry) -> bool:
        missing = {name for name, _ in tree.expressions}
        for pair in logfmt_pairs(entry.line):
            if isinstance(pair, str):
                if tree.strict:
                    entry.fail("LogfmtParserErr", pair)
                    return True
                continue
            key, value = pair
            name = sources.get(key) or sources.get(sanitize(key))
            if name is not None and (value or tree.keep_empty):
                entry.extract(name, value)
                missing.discard(name)
        if tree.keep_empty:
            for name in missing:
                entry.extract(name, "")
        return True

    return stage


def _regexp(pattern: str) -> Stage:
    compiled = compile_(pattern)
    groups = sorted((index, name) for name, index in compiled.groupindex.items())
    search = compiled.search

    def stage(entry: Entry) -> bool:
        match = search(entry.line)
        if match is not None:
            for index, name in groups:
                entry.extract(name, (match.group(index) or b"").decode(errors="replace"))
        return True

    return stage


def _pattern(pattern: str) -> Stage:
    parts = pattern_parts(pattern)
    if len(parts) == 1 or all(name == "_" for name in parts[1::2]):
        raise ParseError(f"invalid pattern: at least one capture is required: {pattern}")
    names = [name for name in parts[1::2] if name != "_"]
    if len(set(names)) != len(names):
        raise ParseError(f"invalid pattern: duplicate capture name: {pattern}")
    texts = [part.encode() for part in parts[::2]]
    captures = list(zip(parts[1::2], texts[1:], strict=True))

    def stage(entry: Entry) -> bool:
        line, position = entry.line, 0
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
    if not entry.line:
        return True
    try:
        document = _OBJECT.decode(entry.line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        entry.fail("JSONParserErr", "expecting json object(6), but it is not")
        return True
    packed = "_entry" in document
    for key, value in document.items():
        raw = bytes(value)
        if raw[:1] != b'"':
            continue
        text = scalar(raw) or ""
        if key == "_entry":
            entry.line = text.encode()
        elif packed:
            entry.extract(sanitize(key), text)
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
