"""`rectbot bot` as processes of two sites, with a real Redis and the local Discord as the judge."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from bot_sites import TTL_S, live, site, two_sites
from discord_helpers import TOKEN, entries, until
from localdiscord.discord import Running, local_discord
from localdiscord.journal import overlaps, sessions
from rectbot.failover import FailoverConfig, open_store
from servers import PASSWORD, RedisServer

WITHOUT_GUARDIAN = (
    sys.executable,
    "-c",
    "import asyncio\n"
    "from rectbot.bot.workload import DiscordWorkload\n"
    "from rectbot.failover import run, stop_on_signals\n"
    "from rectbot.failover.wiring import failover_config, open_store_from_settings\n"
    "from rectbot.settings import load_settings\n"
    "async def main():\n"
    "    settings = load_settings()\n"
    "    config = failover_config(settings)\n"
    "    store = open_store_from_settings(settings, config)\n"
    "    workload = DiscordWorkload(settings.discord_bot_token.get_secret_value(), api_url=settings.discord_api_url)\n"
    "    await run(config, store, workload, stop=stop_on_signals())\n"
    "asyncio.run(main())\n",
)


@pytest.fixture
async def discord() -> AsyncIterator[Running]:
    async with local_discord(TOKEN) as running:
        running.discord.logins.window_s = 0
        yield running


async def test_a_killed_leader_is_replaced_in_time(discord: Running, redis: RedisServer, tmp_path: Path) -> None:
    async with two_sites(discord, redis, tmp_path) as (xserver, _):
        killed = time.clock_gettime(time.CLOCK_BOOTTIME)
        await xserver.end(signal.SIGKILL)
        await until(lambda: live(discord) == ["oci"])
        [oci] = [session for session in sessions(entries(discord)) if session.site == "oci"]
        assert oci.opened - killed < TTL_S + 1
    assert overlaps(entries(discord)) == []


async def test_a_clean_stop_hands_over_at_once(discord: Running, redis: RedisServer, tmp_path: Path) -> None:
    async with two_sites(discord, redis, tmp_path) as (xserver, _):
        assert xserver.pid_file.read_text() == f"{xserver.process.pid}\n"
        assert await xserver.end(signal.SIGTERM) == 0
        await until(lambda: live(discord) == ["oci"])
        first, second = sessions(entries(discord))
        assert (first.site, first.close_code, second.site) == ("xserver", 1000, "oci")
        assert first.closed is not None
        assert 0 <= second.opened - first.closed < 1
        assert not xserver.pid_file.exists()
    assert overlaps(entries(discord)) == []


async def test_a_paused_leader_is_ended_before_its_lease(discord: Running, redis: RedisServer, tmp_path: Path) -> None:
    async with two_sites(discord, redis, tmp_path) as (xserver, _):
        xserver.process.send_signal(signal.SIGSTOP)
        await until(lambda: live(discord) == ["oci"])
        assert await xserver.end() == -signal.SIGKILL
        assert overlaps(entries(discord)) == []
        [oci] = [session for session in sessions(entries(discord)) if session.site == "oci"]
        later = [entry for entry in entries(discord) if entry["site"] == "xserver" and entry["mono"] >= oci.opened]
        assert not later


async def test_a_paused_leader_without_a_guardian_sends_nothing_when_it_goes_on(
    discord: Running, redis: RedisServer, tmp_path: Path
) -> None:
    """Its socket stays open while it is paused; but it is silent, though its heartbeat is long due."""
    discord.discord.heartbeat_interval_ms = 2_000
    async with two_sites(discord, redis, tmp_path, WITHOUT_GUARDIAN) as (xserver, _):
        assert xserver.guardians() == []
        xserver.process.send_signal(signal.SIGSTOP)
        await until(lambda: "oci" in live(discord))
        resumed = time.clock_gettime(time.CLOCK_BOOTTIME)
        xserver.process.send_signal(signal.SIGCONT)
        await asyncio.wait_for(xserver.process.wait(), 15)
        await until(lambda: live(discord) == ["oci"])
    later = [entry for entry in entries(discord) if entry["site"] == "xserver" and entry["mono"] >= resumed]
    assert {entry["event"] for entry in later} <= {"zombie", "session_close", "socket_close"}


async def test_the_preferred_site_gets_the_lead_back(discord: Running, redis: RedisServer, tmp_path: Path) -> None:
    async with site("oci", discord, redis, tmp_path):
        await until(lambda: live(discord) == ["oci"], within_s=20)
        async with site("xserver", discord, redis, tmp_path):
            await until(lambda: live(discord) == ["xserver"], within_s=20)
    assert [session.site for session in sessions(entries(discord))][:2] == ["oci", "xserver"]
    assert overlaps(entries(discord)) == []


async def test_a_leader_that_cannot_reach_discord_hands_over_and_sits_out(
    discord: Running, redis: RedisServer, tmp_path: Path
) -> None:
    async with (
        two_sites(discord, redis, tmp_path, DISCORD_AWAY_LIMIT_SEC="1", FAILBACK_DELAY_SEC="1") as (xserver, _),
        aiohttp.ClientSession() as http,
    ):

        async def control(**body: object) -> None:
            async with http.post(f"{discord.url}/control", json={"site": "xserver", **body}) as answer:
                assert answer.status == 200, await answer.text()

        await control(refuse_logins=True, drop_sockets={"site": "xserver"})
        await until(lambda: live(discord) == ["oci"], within_s=30)
        observer = open_store(FailoverConfig(site=""), port=redis.port, password=PASSWORD)
        assert (await observer.snapshot()).counts["workload-failed:xserver"] == 1
        await observer.close()
        assert re.search(r"sits out for [45]\.\d s", xserver.log)
        await control(refuse_logins=False)
        await until(lambda: live(discord) == ["xserver"], within_s=60)
    assert overlaps(entries(discord)) == []


async def test_a_wrong_token_ends_the_bot_with_one_line(discord: Running, redis: RedisServer, tmp_path: Path) -> None:
    secret = "a-token-that-is-wrong"
    async with site("xserver", discord, redis, tmp_path, token=secret) as xserver:
        assert await asyncio.wait_for(xserver.process.wait(), 20) == 2
        last = xserver.log.splitlines()[-1]
    assert last.startswith("rectbot: ")
    assert "Discord refuses DISCORD_BOT_TOKEN" in last
    assert secret not in xserver.log
    assert "Traceback" not in xserver.log
    assert len(entries(discord, "rest")) == 1
    assert not entries(discord, "identify")


async def test_secrets_stay_out_of_logs_and_process_lists(discord: Running, redis: RedisServer, tmp_path: Path) -> None:
    async with two_sites(discord, redis, tmp_path) as (xserver, oci):
        processes = [psutil.Process(xserver.process.pid), *xserver.guardians()]
        shown = [part for process in processes for part in process.cmdline()]
        assert len(processes) == 3
    for secret in (TOKEN, redis.password):
        assert secret not in " ".join(shown) + xserver.log + oci.log
