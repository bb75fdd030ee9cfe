"""A template's text: its pieces, and the tokens of its actions. Everything is read once, from left to right."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from logstore.logql.errors import ParseError

# What may stand in an action, piece by piece. A quote that is not closed is no piece.
_PART = re.compile(r"""[^}"'`]++|\}(?!\})|"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'|`[^`]*+`""", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*+(?:(?P<string>"(?:[^"\\\n]|\\.)*+"|`[^`]*+`)|(?P<char>'(?:[^'\\]|\\.)')
    |(?P<number>[+-]?(?:0[xX][0-9a-fA-F]++|\d++(?:\.\d*+)?(?:[eE][+-]?\d++)?|\.\d++))
    |(?P<field>(?:\.[A-Za-z_]\w*+)++)|(?P<variable>\$\w*+(?:\.[A-Za-z_]\w*+)*+)|(?P<dot>\.)
    |(?P<word>[A-Za-z_]\w*+)|(?P<symbol>:=|=|\||\(|\)|,))""",
    re.VERBOSE,
)
_MOST_PIECES = 20_000


class Token(NamedTuple):
    """A piece of a template, or of an action: its kind, its text, and where that begins."""

    kind: str
    text: str
    place: int = 0


def bad(message: str) -> ParseError:
    """What is wrong with a template."""
    return ParseError(f"invalid line template: template: line:1: {message}")


def pieces(source: str) -> list[Token]:
    """Text and actions in turn; comments are left out, and blanks where an action trims them. Raises ParseError."""
    found: list[Token] = []
    position, trim = 0, False
    while True:
        start = source.find("{{", position)
        text = source[position:] if start < 0 else source[position:start]
        if trim:
            text = text.lstrip()
        if start < 0:
            found.append(Token("text", text))
            return found
        inside = start + 2
        if source.startswith("-", inside) and source[inside + 1 : inside + 2].isspace():
            text = text.rstrip()
            inside += 2
        body, trim, position = _comment(source, inside) if source.startswith("/*", inside) else _action(source, inside)
        found.append(Token("text", text))
        if body is not None:
            found.append(Token("action", body.strip(), inside + len(body) - len(body.lstrip())))
        if len(found) > _MOST_PIECES:
            raise bad(f"more than {_MOST_PIECES} pieces")


def _comment(source: str, start: int) -> tuple[None, bool, int]:
    end = source.find("*/", start)
    if end < 0:
        raise bad("unclosed comment")
    for closing in ("}}", " -}}"):
        if source.startswith(closing, end + 2):
            return None, closing != "}}", end + 2 + len(closing)
    raise bad("comment ends before closing delimiter")


def _action(source: str, start: int) -> tuple[str, bool, int]:
    position = start
    while not source.startswith("}}", position):
        part = _PART.match(source, position)
        if part is None:
            raise bad("unclosed action")
        position = part.end()
    body = source[start:position]
    trim = body.endswith("-") and body[-2:-1].isspace()
    return body[:-1] if trim else body, trim, position + 2


def tokens(text: str, place: int = 0) -> list[Token]:
    """Of an action, or a part of one that begins at `place`. Raises ParseError."""
    found: list[Token] = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise bad(f"unexpected {text[position]!r} in operand")
        kind = match.lastgroup
        found.append(Token(kind, match[kind], place + match.start(kind)))
        position = match.end()
    return found


def fields(source: str) -> Iterator[str]:
    """The names of fields that a template looks at; none if it is no template."""
    try:
        for piece in pieces(source):
            for token in tokens(piece.text) if piece.kind == "action" else ():
                if token.kind in ("field", "variable"):
                    yield from token.text.split(".")[1:]
    except ParseError:
        return


def shown(found: Sequence[Token]) -> str:
    """A command's tokens as Go writes them down again: a blank between any two that no parenthesis holds together."""
    text = ""
    for before, token in zip((None, *found), found, strict=False):
        tight = before is None or before.text == "(" or token.text == ")"
        text += token.text if tight else f" {token.text}"
    return text


def place_in(source: str, name: str, place: int) -> str:
    """Where something is, as Go says it: the template's name, the line, and the bytes in front of it."""
    before = source[:place]
    line = before.rpartition("\n")[2]
    return f"{name}:{1 + before.count(chr(10))}:{len(line.encode(errors='replace'))}"
