"""The level of a line, as Loki detects it: from labels, structured metadata, JSON or logfmt fields, else from words."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from operator import attrgetter

import msgspec

from rectbot.logs.pipeline import jsonscan
from rectbot.logs.pipeline.entry import Entry, with_metadata
from rectbot.logs.pipeline.logfmt import logfmt_pairs
from rectbot.logs.pipeline.parsers import two_objects

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
_FIELD_ORDER = {name.lower(): place for place, name in reversed(list(enumerate(FIELDS)))}
_Fields = msgspec.defstruct("_Fields", [(f"f{i}", msgspec.Raw, msgspec.Raw(b"")) for i in range(len(FIELDS))],
                            rename={f"f{i}": name for i, name in enumerate(FIELDS)})  # fmt: skip
_JSON = msgspec.json.Decoder(_Fields)
_FIRST = attrgetter("f0")


def _from_json(line: bytes) -> str:
    try:
        fields = [bytes(raw) for raw in msgspec.structs.astuple(_JSON.decode(line))]
    except (msgspec.DecodeError, UnicodeDecodeError):
        found: dict[str, bytes] = {}
        with contextlib.suppress(jsonscan.JsonError):
            for key, raw in jsonscan.pairs(line):
                found.setdefault(key, raw)
        fields = [found.get(name, b"") for name in FIELDS]
    return next((raw.strip(b'"').decode(errors="replace") for raw in fields if raw), "")


def _from_logfmt(line: bytes) -> str:
    """The pair whose key comes first among the fields; nothing behind a fault is looked at."""
    best, value = len(FIELDS), ""
    for pair in logfmt_pairs(line):
        if isinstance(pair, str):
            break
        place = _FIELD_ORDER.get(pair[0].lower(), best)
        if place < best:
            best, value = place, pair[1]
    return value


def _from_words(line: bytes) -> str:
    for level, words in _WORDS:
        if any(word in line for word in words):
            return level
    return "unknown"


def detect_in_line(line: bytes) -> str:
    """From the line alone."""
    value = ""
    if line.lstrip()[:1] == b"{" and line.rstrip()[-1:] == b"}":
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
                return source[name]
    return detect_in_line(line)


def entry_of(labels: dict[str, str], metadata: dict[str, str] | None, time: int, line: bytes) -> Entry:
    """A line of a stream with these labels, with all labels that it has before any parser."""
    found = with_metadata(labels, metadata)
    if LABEL not in found and (level := detect(labels, metadata, line)):
        found[LABEL] = level
    return Entry(time, line, found, labels, found.keys() - labels.keys())
