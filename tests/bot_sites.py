"""`rectbot bot` as processes of sites."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from discord_helpers import TOKEN, until
from localdiscord.discord import Running
from servers import RedisServer

TTL_S = 2.0
BOT = (sys.executable, "-m", "rectbot", "bot")


@dataclass
class Site:
    """A bot process of one site."""

    name: str
    process: asyncio.subprocess.Process
    folder: Path

    @property
    def pid_file(self) -> Path:
        return self.folder / "bot.pid"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def guardians(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    async def end(self, number: int = signal.SIGKILL) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 15)


@asynccontextmanager
async def site(
    name: str,
    discord: Running,
    redis: RedisServer,
    folder: Path,
    *,
    command: tuple[str, ...] = BOT,
    token: str = TOKEN,
    **settings: str,
) -> AsyncIterator[Site]:
    home = folder / name
    home.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "RECTBOT_HOME": str(home),
        "FAILOVER_ENABLED": "true",
        "SITE_ID": name,
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(redis.port),
        "REDIS_PASSWORD": redis.password,
        "LOCK_TTL_MS": str(int(TTL_S * 1000)),
        "FAILBACK_DELAY_SEC": "0",
        "DISCORD_BOT_TOKEN": token,
        "DISCORD_API_URL": discord.api_url(name),
        "BOT_PID_FILE": str(home / "bot.pid"),
        **settings,
    }
    with (home / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=log, stderr=log, cwd=home)
    bot = Site(name, process, home)
    try:
        yield bot
    finally:
        await bot.end()


def live(discord: Running) -> list[str | None]:
    return [session.site for session in discord.discord.sessions.live()]


@asynccontextmanager
async def two_sites(
    discord: Running, redis: RedisServer, folder: Path, command: tuple[str, ...] = BOT, **settings: str
) -> AsyncIterator[tuple[Site, Site]]:
    """Both sites run, and xserver leads."""
    async with AsyncExitStack() as stack:
        xserver = await stack.enter_async_context(site("xserver", discord, redis, folder, command=command, **settings))
        await until(lambda: live(discord) == ["xserver"], within_s=20)
        oci = await stack.enter_async_context(site("oci", discord, redis, folder, command=command, **settings))
        await until(lambda: redis.command("EXISTS rectbot:hb:oci") == b":1\r\n", within_s=20)
        yield xserver, oci
