"""What the operator is told of pushes that fail.

The push agent holds no settings and no notifiers. For it this is a process, python -m rectbot.push.telling JOB, which
reads from standard input what there is to say.
"""

from __future__ import annotations

import socket
import sys

from foundation.terminal import one_line
from rectbot.alerts.notifier import deliver, notifiers
from rectbot.alerts.text import plain
from rectbot.errors import RectbotError
from rectbot.settings import Settings, load_settings

GIVE_UP_AFTER_SECONDS = 10.0


def can_tell(settings: Settings) -> bool:
    """Whether there is anybody to tell."""
    return settings.discord_alert_webhook_url is not None or bool(settings.alert_services)


def tell(settings: Settings, job: str, what: str) -> bool:
    """Tells all notifiers of this job's pushes; False when none has taken it, and why is on standard error."""
    text = f"**{plain(socket.gethostname(), 100)}** ({plain(job, 100)}): {what}"
    try:
        to = notifiers(settings, give_up_after=GIVE_UP_AFTER_SECONDS)
    except RectbotError as error:
        _warn(f"nobody was told of the pushes: {error}")
        return False
    outcomes = deliver(text, "rectbot push", to)
    for outcome in outcomes:
        if outcome.error is not None:
            _warn(f"not told of the pushes: {outcome.name}: {outcome.error}")
    return any(outcome.error is None for outcome in outcomes)


def _warn(text: str) -> None:
    sys.stderr.write(one_line(f"rectbot: warning: {text}") + "\n")


def main() -> None:
    """The process: its exit code is 0 when somebody was told."""
    try:
        told = tell(load_settings(), sys.argv[1], sys.stdin.read())
    except RectbotError as error:
        _warn(f"nobody was told of the pushes: {error}")
        told = False
    sys.exit(0 if told else 1)


if __name__ == "__main__":
    main()
