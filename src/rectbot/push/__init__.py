"""Measures a host and the bot on it, and pushes that to a Pushgateway.

This module is light to import, since the command line shows EXIT_CODES in its help: what does the work is imported by
the functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from rectbot.push.errors import EXIT_CODES, PushError, PushExit

if TYPE_CHECKING:
    from rectbot.settings import Settings

__all__ = ["EXIT_CODES", "PushError", "PushExit", "push_every", "push_once"]


def push_once(settings: Settings, job: str | None = None) -> None:
    """See `rectbot.push.agent.push_once`."""
    from rectbot.push import agent  # noqa: PLC0415

    agent.push_once(settings, job)


def push_every(settings: Settings, seconds: float, job: str | None = None) -> NoReturn:
    """See `rectbot.push.agent.push_every`."""
    from rectbot.push import agent  # noqa: PLC0415

    agent.push_every(settings, seconds, job)
