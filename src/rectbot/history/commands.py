"""What the command line calls: each opens the history, does one thing, and says what it did."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rectbot.errors import ConfigError
from rectbot.history import record
from rectbot.history.database import opened, reading_much, writing
from rectbot.history.figures import Report
from rectbot.history.lines import line_of, read_lines
from rectbot.history.page import as_html
from rectbot.history.period import period
from rectbot.history.report import report
from rectbot.history.show import as_csv, as_json, as_message, as_text
from rectbot.history.story import Span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rectbot.settings import Settings


def now_ms() -> int:
    """The time of day."""
    return time.time_ns() // 1_000_000


def export(settings: Settings, out: TextIO) -> int:
    """Writes all events as JSON lines, oldest first; returns how many."""
    with opened(settings) as engine, engine.connect() as connection:
        found = record.events(connection)
    for event in found:
        out.write(f"{line_of(event)}\n")
    return len(found)


def import_(settings: Settings, path: str) -> tuple[int, int]:
    """Reads events from a file (`-`: standard input): how many there were, and how many of them were new.

    All or none: raises ConfigError for a line that is wrong.
    """
    with _source(path) as lines:
        events = list(read_lines(lines, "standard input" if path == "-" else path))
    with opened(settings) as engine, writing(engine) as connection:
        added = record.add_events(connection, events)
        record.fill(connection, events)
        return len(events), added


@contextmanager
def _source(path: str) -> Iterator[Iterable[str]]:
    try:
        if path == "-":
            sys.stdin.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
            yield sys.stdin
        else:
            with Path(path).open(encoding="utf-8") as stream:
                yield stream
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None


def prune(settings: Settings, keep_s: float) -> tuple[int, int]:
    """Forgets what is older than so many seconds; returns how many events and alerts that were."""
    with opened(settings) as engine, writing(engine) as connection:
        return record.prune(connection, now_ms() - round(keep_s * 1000))


def make_report(settings: Settings, span: Span) -> Report:
    """The figures of a period."""
    with reading_much(), opened(settings) as engine, engine.connect() as connection:
        return report(connection, span)


def span_of(month: str | None, since: str | None, until: str | None) -> Span:
    """The period that the command line names."""
    return period(month, since, until, now_ms())


def rendered(found: Report, form: str) -> str:
    """The report in one of its forms."""
    if form == "text":
        rest = ["what is still to come of it counts as it stands now"] if found.span.end > now_ms() else []
        return "\n".join([*as_text(found), *rest])
    return {"json": as_json, "csv": as_csv, "html": as_html}[form](found)


def post(settings: Settings, found: Report) -> None:
    """Sends the summary to where alerts go. Raises ConfigError, RectbotError."""
    from rectbot.alerts.notifier import tell  # noqa: PLC0415
    from rectbot.stack.supervise import with_local_webhook  # noqa: PLC0415

    tell(as_message(found), "rectbot report", with_local_webhook(settings))
