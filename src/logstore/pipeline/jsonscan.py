"""A lenient look at JSON, for lines that are none: what can be read up to the first fault, and what the fault is.

Loki's parser checks nothing that it need not look at, so clients see the labels in front of a fault, and its kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

_BLANKS = re.compile(rb"[ \n\r\t]*")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_WORD = re.compile(rb"[^ \n\r\t,}\]]*")
_BRACKETS = {
    b"{"[0]: (re.compile(rb'"(?:[^"\\]|\\.)*"|["{}]', re.DOTALL), b"{", b"}"),
    b"["[0]: (re.compile(rb'"(?:[^"\\]|\\.)*"|["\[\]]', re.DOTALL), b"[", b"]"),
}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})(?:\\u([0-9a-fA-F]{4}))?|(.?))", re.DOTALL)
_PLAIN_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the fast parser raises for what it cannot read: no JSON, no UTF-8, or nested too deeply."""
NO_OBJECT = "Value looks like object, but can't find closing '}' symbol"
NO_ARRAY = "Value is array, but can't find closing ']' symbol"
NO_STRING = "Value is string, but can't find closing '\"' symbol"
NO_JSON = "Malformed JSON error"
NO_VALUE = "Unknown value type"
NO_ESCAPE = "Encountered an invalid escape sequence in a string"


class JsonError(ValueError):
    """What is wrong, as clients are told; in the value of `key`, if it is that."""

    key = ""


def _unescape(match: re.Match[str]) -> str:
    first, second, plain = match.groups()
    if first is None:
        if plain not in _PLAIN_ESCAPES:
            raise JsonError(NO_ESCAPE)
        return _PLAIN_ESCAPES[plain]
    code = int(first, 16)
    if not 0xD800 <= code <= 0xDFFF:
        return chr(code) + (_ESCAPE.sub(_unescape, f"\\u{second}") if second else "")
    if second is None or int(second, 16) < 0xDC00 or code >= 0xDC00:
        raise JsonError(NO_ESCAPE)
    return chr(0x10000 + ((code - 0xD800) << 10) + ((int(second, 16) - 0xDC00) & 0x3FF))


def unescape(text: bytes) -> str:
    """The text between the quotes of a string. Raises JsonError for an escape that is none."""
    shown = text.decode(errors="replace")
    if "\\" in shown:
        shown = _ESCAPE.sub(_unescape, shown)
    return shown


def _skip(data: bytes, position: int) -> int:
    match = _BLANKS.match(data, position)
    assert match is not None
    return match.end()


def _value(data: bytes, position: int) -> int:
    """The end of the value that begins here, with nothing in it checked that need not be."""
    first = data[position]
    if first == 0x22:  # "
        string = _STRING.match(data, position)
        if string is None:
            raise JsonError(NO_STRING)
        return string.end()
    if first in _BRACKETS:
        tokens, opening, closing = _BRACKETS[first]
        depth = 0
        for token in tokens.finditer(data, position):
            if token[0] == b'"':
                break
            depth += (token[0] == opening) - (token[0] == closing)
            if not depth:
                return token.end()
        raise JsonError(NO_OBJECT if opening == b"{" else NO_ARRAY)
    word = _WORD.match(data, position)
    assert word is not None
    if first not in b"0123456789-" and word[0] not in (b"true", b"false", b"null"):
        raise JsonError(NO_VALUE)
    return word.end()


def pairs(data: bytes) -> Iterator[tuple[str, bytes]]:  # noqa: C901 - one check per place where it may end
    """Keys and raw values of an object; JsonError where it stops being one. What follows it is not looked at."""
    position, end = _skip(data, 0), len(data)
    if position >= end or data[position] != 0x7B:  # {
        raise JsonError(NO_OBJECT)
    position = _skip(data, position + 1)
    if position >= end:
        raise JsonError(NO_JSON)
    while data[position] != 0x7D:  # }
        if data[position] != 0x22:  # "
            raise JsonError(NO_OBJECT)
        key = _STRING.match(data, position)
        if key is None:
            raise JsonError(NO_JSON)
        name = unescape(key[0][1:-1])
        position = _skip(data, key.end())
        if position >= end or data[position] != 0x3A:  # :
            raise JsonError(NO_JSON)
        position = _skip(data, position + 1)
        if position >= end:
            raise JsonError(NO_JSON)
        try:
            after = _value(data, position)
        except JsonError as error:
            error.key = name
            raise
        yield name, data[position:after]
        position = _skip(data, after)
        if position >= end:
            raise JsonError(NO_ARRAY)
        if data[position] == 0x2C:  # ,
            position = _skip(data, position + 1)
            if position >= end:
                raise JsonError(NO_ARRAY)
        elif data[position] != 0x7D:
            raise JsonError(NO_OBJECT)
