"""Our bot: /ping and /status, and a presence that shows the site."""

from __future__ import annotations

import logging
import math
import time

import aiohttp
import discord
from discord import app_commands

from rectbot.failover import Lease

_log = logging.getLogger(__name__)


class RectbotClient(discord.Client):
    """A client for one lease; it is thrown away with it."""

    def __init__(self, lease: Lease) -> None:
        # Slash commands need no cache of members or messages; small hosts have no memory for one.
        super().__init__(
            intents=discord.Intents(guilds=True),
            activity=discord.Game(f"on {lease.site}"),
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            max_messages=None,
        )
        self.lease = lease
        self.tree = app_commands.CommandTree(self)
        self._started = time.monotonic()
        self._registered = False
        _add_commands(self)

    @property
    def uptime_s(self) -> float:
        """Seconds since this client was made, just before its login."""
        return time.monotonic() - self._started

    async def on_connect(self) -> None:
        """Registers the commands once logged in: a takeover must not wait for that."""
        if self._registered:
            return
        try:
            await self.tree.sync()
        except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
            _log.warning("%s: the commands could not be registered: %s", self.lease.site, error)
        else:
            self._registered = True
            _log.info("%s: the commands are registered", self.lease.site)


def _add_commands(client: RectbotClient) -> None:
    @client.tree.command(name="ping", description="Is the bot there, and how far is it from Discord?")
    async def ping(interaction: discord.Interaction) -> None:
        await interaction.response.send_message(f"Pong from {client.lease.site}, {_latency(client)}")

    @client.tree.command(name="status", description="Which site the bot runs at, and for how long.")
    async def status(interaction: discord.Interaction) -> None:
        facts = {
            "Site": client.lease.site,
            "Epoch": str(client.lease.epoch),
            "Uptime": _duration(client.uptime_s),
            "Latency": _latency(client),
        }
        embed = discord.Embed(title="rectbot")
        for name, value in facts.items():
            embed.add_field(name=name, value=value)
        await interaction.response.send_message(embed=embed)


def _latency(client: discord.Client) -> str:
    latency_s = client.latency
    return f"{latency_s * 1000:.0f} ms" if math.isfinite(latency_s) else "latency not known yet"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
    shown = [f"{value} {unit}" for value, unit in parts if value][:2]
    return " ".join(shown) or "0 s"
