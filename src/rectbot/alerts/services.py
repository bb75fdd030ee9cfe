"""ALERT_URLS: Slack, Telegram, ntfy, e-mail and a hundred more, through Apprise (https://appriseit.com/services/).

Apprise comes with the extra `alerts` and is imported here only. Its addresses are secrets as a whole: what is said of a
service is its kind and its place in the list.
"""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foundation.redaction import redact
from rectbot.errors import ConfigError, RectbotError

if TYPE_CHECKING:
    from rectbot.alerts.notifier import Notifier
    from rectbot.settings import Settings

PATIENCE_SECONDS = 15.0
_TITLE, _TEXT = 200, 8000
_ADDRESS = re.compile(r"\S*://\S+")
_ORDINALS = {1: "1st", 2: "2nd", 3: "3rd"}


@dataclass(frozen=True)
class Service:
    """One address of ALERT_URLS; a Notifier."""

    place: int
    plugin: Any
    patience: float = PATIENCE_SECONDS

    @property
    def name(self) -> str:
        return f"{self.plugin.service_name} ({_where(self.place)})"

    def send(self, text: str, title: str) -> None:
        with _Said() as said:
            taken = self.plugin.notify(body=text[:_TEXT], title=title[:_TITLE], body_format="text")
        if not taken:
            raise RectbotError(f"not delivered: {said.last or 'no reason given'}")


def services(settings: Settings) -> list[Notifier]:
    """A notifier for each address. Raises ConfigError, which names the first that is wrong by its place."""
    try:
        import apprise  # noqa: PLC0415
    except ImportError:
        raise ConfigError(
            "ALERT_URLS needs the extra `alerts`, which is not installed: pip install 'rectbot[alerts]',"
            " in a checkout .venv/bin/pip install apprise"
        ) from None
    asset = apprise.AppriseAsset(app_id="rectbot", app_desc="rectbot", app_url="", secure_logging=True)
    found: list[Notifier] = []
    for place, url in enumerate(settings.alert_services, 1):
        with _Said():
            plugin = apprise.Apprise.instantiate(url, asset=asset)
        if plugin is None:
            raise ConfigError(
                f"{_where(place)}: is no address that Apprise takes; https://appriseit.com/services/ shows their forms,"
                " such as ntfy://HOST/TOPIC"
            )
        plugin.overflow_mode = apprise.OverflowMode.SPLIT  # what is longer than one message becomes several
        found.append(Service(place, plugin))
    return found


def _where(place: int) -> str:
    return f"ALERT_URLS, {_ORDINALS.get(place, f'{place}th')}"


class _Said(logging.Handler):
    """What Apprise logs in this thread, kept from everybody else: it may hold addresses."""

    def __enter__(self) -> _Said:
        self.last = ""
        self._thread = threading.get_ident()
        logger = logging.getLogger("apprise")
        logger.propagate = False
        logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("apprise").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread and record.levelno >= logging.WARNING:
            text = _ADDRESS.sub("...", redact(record.getMessage()))
            self.last = " ".join(text.split())[:300]
