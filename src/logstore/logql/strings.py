"""String literals of LogQL: Go's double quoted strings with escapes, and raw strings in backticks."""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}


def unquote(literal: str) -> str:
    """The value of a literal. Raises ValueError for an unknown escape."""
    if literal[0] == "`":
        return literal[1:-1].replace("\r", "")
    body = literal[1:-1]
    if "\\" not in body:
        return body
    # Escapes name bytes (\xff, \377) or code points; working in Latin-1 of UTF-8 lets both meet.
    text = _ESCAPE.sub(_unescape, body.encode().decode("latin-1"))
    return text.encode("latin-1").decode("utf-8", errors="replace")


def _unescape(match: re.Match[str]) -> str:
    escape = match[1]
    kind = escape[0]
    if kind == "x" and len(escape) == 3:
        return chr(int(escape[1:], 16))
    if kind in "uU" and len(escape) > 1:
        return chr(int(escape[1:], 16)).encode("utf-8").decode("latin-1")
    if len(escape) == 3:
        return chr(int(escape, 8) & 0xFF)
    if escape in _SIMPLE:
        return _SIMPLE[escape]
    raise ValueError("invalid syntax")
