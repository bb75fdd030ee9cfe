"""The bot ships its log when LOKI_URL is set, and runs as well when it cannot."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from discord_helpers import TOKEN, entries, until
from localdiscord.discord import Running, local_discord
from loki_stand_in import stand_in
from servers import free_port


@pytest.fixture
async def discord() -> AsyncIterator[Running]:
    async with local_discord(TOKEN) as running:
        yield running


async def start(discord: Running, folder: Path, loki_url: str) -> asyncio.subprocess.Process:
    environment = {
        "PATH": os.environ["PATH"],
        "RECTBOT_HOME": str(folder),
        "SITE_ID": "xserver",
        "FAILOVER_ENABLED": "false",
        "DISCORD_BOT_TOKEN": TOKEN,
        "DISCORD_API_URL": discord.api_url("xserver"),
        "LOKI_URL": loki_url,
    }
    command = (sys.executable, "-m", "rectbot", "bot")
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*command, env=environment, stderr=pipe, cwd=folder)


async def test_the_log_of_a_bot_arrives_also_its_end(discord: Running, tmp_path: Path) -> None:
    with stand_in() as loki:
        bot = await start(discord, tmp_path, loki.url)
        await until(lambda: bool(entries(discord, "ready")), within_s=20)
        bot.send_signal(signal.SIGTERM)
        _, errors = await bot.communicate()
        assert bot.returncode == 0, errors
        shipped = [json.loads(line) for line in loki.texts(job="bot", site="xserver")]
    printed = [line.split(" ", 2)[2] for line in errors.decode().splitlines()]
    assert printed
    assert [line["msg"] for line in shipped] == printed, "what it prints is what it ships, to the last line"
    assert TOKEN not in json.dumps(shipped)


async def test_a_bot_runs_and_ends_in_time_without_loki(discord: Running, tmp_path: Path) -> None:
    bot = await start(discord, tmp_path, f"http://127.0.0.1:{free_port()}")
    await until(lambda: bool(entries(discord, "ready")), within_s=20)
    bot.send_signal(signal.SIGTERM)
    began = time.monotonic()
    _, errors = await bot.communicate()
    assert bot.returncode == 0, errors
    assert time.monotonic() - began < 8, "the supervisor of the native stack gives it 4 s, on an idle machine"
    assert list((tmp_path / "var/logs/bot-xserver").glob("*.gz")), "what was not shipped is kept"


async def test_a_wrong_address_is_a_clear_error(discord: Running, tmp_path: Path) -> None:
    bot = await start(discord, tmp_path, "localhost:3100")
    _, errors = await bot.communicate()
    assert bot.returncode == 2
    assert errors.decode().count("\n") == 1
    assert "LOKI_URL" in errors.decode()
