"""How the bot's log lines look."""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType

from foundation.redaction import Redactor, redact
from foundation.terminal import one_line
from rectbot.failover.process.log import TIMES

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class OneLine(logging.Formatter):
    """One line for each event, without secrets; an error is its type, its message and the place where it was raised."""

    def __init__(self, secrets: list[str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", TIMES)
        self._own = Redactor()
        self._own.know(secrets)

    def format(self, record: logging.LogRecord) -> str:
        line = redact(self._own.redact(super().format(record)))
        return " | ".join(one_line(part.strip()) for part in line.splitlines() if part.strip())

    def formatException(self, ei: ExcInfo) -> str:  # noqa: N802 - the name is logging's
        kind, error, trace = ei
        if kind is None:
            return ""
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""
        return f"{kind.__name__}: {error}{place}"
