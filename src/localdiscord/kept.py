"""What the local Discord remembers of interactions and of webhooks."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from localdiscord.errors import ApiError, unknown
from localdiscord.faults import WebhookFail
from localdiscord.messages import EPHEMERAL
from localdiscord.world import Json, snowflake

TOKEN_VALID_S = 15 * 60.0
KEPT = 1000


@dataclass
class Interaction:
    """One use of a command, and what the bot answered."""

    command: str
    id: str = field(default_factory=snowflake)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    started: float = field(default_factory=time.monotonic)
    type: int | None = None
    data: Json = field(default_factory=dict)
    site: str | None = None
    acknowledged_s: float | None = None
    original: Json | None = None
    followups: list[Json] = field(default_factory=list)
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.started

    def describe(self) -> Json:
        """What the person sees."""
        original = self.original or {}
        acknowledged = self.acknowledged_s
        return {
            "command": self.command,
            "answered": self.answered.is_set(),
            "type": self.type,
            "site": self.site,
            "latency_ms": None if acknowledged is None else round(acknowledged * 1000, 1),
            "content": original.get("content"),
            "embeds": original.get("embeds", []),
            "ephemeral": bool(original.get("flags", 0) & EPHEMERAL),
            "data": self.data,
            "followups": self.followups,
        }


class Interactions:
    """The interactions of the last while, by their token."""

    def __init__(self) -> None:
        self._by_token: OrderedDict[str, Interaction] = OrderedDict()

    def add(self, interaction: Interaction) -> None:
        self._by_token[interaction.token] = interaction
        while len(self._by_token) > KEPT:
            self._by_token.popitem(last=False)

    def find(self, token: str) -> Interaction | None:
        found = self._by_token.get(token)
        return found if found and found.age_s < TOKEN_VALID_S else None


class Webhooks:
    """The webhooks that were used, and the newest of what they were sent."""

    def __init__(self) -> None:
        self.received: deque[Json] = deque(maxlen=KEPT)
        self._tokens: dict[str, str] = {}
        self._failure: WebhookFail | None = None
        self._failures_left = 0

    def fail(self, failure: WebhookFail | None) -> None:
        """Lets the next executions fail; None: no more."""
        self._failure, self._failures_left = failure, failure.times if failure else 0

    def next_failure(self) -> WebhookFail | None:
        if not self._failures_left:
            return None
        self._failures_left -= 1
        return self._failure

    def check(self, id_: str, token: str) -> None:
        """Raises ApiError when this is not a webhook or not its token."""
        if not id_.isdecimal():
            raise unknown("Webhook")
        if self._tokens.setdefault(id_, token) != token:
            raise ApiError(401, 50027, "Invalid Webhook Token")
