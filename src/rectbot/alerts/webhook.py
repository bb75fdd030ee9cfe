"""Messages to a Discord webhook (https://discord.com/developers/docs/resources/webhook#execute-webhook).

The webhook's URL is a secret: who has it can write to the channel. Errors show it without its token.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError, NameResolutionError, SSLError
from urllib3.util import Url, parse_url

from rectbot.alerts.text import messages
from rectbot.errors import ConfigError, RectbotError
from rectbot.pool import Pool
from rectbot.settings import Settings

GIVE_UP_AFTER_SECONDS = 60.0  # where Discord answers, if only that it is busy
GIVE_UP_UNREACHED_SECONDS = 10.0  # where nobody answers at all: a person waits for this
FIRST_BACKOFF_SECONDS = 0.5
SHORTEST_WAIT_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 10.0
ANSWER_TIMEOUT_SECONDS = 10.0
CONNECT_TIMEOUT_SECONDS = 3.0
Say = Callable[[str], None]


class AlertError(RectbotError):
    """Discord did not take the message."""


@dataclass(frozen=True)
class _Refusal:
    """Why a message was not taken, and after how many seconds to try again (None: the backoff's choice)."""

    reason: str
    wait: float | None = None
    reached: bool = True  # a server has answered


class DiscordWebhook:
    """DISCORD_ALERT_WEBHOOK_URL; a Notifier."""

    name = "Discord (DISCORD_ALERT_WEBHOOK_URL)"

    def __init__(self, settings: Settings, give_up_after: float | None = None, say: Say | None = None) -> None:
        self._settings = settings
        self._say = say
        self.patience = GIVE_UP_AFTER_SECONDS if give_up_after is None else give_up_after

    def send(self, text: str, title: str) -> None:
        """See `send_alert`."""
        send_alert(text, self._settings, give_up_after=self.patience, say=self._say)


def send_alert(
    text: str, settings: Settings, *, give_up_after: float = GIVE_UP_AFTER_SECONDS, say: Say | None = None
) -> None:
    """Sends `text` to DISCORD_ALERT_WEBHOOK_URL, as several messages when it is long; nobody is pinged by it.

    Rate limits and server errors are tried again for `give_up_after` seconds in all, and while nobody can be reached
    for 10 seconds. A message whose answer got lost may then arrive twice. `say` is told the first time that it must try
    again.

    Raises ConfigError when the URL is missing or wrong or there is no text, AlertError when Discord does not take it.
    """
    url = webhook_url(settings)
    parts = messages(text)
    if not parts:
        raise ConfigError("there is nothing to send: the text is empty")
    deadline = time.monotonic() + give_up_after
    with Pool() as pool:
        for part in parts:
            _deliver(pool, url, part, deadline, say)


def webhook_url(settings: Settings) -> Url:
    """The checked DISCORD_ALERT_WEBHOOK_URL.

    Raises ConfigError, which does not show it, when it is missing or is not a webhook's.
    """
    secret = settings.discord_alert_webhook_url
    if secret is None:
        raise ConfigError("DISCORD_ALERT_WEBHOOK_URL is not set; copy it from the channel's settings > Integrations")
    try:
        url = parse_url(secret.get_secret_value().strip())
    except LocationParseError:
        url = Url()
    parts = (url.path or "").split("/")
    if url.scheme not in {"http", "https"} or not url.host or "webhooks" not in parts[:-2]:
        raise ConfigError(
            "DISCORD_ALERT_WEBHOOK_URL is not a webhook's URL; it looks like https://discord.com/api/webhooks/ID/TOKEN"
        )
    return url


def shown(url: Url) -> str:
    """The webhook's URL without its token, fit for a log: nothing that comes after it, whatever that is."""
    before, _, rest = (url.path or "").partition("webhooks/")
    return f"{url.scheme}://{url.host}{f':{url.port}' if url.port else ''}{before}webhooks/{rest.split('/')[0]}/…"


def _deliver(pool: urllib3.PoolManager, url: Url, text: str, deadline: float, say: Say | None) -> None:
    backoff, reached_at = FIRST_BACKOFF_SECONDS, time.monotonic()
    while (refusal := _post(pool, url, text, deadline)) is not None:
        wait = backoff if refusal.wait is None else refusal.wait
        if refusal.reached:
            reached_at = time.monotonic()
        end = deadline if refusal.reached else min(deadline, reached_at + GIVE_UP_UNREACHED_SECONDS)
        if time.monotonic() + wait > end:
            later = "" if refusal.wait is None else f", which asks to wait {refusal.wait:.0f} s"
            raise AlertError(f"{shown(url)}: not delivered: {refusal.reason}{later}; try again later")
        if say is not None:
            left = end - time.monotonic()
            say(f"{shown(url)}: {refusal.reason}; trying again for {left:.0f} s, Ctrl-C gives up")
            say = None
        time.sleep(wait)
        backoff = min(2 * backoff, LONGEST_BACKOFF_SECONDS)


def _post(pool: urllib3.PoolManager, url: Url, text: str, deadline: float) -> _Refusal | None:
    """Posts once; None when the message was taken, a refusal when it is worth trying again."""
    query = "&".join(part for part in (url.query, "wait=true") if part)  # the answer then comes after it was stored
    timeout = max(0.1, min(ANSWER_TIMEOUT_SECONDS, deadline - time.monotonic()))
    try:
        response = pool.request(
            "POST",
            url._replace(query=query).url,
            json={"content": text, "allowed_mentions": {"parse": []}},
            timeout=urllib3.Timeout(connect=min(CONNECT_TIMEOUT_SECONDS, timeout), total=timeout),
            retries=False,
            redirect=False,
        )
    except SSLError:
        raise AlertError(f"{shown(url)}: the server's certificate is not trusted; is the URL right?") from None
    except NameResolutionError:
        return _Refusal(f"the name {url.host} is not found", reached=False)
    except HTTPError as error:
        cause = error.__cause__ or error.__context__
        return _Refusal((cause.strerror if isinstance(cause, OSError) else None) or "no answer in time", reached=False)
    if 200 <= response.status < 300:
        return None
    if response.status == 429:
        return _Refusal("rate limited by Discord", wait=_retry_after(response))
    if response.status >= 500:
        return _Refusal(f"Discord answers {response.status}")
    raise AlertError(f"{shown(url)}: {_explain(response)}")


def _retry_after(response: urllib3.BaseHTTPResponse) -> float | None:
    """Seconds to wait after a 429: the body's retry_after is exact, the header's is rounded up to whole seconds.

    https://discord.com/developers/docs/topics/rate-limits
    """
    for value in (_json(response).get("retry_after"), response.headers.get("Retry-After")):
        try:
            return max(SHORTEST_WAIT_SECONDS, float(str(value)))
        except ValueError:
            continue
    return None


def _explain(response: urllib3.BaseHTTPResponse) -> str:
    said = _json(response).get("message", "no reason given")
    if response.status in {401, 403, 404}:
        return (
            f"Discord answers {response.status} ({said}): the webhook was deleted or its URL is wrong; "
            "make a new one in the channel's settings > Integrations, and put its URL in DISCORD_ALERT_WEBHOOK_URL"
        )
    return f"Discord answers {response.status} ({said}); is DISCORD_ALERT_WEBHOOK_URL a Discord webhook?"


def _json(response: urllib3.BaseHTTPResponse) -> dict[str, object]:
    try:
        body = response.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return body if isinstance(body, dict) else {}
