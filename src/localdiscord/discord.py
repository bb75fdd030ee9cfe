"""The local Discord: a server that speaks enough of Discord's API v10 for real clients, and keeps a journal of them.

A client finds it at `http://HOST:PORT/api/v10`, or at `http://HOST:PORT/sites/SITE/api/v10` so that the journal knows
the site; the gateway's URL carries the same prefix. `localdiscord.control` lists what else it can be asked.
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from foundation.webguard import Guard, middleware
from localdiscord import interactions, reactions, rest, webhooks
from localdiscord.api import PREFIXES, add_endpoints, unknown_endpoint
from localdiscord.control import Desk, answer_refusals
from localdiscord.errors import CannotServeError
from localdiscord.faults import Faults
from localdiscord.gateway import Connection, gateway
from localdiscord.journal import Journal
from localdiscord.limits import LoginBudget, RateLimits
from localdiscord.sessions import Sessions
from localdiscord.world import World

HEARTBEAT_INTERVAL_MS = 41_250
MAX_BODY_BYTES = 25 * 1024 * 1024


class LocalDiscord:
    """The whole state of the server."""

    def __init__(self, token: str, journal: Journal) -> None:
        self.journal = journal
        self.world = World()
        self.faults = Faults()
        self.logins = LoginBudget()
        self.rate_limits = RateLimits()
        self.sessions = Sessions()
        self.connections: set[Connection] = set()
        self.interactions = interactions.Interactions()
        self.webhooks = webhooks.Webhooks()
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

    def sockets(self, site: str | None) -> list[Connection]:
        """The open sockets of the gateway, of one site or (None) of all."""
        return [connection for connection in self.connections if site in (None, connection.site)]

    def logged_in(self, site: str | None = None) -> list[Connection]:
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

    def app(self) -> web.Application:
        """The web application that serves this Discord."""
        guard = middleware(Guard())  # a page in somebody's browser must neither read the journal nor log a bot in
        app = web.Application(middlewares=[guard, answer_refusals], client_max_size=MAX_BODY_BYTES)
        Desk(self).add_routes(app)

        async def serve_gateway(request: web.Request) -> web.StreamResponse:
            return await gateway(request, self)

        for prefix in PREFIXES:
            for path in ("/gateway", "/gateway/"):
                app.router.add_get(prefix + path, serve_gateway)
        endpoints = [
            *rest.ENDPOINTS,
            *reactions.ENDPOINTS,
            *interactions.ENDPOINTS,
            *webhooks.ENDPOINTS,
            unknown_endpoint(),
        ]
        add_endpoints(app, self, endpoints)
        app.on_shutdown.append(self._close_sockets)
        return app

    async def _close_sockets(self, _: web.Application) -> None:
        await asyncio.gather(*(connection.close(1001, "Going away.") for connection in list(self.connections)))


class Running:
    """A local Discord that serves."""

    def __init__(self, discord: LocalDiscord, host: str, port: int) -> None:
        self.discord = discord
        self.url = f"http://{host}:{port}"

    def api_url(self, site: str | None = None) -> str:
        """What `DISCORD_API_URL` is set to."""
        return f"{self.url}/sites/{site}/api/v10" if site else f"{self.url}/api/v10"


@asynccontextmanager
async def local_discord(
    token: str, host: str = "127.0.0.1", port: int = 0, journal: Path | None = None
) -> AsyncIterator[Running]:
    """Serves a local Discord in this event loop; port 0 takes a free one.

    Raises CannotServeError when the port is taken or the journal's file cannot be written.
    """
    book = Journal(journal)
    discord = LocalDiscord(token, book)
    runner = web.AppRunner(discord.app(), access_log=None, shutdown_timeout=2)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await _bind(site.start, host, port)
        yield Running(discord, host, runner.addresses[0][1])
    finally:
        await runner.cleanup()
        book.close()


async def _bind(start: Callable[[], Awaitable[None]], host: str, port: int) -> None:
    try:
        await start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotServeError(
                f"port {port} on {host} is in use; stop what holds it, or choose another port"
            ) from None
        raise CannotServeError(f"cannot listen on {host}:{port} ({error.strerror}); choose another address") from None


def serve(host: str, port: int, token: str, journal: Path | None) -> None:
    """Serves a local Discord until SIGTERM or SIGINT. Raises CannotServeError as `local_discord` does."""
    asyncio.run(_serve(host, port, token, journal))


async def _serve(host: str, port: int, token: str, journal: Path | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with local_discord(token, host, port, journal) as running:
        sys.stderr.write(f"the local Discord serves: DISCORD_API_URL={running.api_url()}\n")
        await stop.wait()
