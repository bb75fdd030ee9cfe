"""Where alerts leave for people: a Discord webhook, and whatever else ALERT_URLS names. Each is a Notifier."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rectbot.errors import ConfigError, RectbotError

if TYPE_CHECKING:
    from rectbot.settings import Settings

Say = Callable[[str], None]
_GRACE_SECONDS = 5.0  # beyond what a notifier is given to give up by itself
NONE = (
    "nobody can be told: set DISCORD_ALERT_WEBHOOK_URL (from the channel's settings > Integrations), or ALERT_URLS"
    " (.env.example explains both)"
)


class Notifier(Protocol):
    """One way to people."""

    @property
    def name(self) -> str:
        """What it is, for people; nothing of its address."""

    @property
    def patience(self) -> float:
        """Seconds after which `send` has given up."""

    def send(self, text: str, title: str) -> None:
        """Delivers a text, and a title where there is room for one. Raises RectbotError when it is not taken."""


@dataclass(frozen=True)
class Outcome:
    """What became of a message at one notifier."""

    name: str
    seconds: float
    error: RectbotError | None = None

    def __str__(self) -> str:
        if self.error is not None:
            return f"{self.name}: FAILED: {self.error}"
        return f"{self.name}: delivered in {self.seconds:.1f} s"


def notifiers(settings: Settings, *, give_up_after: float | None = None, say: Say | None = None) -> list[Notifier]:
    """All that the settings name: Discord first. `say` is told when one must try again.

    Raises ConfigError when ALERT_URLS cannot be used at all.
    """
    found: list[Notifier] = []
    if settings.discord_alert_webhook_url is not None:
        from rectbot.alerts.webhook import DiscordWebhook  # noqa: PLC0415

        found.append(DiscordWebhook(settings, give_up_after, say))
    if settings.alert_services:
        from rectbot.alerts.services import services  # noqa: PLC0415

        found += services(settings)
    return found


def deliver(text: str, title: str, to: Sequence[Notifier]) -> list[Outcome]:
    """Sends to all at once, so that none waits for another; what became of it, in their order."""
    done: queue.SimpleQueue[tuple[int, Outcome]] = queue.SimpleQueue()
    began = time.monotonic()

    def send(place: int, notifier: Notifier) -> None:
        error: RectbotError | None = None
        try:
            notifier.send(text, title)
        except RectbotError as caught:
            error = caught
        except Exception as caught:  # one that is broken must not keep the others from being heard
            error = RectbotError(f"it fails ({type(caught).__name__})")
        done.put((place, Outcome(notifier.name, time.monotonic() - began, error)))

    for place, notifier in enumerate(to):
        # Daemons: a resolver that hangs must not hold up the end of the process.
        threading.Thread(target=send, args=(place, notifier), daemon=True).start()
    end = began + max((each.patience for each in to), default=0.0) + _GRACE_SECONDS
    found: dict[int, Outcome] = {}
    while len(found) < len(to):
        try:
            place, outcome = done.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        found[place] = outcome
    late = RectbotError("no answer in time")
    return [found.get(place, Outcome(each.name, end - began, late)) for place, each in enumerate(to)]


def tell(
    text: str, title: str, settings: Settings, *, give_up_after: float | None = None, say: Say | None = None
) -> None:
    """Sends a text to all of them.

    Raises ConfigError when there is none, RectbotError that names each that did not take it.
    """
    to = notifiers(settings, give_up_after=give_up_after, say=say)
    if not to:
        raise ConfigError(NONE)
    failed = [each for each in deliver(text, title, to) if each.error is not None]
    if len(to) == 1 and failed and failed[0].error is not None:
        raise failed[0].error
    if failed:
        raise RectbotError("; ".join(f"{each.name}: {each.error}" for each in failed))
