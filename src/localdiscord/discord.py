"""The local Discord: a server that speaks enough of Discord's API v10 for real clients, and keeps a journal of them.

A client finds it at `http://HOST:PORT/api/v10`, or at `http://HOST:PORT/sites/SITE/api/v10` so that the journal knows
the site; the gateway's URL carries the same prefix. `localdiscord.control` lists what else it can be asked.
"""

from __future__ import annotations

import asyncio
import errno
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from foundation.webguard import Guard, middleware
from localdiscord import interactions, reactions, rest, webhooks
from localdiscord.api import PREFIXES, add_endpoints, unknown_endpoint
from localdiscord.control import Controls, answer_refusals
from localdiscord.errors import CannotServeError
from localdiscord.gateway import gateway
from localdiscord.journal import Journal
from localdiscord.state import LocalDiscord

MAX_BODY_BYTES = 25 * 1024 * 1024


def make_app(discord: LocalDiscord) -> web.Application:
    """The web application that serves this Discord."""
    guard = middleware(Guard())  # a page in somebody's browser must neither read the journal nor log a bot in
    app = web.Application(middlewares=[guard, answer_refusals], client_max_size=MAX_BODY_BYTES)
    Controls(discord).add_routes(app)

    async def serve_gateway(request: web.Request) -> web.StreamResponse:
        return await gateway(request, discord)

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
    add_endpoints(app, discord, endpoints)

    async def close_sockets(_: web.Application) -> None:
        await asyncio.gather(*(socket.close(1001, "Going away.") for socket in list(discord.connections)))

    app.on_shutdown.append(close_sockets)
    return app


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
    runner = web.AppRunner(make_app(discord), access_log=None, shutdown_timeout=2)
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
