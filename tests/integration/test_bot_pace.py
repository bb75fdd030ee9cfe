"""A gateway that accepts and closes is not asked more often than once a second, and is found again when it serves."""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from discord_helpers import TOKEN, entries, until
from localdiscord.discord import Running, local_discord
from rectbot.bot.pace import LEAST_S, MOST_S, Pace
from rectbot.bot.workload import DiscordWorkload
from rectbot.failover import Lease

WATCHED_S = 6.0
SHARDED = """
import discord

def sharded():
    return discord.AutoShardedClient(intents=discord.Intents(guilds=True))
"""


@pytest.fixture
async def discord() -> AsyncIterator[Running]:
    async with local_discord(TOKEN) as running:
        running.discord.logins.window_s = 0
        yield running


async def control(discord: Running, **body: object) -> None:
    async with aiohttp.ClientSession() as http, http.post(f"{discord.url}/control", json=body) as answer:
        assert answer.status == 200, await answer.text()


@pytest.mark.parametrize("app", [None, "sharded_bot:sharded"])
@pytest.mark.parametrize("when", ["open", "hello", "login"])
async def test_no_storm_of_connections(
    discord: Running, when: str, app: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (tmp_path / "sharded_bot.py").write_text(SHARDED)
    bot = DiscordWorkload(TOKEN, api_url=discord.api_url("xserver"), app=app)
    await bot.start(Lease("xserver", "xserver:test", 1, None))
    before = len(entries(discord, "socket_open"))
    await control(discord, hang_up=when, drop_sockets={"code": 4000})
    await asyncio.sleep(WATCHED_S)
    tried = len(entries(discord, "socket_open")) - before
    assert 1 <= tried <= WATCHED_S / LEAST_S + 1
    await control(discord, hang_up=None)
    await until(lambda: bot.healthy, within_s=2 * MOST_S)
    await bot.stop(5)


async def test_sessions_that_are_short_lived_are_no_way_round_it(discord: Running) -> None:
    """Each is accepted, resumed, and dropped at once."""
    bot = DiscordWorkload(TOKEN, api_url=discord.api_url("xserver"))
    await bot.start(Lease("xserver", "xserver:test", 1, None))
    before = len(entries(discord, "socket_open"))

    async def drop() -> None:
        while True:
            await control(discord, drop_sockets={"code": 4000})
            await asyncio.sleep(0.05)

    dropping = asyncio.create_task(drop())
    await asyncio.sleep(WATCHED_S)
    dropping.cancel()
    tried = len(entries(discord, "socket_open")) - before
    assert 1 <= tried <= WATCHED_S / LEAST_S + 1
    await bot.stop(5)


def test_a_break_after_a_long_time_is_mended_at_once_and_pauses_differ() -> None:
    pace = Pace()
    assert pace.wait_s(1_000.0) == 0
    assert pace.wait_s(4_000.0) == 0
    assert 0 < pace.wait_s(4_000.1) <= 1.5 * LEAST_S
    pauses = []
    for _ in range(50):
        each = Pace()
        each.wait_s(0.0)
        pauses.append(each.wait_s(0.0))
    assert statistics.stdev(pauses) > 0.05
    assert min(pauses) >= LEAST_S
