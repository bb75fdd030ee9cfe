"""The bot as a process of its own for each lease: nothing of it outlives that, and it always ends in time."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from bot_sites import Site, live, site
from discord_helpers import TOKEN, entries, until
from localdiscord.discord import Running, local_discord
from localdiscord.journal import overlaps, sessions
from rectbot.failover import FailoverConfig, open_store
from servers import RedisServer

STOP_S = 1.0
LATE_S = 8.0  # 2 s on an idle machine; what held it up would hold it up for 30 s and more

APP = """
import asyncio, atexit, os, signal, threading, time
from pathlib import Path
from typing import Any
import discord
from discord.ext import commands, tasks

HERE = Path(__file__).parent

def tick(name):
    with (HERE / name).open("a") as file:
        file.write(f"{time.clock_gettime(time.CLOCK_BOOTTIME)} {os.getpid()}\\\\n")

class Bot(commands.Bot):
    def __init__(self, **words):
        super().__init__(command_prefix="!", intents=discord.Intents(guilds=True), **words)

@tasks.loop(seconds=0.2)
async def module_loop():
    tick("module")

class Looping(Bot):
    async def setup_hook(self):
        module_loop.start()
        self.own.start()
        threading.Thread(target=self.in_thread).start()
        asyncio.get_running_loop().run_in_executor(None, self.in_thread)

    @tasks.loop(seconds=0.2)
    async def own(self):
        tick("own")

    def in_thread(self):
        while True:
            tick("thread")
            time.sleep(0.2)

class Deaf(Bot):
    async def setup_hook(self):
        async def deaf():
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass
        self.deaf = asyncio.create_task(deaf())

class NeverCloses(Bot):
    async def close(self):
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass

class InExecutor(Bot):
    async def setup_hook(self):
        asyncio.get_running_loop().run_in_executor(None, time.sleep, 40)

class InThread(Bot):
    async def setup_hook(self):
        threading.Thread(target=time.sleep, args=(40,)).start()

class AtExit(Bot):
    async def setup_hook(self):
        atexit.register(time.sleep, 40)

class Blocked(Bot):
    async def on_ready(self):
        tick("blocked")
        time.sleep(40)

class Busy(Bot):
    async def on_ready(self):
        tick("busy")
        while True:
            pass

class Ignores(Bot):
    async def on_ready(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        tick("ignores")
        time.sleep(40)
"""
HOLD_UPS = ["Deaf", "NeverCloses", "InExecutor", "InThread", "AtExit", "Blocked", "Busy"]


@pytest.fixture
async def discord() -> AsyncIterator[Running]:
    async with local_discord(TOKEN) as running:
        running.discord.logins.window_s = 0
        yield running


@pytest.fixture
async def told(redis: RedisServer) -> RedisServer:
    """A Redis that knows that it is new, so that nobody has to wait."""
    observer = open_store(FailoverConfig(site="", lock_ttl_ms=30_000, hb_ttl_sec=30), url=redis.url)
    await observer.initialise()
    await observer.close()
    return redis


def app_in(folder: Path, name: str) -> Path:
    home = folder / name
    home.mkdir(exist_ok=True)
    (home / "holdups.py").write_text(APP.replace("\\\\n", "\\n"))
    return home


def ticks(home: Path, name: str, since: float = 0, before: float = float("inf")) -> int:
    file = home / name
    lines = file.read_text().splitlines() if file.exists() else []
    return sum(since <= float(line.split()[0]) < before for line in lines)


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def test_background_tasks_are_gone_with_the_lease_and_back_with_the_next(
    discord: Running, told: RedisServer, tmp_path: Path
) -> None:
    """`tasks.loop` in setup_hook and at module level, threads and executors: none ticks while another site leads."""
    changes: dict[str, Any] = {"LOCK_TTL_MS": "3000", "HB_TTL_SEC": "30", "FAILBACK_DELAY_SEC": "3600"}
    home = app_in(tmp_path, "xserver")
    async with AsyncExitStack() as stack:
        looping = site("xserver", discord, told, tmp_path, BOT_APP="holdups:Looping", **changes)
        xserver = await stack.enter_async_context(looping)
        await until(lambda: live(discord) == ["xserver"], within_s=30)
        oci = await stack.enter_async_context(site("oci", discord, told, tmp_path, **changes))
        await until(lambda: "waits for the lease" in oci.log, within_s=30)
        for turn in (1, 2):
            began = now()
            await until(lambda began=began: ticks(home, "own", began) >= 3)  # type: ignore[misc]
            switch(told, "oci")
            await until(lambda: live(discord) == ["oci"], within_s=30)
            away = now()
            await asyncio.sleep(2)
            assert [ticks(home, name, away) for name in ("own", "module", "thread")] == [0, 0, 0]
            await until(lambda turn=turn: xserver.log.count("waits for the lease") > turn, within_s=30)  # type: ignore[misc]
            switch(told, "xserver")
            await until(lambda: live(discord) == ["xserver"], within_s=30)
            await asyncio.sleep(1)
            back = now()
            await asyncio.sleep(2)
            for name in ("own", "module"):
                assert 7 <= ticks(home, name, back, back + 2) <= 11, "as fast as the first time"
        assert "already launched" not in xserver.log
    assert overlaps(entries(discord)) == []


def switch(redis: RedisServer, to: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "rectbot", "failover", "switch", to],
        env={
            "PATH": "/usr/bin:/bin",
            "RECTBOT_HOME": "/nonexistent",
            "FAILOVER_ENABLED": "true",
            "REDIS_PORT": str(redis.port),
            "REDIS_PASSWORD": redis.password,
            "LOCK_TTL_MS": "3000",
            "HB_TTL_SEC": "30",
        },
        check=True,
        capture_output=True,
        timeout=60,
    )


async def exit_time(bot: Site) -> tuple[int, float]:
    began = time.monotonic()
    bot.process.send_signal(signal.SIGTERM)
    code = await asyncio.wait_for(bot.process.wait(), 30)
    return code, time.monotonic() - began


@pytest.mark.parametrize("failover", ["true", "false"])
@pytest.mark.parametrize("app", HOLD_UPS)
async def test_sigterm_ends_the_bot_in_time_whatever_holds_it_up(
    discord: Running, told: RedisServer, tmp_path: Path, app: str, failover: str
) -> None:
    app_in(tmp_path, "xserver")
    changes: dict[str, Any] = {"LOCK_TTL_MS": "30000", "HB_TTL_SEC": "30", "STOP_TIMEOUT_MS": str(int(STOP_S * 1000))}
    async with site(
        "xserver", discord, told, tmp_path, BOT_APP=f"holdups:{app}", FAILOVER_ENABLED=failover, **changes
    ) as bot:
        await until(lambda: live(discord) == ["xserver"], within_s=30)
        await asyncio.sleep(0.3)
        family = [psutil.Process(bot.process.pid), *psutil.Process(bot.process.pid).children(recursive=True)]
        code, seconds = await exit_time(bot)
        assert seconds < STOP_S + LATE_S, bot.log
        assert code == 0, bot.log
        await until(lambda: not any(process.is_running() for process in family))
    if failover == "true":
        assert told.command("EXISTS rectbot:leader") == b":0\r\n", "the lead was released"


async def test_a_bot_that_ignores_everything_is_killed_in_time(
    discord: Running, told: RedisServer, tmp_path: Path
) -> None:
    home = app_in(tmp_path, "xserver")
    changes: dict[str, Any] = {"LOCK_TTL_MS": "30000", "HB_TTL_SEC": "30", "STOP_TIMEOUT_MS": str(int(STOP_S * 1000))}
    async with site("xserver", discord, told, tmp_path, BOT_APP="holdups:Ignores", **changes) as bot:
        await until(lambda: ticks(home, "ignores") == 1, within_s=30)
        code, seconds = await exit_time(bot)
        assert seconds < STOP_S + LATE_S, bot.log
        assert code == 0
        assert "it is killed" in bot.log


@pytest.mark.parametrize("app", ["Blocked", "Busy"])
async def test_a_bot_whose_event_loop_is_stuck_loses_the_lead(
    discord: Running, told: RedisServer, tmp_path: Path, app: str
) -> None:
    """The lease is renewed by another process, which must not take that for life."""
    home = app_in(tmp_path, "xserver")
    changes: dict[str, Any] = {
        "LOCK_TTL_MS": "3000",
        "HB_TTL_SEC": "30",
        "DISCORD_AWAY_LIMIT_SEC": "6",
        "FAILBACK_DELAY_SEC": "3600",
    }
    async with site("xserver", discord, told, tmp_path, BOT_APP=f"holdups:{app}", **changes) as xserver:
        await until(lambda: ticks(home, app.lower()) == 1, within_s=30)
        async with site("oci", discord, told, tmp_path, **changes):
            await until(lambda: live(discord) == ["oci"], within_s=40)
        assert "the program has not moved for" in xserver.log
    assert overlaps(entries(discord)) == []


@pytest.mark.parametrize("standby", ["warm", "cold"])
async def test_what_a_standby_holds_ready(discord: Running, told: RedisServer, tmp_path: Path, standby: str) -> None:
    changes: dict[str, Any] = {
        "LOCK_TTL_MS": "3000",
        "HB_TTL_SEC": "30",
        "BOT_STANDBY": standby,
        "FAILBACK_DELAY_SEC": "3600",
    }
    async with site("xserver", discord, told, tmp_path, **changes) as xserver:
        await until(lambda: live(discord) == ["xserver"], within_s=30)
        async with site("oci", discord, told, tmp_path, **changes) as oci:
            await until(lambda: told.command("EXISTS rectbot:hb:oci") == b":1\r\n", within_s=30)
            await until(lambda: settled(oci, 2 if standby == "warm" else 1), within_s=30)
            assert await xserver.end(signal.SIGTERM) == 0
            await until(lambda: live(discord) == ["oci"], within_s=30)
            first, second = sessions(entries(discord))
            assert first.closed is not None
            if standby == "warm":
                assert second.opened - first.closed < 1
            assert await oci.end(signal.SIGTERM) == 0
    assert overlaps(entries(discord)) == []


def settled(bot: Site, children: int) -> bool:
    """Watchdog and bot, or the watchdog only: a cold bot was tried once, and is gone."""
    return len(bot.guardians()) == children and "the program" in bot.log


@pytest.mark.parametrize("standby", ["warm", "cold"])
@pytest.mark.parametrize("leads", [True, False])
async def test_a_bot_that_cannot_be_loaded_is_one_clear_error_also_at_a_standby(
    discord: Running, told: RedisServer, tmp_path: Path, standby: str, leads: bool
) -> None:
    changes: dict[str, Any] = {"LOCK_TTL_MS": "3000", "HB_TTL_SEC": "30", "BOT_STANDBY": standby}
    async with site("xserver" if not leads else "oci", discord, told, tmp_path, **changes) as other:
        if not leads:
            await until(lambda: live(discord) == [other.name], within_s=30)
        async with site(
            "third", discord, told, tmp_path, BOT_APP="not_there:make", **changes, FAILOVER_PRIORITY="xserver,oci,third"
        ) as broken:
            await until(lambda: broken.process.returncode is not None, within_s=30)
            assert broken.process.returncode == 2, broken.log
            last = broken.log.splitlines()[-1]
    assert last.startswith("rectbot: --app not_there:make: there is no module not_there")
    assert "Traceback" not in broken.log


async def test_a_bot_that_dies_hands_over_at_once_and_its_logins_are_told_at_once(
    discord: Running, told: RedisServer, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {"LOCK_TTL_MS": "20000", "HB_TTL_SEC": "30", "FAILBACK_DELAY_SEC": "3600"}
    async with site("xserver", discord, told, tmp_path, **changes) as xserver:
        await until(lambda: live(discord) == ["xserver"], within_s=30)
        async with site("oci", discord, told, tmp_path, **changes) as oci:
            await until(lambda: "waits for the lease" in oci.log, within_s=30)
            child = psutil.Process(xserver.process.pid).children(recursive=True)[-1]
            assert "rectbot.bot.child" in child.cmdline()
            began = now()
            child.kill()
            await until(lambda: live(discord) == ["oci"], within_s=15)
            assert now() - began < 10, "long before the lock would expire"
            assert "the program was ended by signal 9" in xserver.log
    assert overlaps(entries(discord)) == []


async def test_each_login_of_a_bot_reaches_the_budget_of_all_sites(
    discord: Running, told: RedisServer, tmp_path: Path
) -> None:
    """The first is paid for by the grant; one after a session that Discord has thrown away counts by itself."""
    changes: dict[str, Any] = {"LOCK_TTL_MS": "3000", "HB_TTL_SEC": "30", "LOGIN_BUDGET": "40"}
    observer = open_store(
        FailoverConfig(site="", lock_ttl_ms=3_000, hb_ttl_sec=30, login_budget=40, priority=("xserver", "oci")),
        url=told.url,
    )

    async def left() -> int | None:
        return (await observer.snapshot()).logins_left

    async with site("xserver", discord, told, tmp_path, **changes):
        await until(lambda: live(discord) == ["xserver"], within_s=30)
        before = await left()
        assert before is not None
        for session in discord.discord.sessions.live():
            assert session.connection is not None
            await session.connection.invalidate(resumable=False)
        await until(lambda: len(entries(discord, "ready")) == 2, within_s=30)
        async with asyncio.timeout(10):
            while await left() != before - 1:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    await observer.close()
