"""Measuring and pushing, once or for ever."""

from __future__ import annotations

import signal
import time
from typing import NoReturn

import click

from rectbot.errors import RectbotError
from rectbot.push import counters
from rectbot.push.counters import Counters
from rectbot.push.errors import PushError
from rectbot.push.last import counters_file, remember
from rectbot.push.measure import Meter
from rectbot.push.outage import Outage
from rectbot.push.send import send
from rectbot.push.target import Target, target_of
from rectbot.settings import Settings, spool_folder
from rectbot.terminal import one_line

# Over less, the start of this command itself would be most of what is measured.
SHORTEST_INTERVAL_SECONDS = 2.0


def push_once(settings: Settings, job: str | None = None) -> None:
    """Measures, and pushes. CPU use is the average since the last such push of the job from this checkout.

    The first push, and one after a reboot or a long pause, has nothing to compare with and watches for two seconds.
    Raises ConfigError for a wrong setting, PushError (with an exit code of its own) for a push that was not accepted.
    """
    target = target_of(settings, job)
    _warn(target.warnings)
    file = counters_file(settings, target.job)
    meter = _meter(settings, counters.recall(file))
    time.sleep(max(0.0, SHORTEST_INTERVAL_SECONDS - meter.seconds))
    body = meter.read()
    counters.remember(file, meter.counters)
    _push(settings, body, target)


def push_every(settings: Settings, seconds: float, job: str | None = None) -> int:
    """Pushes every `seconds`, whatever happens to a push, until SIGTERM or SIGINT; returns the exit code 0.

    One line is printed when pushes begin to arrive, when they begin to fail, and when they fail for another reason.
    Raises ConfigError for a wrong setting at the start; later it is a failure like others, since it may be mended.
    """
    target = target_of(settings, job)
    _warn(target.warnings)
    previous = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        _push_for_ever(settings, seconds, job)
    except KeyboardInterrupt:
        return 0
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _meter(settings: Settings, before: Counters | None = None) -> Meter:
    spool = spool_folder(settings, "bot", settings.site_id or "")
    return Meter(settings.bot_pid_file, spool, settings.memory_alert, before)


def _push_for_ever(settings: Settings, seconds: float, job: str | None) -> NoReturn:
    meter = _meter(settings)
    state: str | None = None
    due = time.monotonic() + min(SHORTEST_INTERVAL_SECONDS, seconds)
    while True:
        time.sleep(max(0.0, due - time.monotonic()))
        new_state = _try(settings, meter, job)
        if new_state != state:
            click.echo(one_line(f"push: {new_state}"), err=True)
            state = new_state
        due += seconds * (1 + max(0.0, time.monotonic() - due) // seconds)


def _try(settings: Settings, meter: Meter, job: str | None) -> str:
    """Pushes, and says in one line how that went. The certificate is read each time: it may have been renewed."""
    try:
        target = target_of(settings, job)
        _push(settings, meter.read(), target)
    except RectbotError as error:
        return f"failed: {error}"
    return f"arrives at {target.url.url}"


def _push(settings: Settings, body: bytes, target: Target) -> None:
    outage = Outage(settings, target.job)
    try:
        send(body, target)
    except PushError as error:
        outage.failed(error)
        raise
    remember(settings, target.job)
    outage.over()


def _warn(warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        click.echo(one_line(f"rectbot: warning: {warning}"), err=True)
