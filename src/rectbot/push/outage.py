"""Telling the operator when pushes fail for a while.

OCI watches Xserver by its pushes; when OCI itself is away, only Xserver can tell. The count is kept in a file, since
with cron every push is a process of its own.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

import click

from rectbot.alerts.notifier import deliver, notifiers
from rectbot.alerts.text import plain
from rectbot.errors import RectbotError
from rectbot.push import keep
from rectbot.settings import Settings
from rectbot.terminal import one_line

TELL_AFTER_FAILURES = 3
GIVE_UP_TELLING_AFTER_SECONDS = 10.0


@dataclass
class _State:
    failures: int = 0
    since: float = 0.0
    told: bool = False


class Outage:
    """Counts the failures of a job's pushes in a row; where nobody can be told it does nothing."""

    def __init__(self, settings: Settings, job: str) -> None:
        self._settings = settings
        self._job = job
        self._file: Path | None = None
        if settings.discord_alert_webhook_url is not None or settings.alert_services:
            self._file = settings.rectbot_home / "var" / "push" / f"{quote(job, safe='')}.failures.json"

    def failed(self, error: RectbotError) -> None:
        """A push failed; the third in a row is told."""
        if self._file is None:
            return
        state = _load(self._file) or _State(since=time.time())
        state.failures += 1
        if state.failures >= TELL_AFTER_FAILURES and not state.told:
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(state.since))
            state.told = self._tell(
                f"{state.failures} pushes in a row have failed, since {since} UTC: {plain(str(error), 800)}"
            )
        keep.save(self._file, asdict(state))

    def over(self) -> None:
        """A push arrived; that is told if the failures were."""
        if self._file is None or (state := _load(self._file)) is None:
            return
        if not state.told or self._tell(f"pushes arrive again, after {state.failures} failures."):
            with suppress(OSError):
                self._file.unlink()

    def _tell(self, what: str) -> bool:
        text = f"**{plain(socket.gethostname(), 100)}** ({plain(self._job, 100)}): {what}"
        try:
            to = notifiers(self._settings, give_up_after=GIVE_UP_TELLING_AFTER_SECONDS)
        except RectbotError as error:
            click.echo(one_line(f"rectbot: warning: nobody was told of the pushes: {error}"), err=True)
            return False
        outcomes = deliver(text, "rectbot push", to)
        for outcome in outcomes:
            if outcome.error is not None:
                click.echo(
                    one_line(f"rectbot: warning: not told of the pushes: {outcome.name}: {outcome.error}"), err=True
                )
        return any(outcome.error is None for outcome in outcomes)


def _load(file: Path) -> _State | None:
    words = keep.load(file)
    with suppress(ValueError, TypeError, KeyError):
        failures, since = keep.number(words["failures"]), keep.number(words["since"])
        return _State(int(failures), min(since, time.time()), told=words["told"] is True)
    return None
