"""Text from outside, fit for a terminal: it can be read, and it commands nothing.

User names, job names, an event's reason, labels, log lines: anybody who may write into one of our stores chooses them.
So what is not printable is shown as an escape: control characters (C0, C1, DEL), which move the cursor or set the
clipboard; characters that turn the direction of reading or cannot be seen; and line ends where there is one line.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

from foundation.redaction import redact

_JOINERS = "\u200c\u200d"  # without them some scripts, and many emoji, fall apart
_COLOURS = re.compile(r"\x1b\[[0-9;:]{0,32}m")


def one_line(text: object) -> str:
    """The text as one line, without secrets."""
    return _visible(redact(str(text)), "")


def lines(text: object) -> str:
    """The text with its line ends and tabs, without secrets."""
    return _visible(redact(str(text)), "\n\t")


def uncoloured(text: str) -> str:
    """A log's text, as `lines`; colours that a program gave to it are left out."""
    return lines(_COLOURS.sub("", text).replace("\r\n", "\n"))


def as_json(value: object, indent: int | None = None) -> str:
    """JSON that may be shown: what a terminal would obey is escaped, as JSON allows for any character."""
    return lines(json.dumps(value, ensure_ascii=False, indent=indent))


def cleaned(value: Any) -> Any:
    """A structure as JSON has it, with each text in it as `one_line`."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, dict):
        return {cleaned(name): cleaned(each) for name, each in value.items()}
    if isinstance(value, list):
        return [cleaned(each) for each in value]
    return value


def _visible(text: str, kept: str) -> str:
    return text if text.isprintable() else "".join(_shown(character, kept) for character in text)


def _shown(character: str, kept: str) -> str:
    if character.isprintable() or character in kept or character in _JOINERS:
        return character
    if unicodedata.category(character) == "Zs":
        return character  # spaces of other widths
    if ord(character) < 0x20:
        return f"\\x{ord(character):02x}"
    units = character.encode("utf-16-be", errors="surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))  # JSON reads that, too
