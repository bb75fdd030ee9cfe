"""`rectbot alert`: a message that a person, or a script, sends."""

from __future__ import annotations

import socket
from collections.abc import Callable

from rectbot.alerts.notifier import NONE, deliver, notifiers, tell
from rectbot.errors import ConfigError
from rectbot.settings import Settings

_TEST_PATIENCE_SECONDS = 15.0


def send(text: str, settings: Settings, say: Callable[[str], None]) -> None:
    """Sends the text to every notifier; `say` is told when one must try again. Raises as `tell` does."""
    if not text.strip():
        raise ConfigError("there is nothing to send: the text is empty")
    tell(text, _title(), settings, say=say)


def try_each(settings: Settings, say: Callable[[str], None]) -> int:
    """Sends a test to every notifier, and says what became of each; returns the exit code.

    Raises ConfigError when there is none.
    """
    to = notifiers(settings, give_up_after=_TEST_PATIENCE_SECONDS)
    if not to:
        raise ConfigError(NONE)
    outcomes = deliver(f"A test from {socket.gethostname()}: nothing is wrong.", _title(), to)
    for outcome in outcomes:
        say(f"alert: {outcome}")
    return int(any(outcome.error is not None for outcome in outcomes))


def _title() -> str:
    return f"rectbot at {socket.gethostname()}"
