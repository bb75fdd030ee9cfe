"""How a line is shown on a terminal, to a program, or as it is."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from foundation.terminal import as_json as to_json
from foundation.terminal import lines as visible
from foundation.terminal import one_line
from rectbot.logs.client.fields import json_object
from rectbot.logs.client.query import Entry, Sample

_COLOURS = {"trace": "bright_black", "debug": "blue", "info": "green", "warn": "yellow", "error": "red"}
_SEVERE = {"critical", "fatal"}
_MESSAGES = ("msg", "message")
_BELOW = ("trace", "stack")  # shown on lines of their own
_KNOWN = {*_MESSAGES, *_BELOW, "level"}

Renderer = Callable[[Entry], str]


def as_text(entry: Entry) -> str:
    """Time, level, who, and what; of a JSON line the message first, then its other fields."""
    fields = json_object(entry.text)
    level = _level(entry.labels, fields)
    head = [click.style(_time(entry.time / 1e9), dim=True), _styled(level.upper().ljust(5), level)]
    who = "@".join(entry.labels[name] for name in ("job", "site") if entry.labels.get(name))
    if who:
        head.append(click.style(one_line(who), fg="cyan"))
    return " ".join([*head, _body(entry.text, fields, level)])


def as_json(entry: Entry) -> str:
    """One object a line: time in nanoseconds (as text, as Loki has it), labels, and the line."""
    return to_json({"time": str(entry.time), "labels": entry.labels, "line": entry.text})


def as_raw(entry: Entry) -> str:
    """The line as it was logged; on a terminal without what that would obey."""
    return _safe(entry.text) if sys.stdout.isatty() else entry.text


RENDERERS: dict[str, Renderer] = {"text": as_text, "json": as_json, "raw": as_raw}


def sample_line(sample: Sample, output: str) -> str:
    """A value of a metric query."""
    if output == "json":
        return to_json({"time": sample.time, "metric": sample.labels, "value": sample.value})
    if output == "raw":
        return sample.value
    labels = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in sample.labels.items())
    time = click.style(_time(sample.time), dim=True)
    return f"{time} {sample.value:>12} {click.style('{' + one_line(labels) + '}', fg='cyan')}"


def _body(text: str, fields: dict[str, Any] | None, level: str) -> str:
    message = next((fields[name] for name in _MESSAGES if name in fields), None) if fields else None
    if fields is None or message is None:
        return _safe(text)
    rest = " ".join(f"{name}={_short(value)}" for name, value in fields.items() if name not in _KNOWN)
    shown = _safe(str(message))
    if level in _SEVERE or level == "error":
        shown = _styled(shown, level)
    parts = [shown, *([click.style(_safe(rest), dim=True)] if rest else [])]
    below = [_safe(str(fields[name])).rstrip().replace("\n", "\n    ") for name in _BELOW if fields.get(name)]
    return "\n    ".join([" ".join(parts), *below])


def _level(labels: dict[str, str], fields: dict[str, Any] | None) -> str:
    level = labels.get("level") or labels.get("detected_level") or (fields or {}).get("level") or ""
    level = str(level).lower()
    return {"warning": "warn", "err": "error", "unknown": ""}.get(level, level)[:8]


def _styled(text: str, level: str) -> str:
    text = _safe(text)
    return click.style(text, fg="red", bold=True) if level in _SEVERE else click.style(text, fg=_COLOURS.get(level))


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if text and not re.search(r'[\s"=]', text) else json.dumps(text, ensure_ascii=False)


def _safe(text: str) -> str:
    return visible(text)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
