"""Points discord.py at another API than Discord's, for the local Discord."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import discord.gateway
import discord.http
import yarl

from rectbot.bot.url import check_api_url

_pointed_at: list[str] = []


@contextmanager
def discord_api(url: str | None) -> Iterator[None]:
    """While it is open, discord.py's requests go to this base, such as http://127.0.0.1:9800/api/v10; None: to Discord.

    discord.py keeps the base in a class, so one process can talk to one base at a time. Raises ConfigError for a wrong
    URL.
    """
    if url is None:
        yield
        return
    base = check_api_url(url)
    if _pointed_at and _pointed_at[-1] != base:
        raise RuntimeError(f"this process talks to {_pointed_at[-1]} already")
    route, websocket = discord.http.Route, discord.gateway.DiscordWebSocket
    before = route.BASE, websocket.DEFAULT_GATEWAY
    route.BASE = base
    _pointed_at.append(base)
    try:
        yield
    finally:
        _pointed_at.pop()
        if not _pointed_at:
            route.BASE, websocket.DEFAULT_GATEWAY = before


def use_gateway(url: str) -> None:
    """Opens the gateway at the URL that `GET /gateway/bot` named, while discord.py is pointed at another API."""
    if _pointed_at:
        discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url)
