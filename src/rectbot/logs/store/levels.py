"""The level of a line, as Loki detects it: from labels, structured metadata, JSON or logfmt fields, else from words."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import msgspec

from rectbot.logs.pipeline.entry import Entry, with_metadata
from rectbot.logs.pipeline.parsers import logfmt_pairs, two_objects

LABEL = "detected_level"
FIELDS = ("level", "LEVEL", "Level", "severity", "SEVERITY", "Severity", "lvl", "LVL", "Lvl", "severity_text")
_NAMES = {
    "trace": "trace",
    "trc": "trace",
    "debug": "debug",
    "dbg": "debug",
    "info": "info",
    "inf": "info",
    "information": "info",
    "warn": "warn",
    "wrn": "warn",
    "warning": "warn",
    "error": "error",
    "err": "error",
    "critical": "critical",
    "fatal": "fatal",
}
_WORDS: tuple[tuple[str, tuple[bytes, ...]], ...] = (
    ("info", (b"info", b"INFO")),
    ("error", (b"err:", b"ERR:", b"error", b"ERROR")),
    ("warn", (b"warn:", b"WARN:", b"warning", b"WARNING")),
    ("critical", (b"CRITICAL:", b"critical:")),
    ("debug", (b"debug:", b"DEBUG:")),
)
_FIELD_SET = frozenset(name.lower() for name in FIELDS)
_Fields = msgspec.defstruct("_Fields", [(f"f{i}", msgspec.Raw, msgspec.Raw(b"")) for i in range(len(FIELDS))],
                            rename={f"f{i}": name for i, name in enumerate(FIELDS)})  # fmt: skip
_JSON = msgspec.json.Decoder(_Fields)
_FIRST = attrgetter("f0")


def normalized(value: str) -> str:
    """A level's usual name; what is none stays as it is."""
    return _NAMES.get(value.lower(), value)


def _from_json(line: bytes) -> str:
    try:
        fields = msgspec.structs.astuple(_JSON.decode(line))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    for raw in fields:
        value = bytes(raw)
        if value:
            return value.strip(b'"').decode(errors="replace")
    return ""


def _from_logfmt(line: bytes) -> str:
    for pair in logfmt_pairs(line):
        if not isinstance(pair, str) and pair[0].lower() in _FIELD_SET:
            return pair[1]
    return ""


def _from_words(line: bytes) -> str:
    for level, words in _WORDS:
        if any(word in line for word in words):
            return level
    return "unknown"


def detect_in_line(line: bytes) -> str:
    """From the line alone."""
    value = ""
    if line[:1] == b"{" or line.lstrip()[:1] == b"{":
        value = _from_json(line)
    elif b"=" in line:
        value = _from_logfmt(line)
    return _NAMES.get(value.lower()) or _from_words(line)


def detect_in_lines(text: bytes, lines: Sequence[bytes]) -> list[str]:
    """The levels of lines, of which `text` is made: each is ended by the only newline that it holds."""
    try:
        values = [bytes(value) for value in map(_FIRST, _JSON.decode_lines(text))]
    except (msgspec.DecodeError, UnicodeDecodeError):
        values = []
    if len(values) != len(lines) or two_objects(text):
        return list(map(detect_in_line, lines))
    known = {value: _NAMES.get(value.strip(b'"').lower().decode(errors="replace"), "") for value in set(values)}
    return [known[value] or detect_in_line(line) for value, line in zip(values, lines, strict=True)]


def detect(labels: dict[str, str], metadata: dict[str, str] | None, line: bytes) -> str:
    """The level of a line of a stream with these labels."""
    for source in (labels, metadata or {}):
        for name in FIELDS:
            if name in source:
                return normalized(source[name])
    return detect_in_line(line)


def entry_of(labels: dict[str, str], metadata: dict[str, str] | None, time: int, line: bytes) -> Entry:
    """A line of a stream with these labels, with all labels that it has before any parser."""
    found = with_metadata(labels, metadata)
    found.setdefault(LABEL, detect(labels, metadata, line))
    return Entry(time, line, found, frozenset(found))
