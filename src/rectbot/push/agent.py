"""Measuring and pushing, once or for ever."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NoReturn

import click

from foundation.terminal import one_line
from rectbot.push import counters
from rectbot.push.errors import PushError
from rectbot.push.last import arrived_file, counters_file, mark
from rectbot.push.measure import Meter
from rectbot.push.outage import Outage
from rectbot.push.resident import become
from rectbot.push.send import send
from rectbot.push.target import Target, target_of, tls_of
from rectbot.push.telling import can_tell, tell
from rectbot.settings import Settings, spool_folder

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
    meter = Meter(settings.bot_pid_file, _spool(settings), settings.memory_alert, counters.recall(file))
    time.sleep(max(0.0, SHORTEST_INTERVAL_SECONDS - meter.seconds))
    body = meter.read()
    counters.remember(file, meter.counters)
    _push(settings, body, target)


def push_every(settings: Settings, seconds: float, job: str | None = None) -> NoReturn:
    """Pushes every `seconds`, whatever happens to a push, until SIGTERM or SIGINT, in place of this process.

    One line is printed when pushes begin to arrive, when they begin to fail, and when they fail for another reason.
    Raises ConfigError for a wrong setting at the start; later it is a failure like others, since it may be mended.
    """
    target = target_of(settings, job)
    _warn(target.warnings)
    url, (_, password) = target.url, settings.push_login
    become(
        {
            "seconds": seconds,
            "job": target.job,
            "address": {"url": url.url, "host": url.host, "port": url.port, "request_uri": url.request_uri},
            "user": target.user,
            "headers": target.headers,
            "tls": None if target.tls is None else tls_of(settings),
            "pid_file": settings.bot_pid_file,
            "spool": _spool(settings),
            "memory_alert": settings.memory_alert,
            "arrived": arrived_file(settings, target.job),
            "outage": _outage_file(settings, target.job),
            "secrets": [password] if password else [],
        }
    )


def _spool(settings: Settings) -> Path:
    return spool_folder(settings, "bot", settings.site_id or "")


def _outage_file(settings: Settings, job: str) -> Path | None:
    """Where failures in a row are counted; nowhere if nobody can be told of them."""
    return arrived_file(settings, job).with_suffix(".failures.json") if can_tell(settings) else None


def _push(settings: Settings, body: bytes, target: Target) -> None:
    outage = Outage(_outage_file(settings, target.job), lambda what: tell(settings, target.job, what))
    try:
        send(body, target)
    except PushError as error:
        outage.failed(error)
        raise
    mark(arrived_file(settings, target.job))
    outage.over()


def _warn(warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        click.echo(one_line(f"rectbot: warning: {warning}"), err=True)
