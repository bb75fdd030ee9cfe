"""How our programs write their logs: one line for each event, without secrets, and without what a terminal would obey.

What others send is logged, too; a line end in it must not make a second line that looks like one of ours. So a
traceback, which has several, stands indented below its event.
"""

from __future__ import annotations

import logging

from foundation.terminal import lines, one_line

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class Line(logging.Formatter):
    """Any format of logging's, made safe."""

    def format(self, record: logging.LogRecord) -> str:
        """The event's line, and below it the traceback if there is one."""
        plain = logging.makeLogRecord(record.__dict__ | {"exc_info": None, "exc_text": None, "stack_info": None})
        text = one_line(super().format(plain))
        below = [self.formatException(record.exc_info)] if record.exc_info else []
        below += [self.formatStack(record.stack_info)] if record.stack_info else []
        return "\n    ".join([text, *(line for each in below for line in lines(each).split("\n"))])


def set_up(form: str = FORMAT, date: str | None = None) -> None:
    """Logs to standard error from now on."""
    handler = logging.StreamHandler()
    handler.setFormatter(Line(form, date))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
