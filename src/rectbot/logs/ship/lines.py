"""A log record as one line of JSON.

Loki, Grafana and `rectbot logs query` read the names used here: level, msg, and what else the record says.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

from foundation.redaction import Redactor, redact

MAX_TEXT = 15_000  # characters of a message or a traceback
MAX_LINE = 60_000  # characters; Loki refuses lines of more than 256 KiB, and a character may take four bytes

# Loki's own words (its detected_level), so that a label and what Loki finds are the same.
_LEVELS = ((logging.CRITICAL, "critical"), (logging.ERROR, "error"), (logging.WARNING, "warn"), (logging.INFO, "info"))
_USUAL = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def level_name(number: int) -> str:
    """Loki's name for a level of Python's logging, also for the ones between."""
    return next((name for least, name in _LEVELS if number >= least), "debug")


class JsonFormatter(logging.Formatter):
    """Level, logger, message, then the record's extra fields, then an exception as `error` and `trace`.

    `secrets` are blanked out wherever they stand.
    """

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        super().__init__()
        self._own = Redactor()
        self._own.know(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON, without line breaks."""
        fields: dict[str, Any] = {
            "level": level_name(record.levelno),
            "logger": record.name,
            "msg": _cut(record.getMessage()),
        }
        extra = {name: value for name, value in record.__dict__.items() if name not in _USUAL and name not in fields}
        line = self._line(fields | extra | self._trouble(record))
        return line if len(line) <= MAX_LINE else self._line(fields | {"cut": True})

    def _trouble(self, record: logging.LogRecord) -> dict[str, str]:
        trouble = {}
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            trouble = {"error": _cut(f"{type(error).__name__}: {error}")}
            trouble["trace"] = _cut(self.formatException(record.exc_info))
        if record.stack_info:
            trouble["stack"] = _cut(self.formatStack(record.stack_info))
        return trouble

    def _line(self, fields: dict[str, Any]) -> str:
        return redact(self._own.redact(_dumps(fields)))


def _dumps(fields: dict[str, Any]) -> str:
    try:
        return json.dumps(fields, ensure_ascii=False, default=str, allow_nan=False)
    except (ValueError, TypeError, RecursionError):  # NaN, a circle, keys that are no text: as Python shows them
        return json.dumps({name: value if isinstance(value, str) else repr(value) for name, value in fields.items()})


def _cut(text: str) -> str:
    excess = len(text) - MAX_TEXT
    return text if excess <= 0 else f"{text[:MAX_TEXT]}... ({excess} characters more)"
