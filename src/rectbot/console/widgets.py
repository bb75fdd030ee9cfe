"""The console's own elements: their code in the browser is in static/."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from nicegui.element import Element

from rectbot.console.log_query import stream_selector
from rectbot.console.words import Words
from rectbot.failover.events import Event
from rectbot.logs.client.fields import json_object
from rectbot.logs.client.query import Entry

Line = dict[str, Any]
MAX_LINES = 500
_TONES = {
    **dict.fromkeys(("critical", "fatal", "error", "err"), "error"),
    **dict.fromkeys(("warning", "warn"), "warning"),
    **dict.fromkeys(("debug", "trace"), "debug"),
}
_ORDERS = ("switch", "hold", "unhold", "drain", "undrain")  # whose reason is an operator's own
_EVENT_TONES = {
    **dict.fromkeys(("renew-failed", "workload-failed", "expired", "suspended"), "error"),
    **dict.fromkeys(
        ("renew-refused", "refused-by-priority", "refused-by-budget", "damped", "hold", "drain"), "warning"
    ),
    **dict.fromkeys(("acquired", "restored", "unhold", "undrain"), "good"),
}


def packed(value: object) -> orjson.Fragment:
    """A value as JSON, made once for all who look: of lists and dictionaries the toolkit would make a copy for each."""
    return orjson.Fragment(orjson.dumps(value))


class Lines(Element, component="static/lines.js"):
    """Lines with a time each, the newest first."""

    def __init__(self, *, empty: str, label: str, max_lines: int = MAX_LINES) -> None:
        super().__init__()
        self._props["mark"] = ""
        self._props["search"] = 0  # the number of what is shown
        self._props["lines"] = packed([])
        self._props["empty"] = empty
        self._props["label"] = label
        self._props["max"] = max_lines

    def show(self, lines: Sequence[Line] | orjson.Fragment, empty: str | None = None, mark: str = "") -> None:
        """Shows these and no others; the one with the key `mark` is made to stand out."""
        self._props["mark"] = mark
        self._props["search"] += 1
        if empty is not None:
            self._props["empty"] = empty
        self._props["lines"] = lines if isinstance(lines, orjson.Fragment) else packed(lines)
        self.update()

    def says(self, empty: str) -> None:
        """What is said where there is no line."""
        self._props["empty"] = empty
        self.update()

    def append(self, lines: Sequence[Line]) -> None:
        """Adds older ones; only the browser keeps them."""
        self.run_method("append", lines, self._props["search"])

    def add(self, lines: Sequence[Line]) -> None:
        """Adds newer ones; only the browser keeps them."""
        self.run_method("add", lines, self._props["search"])


class Ticker(Element, component="static/ticker.js"):
    """A duration in seconds that runs on in the browser between two looks."""

    def __init__(
        self,
        *,
        direction: int = 1,
        limit: float | None = None,
        none: str = "-",
    ) -> None:
        super().__init__()
        self._props.update({"direction": direction, "whole": None, "limit": limit, "none": none})
        self._look = 0

    def show(self, seconds: float | None, whole: float | None = None) -> None:
        """The duration as of now."""
        self._look += 1
        self._props.update({"seconds_at_look": seconds, "look": self._look})
        if whole is not None:
            self._props["whole"] = whole
        self.update()


class Sentence(Element, component="static/sentence.js"):
    """Text with moments in it (see `moment`), which the browser writes in its own zone."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self._props["words"] = text

    def set_text(self, text: str) -> None:
        """Says something else."""
        if text != self._props["words"]:
            self._props["words"] = text
            self.update()


def moment(seconds: float) -> str:
    """A moment in Unix time, for the text of a Sentence."""
    return f"\1{seconds:.3f}\1"


def log_lines(entries: Iterable[Entry], *, links: bool = False) -> list[Line]:
    """Newest first. Of a line in JSON the message is shown, and the rest with the labels, when the line is opened.

    With `links` each has an address of its own, and one of what was logged around it.
    """
    lines = []
    for entry in sorted(entries, key=lambda entry: entry.time, reverse=True):
        level = entry.labels.get("level") or entry.labels.get("detected_level") or ""
        where = entry.labels.get("site") or entry.labels.get("job") or ""
        text, fields = _message(entry.text)
        line = _line(entry.time / 1e6, f"{where} {level}".strip(), text, _TONES.get(level.lower(), ""))
        line["key"] = _key(entry)
        line["more"] = [*sorted(entry.labels.items()), *fields]
        if fields or text != entry.text:
            line["raw"] = entry.text
        if links:
            line |= {"stream": stream_selector(entry.labels)}
        lines.append(line)
    return lines


def _key(entry: Entry) -> str:
    """Tells a line from all others, also in an address."""
    said = zlib.crc32(f"{sorted(entry.labels.items())}{entry.text}".encode(errors="replace"))
    return f"{entry.time}-{said:08x}"


def _message(text: str) -> tuple[str, list[tuple[str, str]]]:
    fields = json_object(text)
    if fields is None or "msg" not in fields:
        return text, []
    message = str(fields.pop("msg"))
    return message, [(name, str(value)) for name, value in fields.items()]


def event_lines(events: Iterable[Event], words: Words) -> list[Line]:
    """Newest first, each with its reason; opened, it says what its kind means, and who wrote it."""
    lines = []
    for event in reversed(list(events)):
        why = event.why if event.kind in _ORDERS else words.reason(event.why)
        text = ": ".join(filter(None, (event.site, why))) or "-"
        kind = words.optional(f"kind.{event.kind}") or event.kind
        line = _line(event.time * 1000, kind, text, _EVENT_TONES.get(event.kind, ""))
        line["key"] = event.id
        line["more"] = [
            ["", words.meaning(event.kind)],
            [words("events.kind"), event.kind],
            [words("events.epoch"), str(event.epoch)],
            [words("events.by"), event.owner],
        ]
        lines.append(line)
    return lines


def _line(time: float, tag: str, text: str, tone: str) -> Line:
    return {"time": round(time), "tag": tag, "text": text, "tone": tone}
