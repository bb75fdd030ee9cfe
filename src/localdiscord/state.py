"""The whole state of the local Discord."""

from __future__ import annotations

import asyncio
import hmac
from typing import Any

from aiohttp import web

from localdiscord.faults import Faults
from localdiscord.journal import Journal
from localdiscord.kept import Interactions, Webhooks
from localdiscord.limits import LoginBudget, RateLimits
from localdiscord.sessions import Sessions, Socket
from localdiscord.world import World

HEARTBEAT_INTERVAL_MS = 41_250


class LocalDiscord:
    """The whole state of the server."""

    def __init__(self, token: str, journal: Journal) -> None:
        self.journal = journal
        self.world = World()
        self.faults = Faults()
        self.logins = LoginBudget()
        self.rate_limits = RateLimits()
        self.sessions = Sessions()
        self.connections: set[Socket] = set()
        self.interactions = Interactions()
        self.webhooks = Webhooks()
        self.heartbeat_interval_ms = HEARTBEAT_INTERVAL_MS
        self._token = token
        self._token_was_reset = False

    def is_token(self, token: object) -> bool:
        """Whether this is the bot's token, and was not reset."""
        known = isinstance(token, str) and hmac.compare_digest(token.encode(), self._token.encode())
        return known and not self._token_was_reset

    async def reset_token(self) -> None:
        """What Discord does when a bot used up its logins: the token is void and all its sessions end."""
        self.journal.add("token_reset")
        self._token_was_reset = True
        await asyncio.gather(*(connection.close(4004, "Authentication failed.") for connection in self.logged_in()))

    def restore_token(self, identify_limit: int) -> None:
        """Makes the token good again, with so many logins left."""
        self._token_was_reset = False
        self.logins.reset(identify_limit)

    def sockets(self, site: str | None) -> list[Socket]:
        """The open sockets of the gateway, of one site or (None) of all."""
        return [connection for connection in self.connections if site in (None, connection.site)]

    def logged_in(self, site: str | None = None) -> list[Socket]:
        """The sockets that have a session."""
        return [session.connection for session in self.sessions.live(site) if session.connection]

    def gateway_url(self, request: web.Request) -> str:
        """Where the client that sent this request finds the gateway, under its site's prefix."""
        site = request.match_info.get("site")
        prefix = f"/sites/{site}" if site else ""
        return f"ws://{request.host}{prefix}/gateway"

    def describe_faults(self) -> dict[str, Any]:
        """What is in force, for `GET /control`."""
        return {
            **self.faults.describe(),
            "heartbeat_interval_ms": self.heartbeat_interval_ms,
            "privileged_intents": self.world.privileged_intents,
            "identify_limit": self.logins.remaining,
            "identify_window_s": self.logins.window_s,
        }
