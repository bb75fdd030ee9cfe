"""The level of a line, as Loki detects it: from labels, structured metadata, JSON or logfmt fields, else from words."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import msgspec
import re2

from logstore.logql.regex import byte_search, latin1
from logstore.pipeline import jsonscan
from logstore.pipeline.entry import Entry, with_metadata
from logstore.pipeline.logfmt import logfmt_pairs
from logstore.pipeline.parsers import two_objects

LABEL = "detected_level"
FIELDS = ("level", "LEVEL", "Level", "severity", "SEVERITY", "Severity", "lvl", "LVL", "Lvl", "severity_text")
_ALL_FIELDS = frozenset(FIELDS)
_SEVERITIES = ("trace", "debug", "info", "warn", "error", "fatal")
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
# The first word that stands on its own, as Loki bounds it.
_WORD = re2.compile(
    rb"(?i)(?:\A|[ \t\n\[({\"=])(trace|debug|fatal|critical|error|err|warning|warn|info)(?:\z|[ \t\n\[\](){}:,!\"=])",
    latin1(captures=True),
).search
_FIELD_ORDER = {name.lower(): place for place, name in reversed(list(enumerate(FIELDS)))}
_DEEPEST = 2  # objects in each other whose fields are looked at
_FIRST_FIELD = FIELDS[0].encode()
_OTHER_FIELDS = byte_search(b'"(?:' + "|".join(FIELDS[1:]).encode() + b')"')
_SPELLED = byte_search(rb"\\u00(?:[46][0-9A-Fa-f]|5[0-9aAfF]|7[0-9aA])")  # a letter, in a way that searches miss
_JSON = msgspec.json.Decoder(msgspec.defstruct("_Level", [(FIELDS[0], msgspec.Raw, msgspec.Raw(b""))]))
_FIRST = attrgetter(FIELDS[0])


def _from_json(line: bytes) -> str:
    """The text of the first field with a level's name, in the document's order; nothing behind a fault is seen."""
    try:
        return _first_text(line, 1) or ""
    except jsonscan.JsonError:
        return ""


def _first_text(document: bytes, depth: int) -> str | None:
    for key, raw in jsonscan.pairs(document):
        if raw[:1] == b'"' and key in _ALL_FIELDS:
            return raw[1:-1].decode(errors="replace")
        if raw[:1] == b"{" and depth < _DEEPEST and (found := _first_text(raw, depth + 1)) is not None:
            return found
    return None


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
    found = _WORD(line)
    return "unknown" if found is None else _NAMES[found[1].decode().lower()]


def detect_in_line(line: bytes) -> str:
    """From the line alone."""
    value = ""
    if line.lstrip()[:1] == b"{" and line.rstrip()[-1:] == b"}":
        value = _from_json(line)
    elif b"=" in line:
        value = _from_logfmt(line)
    return _NAMES.get(value.lower()) or _from_words(line)


def detect_in_lines(text: bytes, lines: Sequence[bytes]) -> list[str]:
    """The levels of lines, of which `text` is made: each is ended by the only newline that it holds.

    In one call where the first of the fields is the only one that there is, at most once in a line, and not nested:
    that is so when it is found as often as its name is.
    """
    try:
        values = [bytes(value) for value in map(_FIRST, _JSON.decode_lines(text))]
    except jsonscan.UNREADABLE:
        values = []
    if len(values) != len(lines) or two_objects(text) or _other_fields(text, len(values) - values.count(b"")):
        return list(map(detect_in_line, lines))
    known = {value: _known(value) for value in set(values)}
    return [known[value] or detect_in_line(line) for value, line in zip(values, lines, strict=True)]


def _other_fields(text: bytes, found: int) -> bool:
    """Whether some line may have another field of a level's name than the one that was found."""
    if text.count(b'"%b"' % _FIRST_FIELD) != found or _OTHER_FIELDS(text) is not None:
        return True
    return b"\\u" in text and _SPELLED(text) is not None


def _known(raw: bytes) -> str:
    """The level that a JSON text names; "" for another one, and for what is no text."""
    return _NAMES.get(raw[1:-1].decode(errors="replace").lower(), "") if raw[:1] == b'"' else ""


def _normal(level: str) -> str:
    return _NAMES.get(level.lower(), level)


def _from_severity(number: str) -> str:
    """From OpenTelemetry's number, which goes up by four from level to level."""
    try:
        place = int(number) if len(number) < 20 else 99
    except ValueError:
        return "info"
    if place == 0 or place > 24:
        return "unknown"
    return _SEVERITIES[max(0, (place - 1) // 4)]


def detect(labels: dict[str, str], metadata: dict[str, str] | None, line: bytes) -> str:
    """The level of a line of a stream with these labels."""
    for source in (labels, metadata or {}):
        for name in FIELDS:
            if name in source:
                return _normal(source[name])
    if metadata and metadata.get("severity_number"):
        return _from_severity(metadata["severity_number"])
    return detect_in_line(line)


def entry_of(labels: dict[str, str], metadata: dict[str, str] | None, time: int, line: bytes) -> Entry:
    """A line of a stream with these labels, with all labels that it has before any parser."""
    found = with_metadata(labels, metadata)
    if LABEL in found:
        if metadata and LABEL in metadata and LABEL not in labels:
            found[LABEL] = _normal(found[LABEL])
    elif level := detect(labels, metadata, line):
        found[LABEL] = level
    return Entry(time, line, found, labels, found.keys() - labels.keys())
