"""The Discord workload with real discord.py clients, against the local Discord."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from discord_helpers import TOKEN, entries, until
from localdiscord.discord import Running, local_discord
from localdiscord.journal import overlaps, sessions
from rectbot.bot.workload import LOGIN_RESERVE, DiscordWorkload
from rectbot.errors import ConfigError, RectbotError
from rectbot.failover import Lease
from rectbot.failover.clock import boottime_ms
from rectbot.failover.messages import Logins

USER_BOT = """
import asyncio
import discord

class Talker(discord.Client):
    async def on_message(self, message):
        if message.author != self.user and message.content == "hello":
            await message.channel.send("hello yourself")

class Hanging(discord.Client):
    released = False

    async def close(self):
        while not self.released:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass  # as careless as users' code can be

class Failing(discord.Client):
    async def close(self):
        raise ValueError("cannot close")

class Quitting(discord.Client):
    async def on_ready(self):
        await self.close()

def talker():
    return Talker(intents=discord.Intents.all())

def hanging():
    return Hanging(intents=discord.Intents(guilds=True))

def failing():
    return Failing(intents=discord.Intents(guilds=True))

def quitting():
    return Quitting(intents=discord.Intents(guilds=True))

def sharded():
    return discord.AutoShardedClient(intents=discord.Intents(guilds=True))
"""


@pytest.fixture
async def discord() -> AsyncIterator[Running]:
    async with local_discord(TOKEN) as running:
        running.discord.logins.window_s = 0
        yield running


@pytest.fixture
def user_bot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (tmp_path / "userbot_workload.py").write_text(USER_BOT)
    yield
    module = sys.modules.pop("userbot_workload", None)
    if module is not None:
        module.Hanging.released = True


def lease(epoch: int = 1) -> Lease:
    return Lease("xserver", "xserver:test", epoch, boottime_ms() + 60_000)


def workload(discord: Running, token: str = TOKEN, **changes: Any) -> DiscordWorkload:
    return DiscordWorkload(token, api_url=discord.api_url("xserver"), **changes)


async def post(discord: Running, path: str, **body: Any) -> dict[str, Any]:
    async with aiohttp.ClientSession() as http, http.post(discord.url + path, json=body) as answer:
        assert answer.status == 200, await answer.text()
        result: dict[str, Any] = await answer.json()
        return result


async def test_a_person_uses_ping_and_status(discord: Running) -> None:
    bot = workload(discord)
    await bot.start(lease(epoch=7))
    assert bot.healthy
    await until(lambda: discord.discord.world.find_command("status") is not None)
    ping = await post(discord, "/control/interaction", command="ping")
    status = await post(discord, "/control/interaction", command="status")
    await bot.stop(5)
    assert ping["answered"]
    assert ping["content"].startswith("Pong from xserver, ")
    [embed] = status["embeds"]
    shown = {field["name"]: field["value"] for field in embed["fields"]}
    assert (shown["Site"], shown["Epoch"]) == ("xserver", "7")
    assert shown["Latency"].endswith(" ms")
    [presence] = entries(discord, "presence")
    assert presence["activities"] == ["on xserver"]


async def test_stopping_logs_out_and_each_lease_gets_a_new_client(discord: Running) -> None:
    bot = workload(discord)
    for epoch in (1, 2):
        await bot.start(lease(epoch))
        await bot.stop(5)
        assert not bot.healthy
    await until(lambda: not discord.discord.connections)
    found = sessions(entries(discord))
    assert [(session.how, session.close_code) for session in found] == [("identify", 1000)] * 2
    assert overlaps(entries(discord)) == []


async def test_a_sharded_client_works_too(discord: Running, user_bot: None) -> None:
    bot = workload(discord, app="userbot_workload:sharded")
    await bot.start(lease())
    assert bot.healthy
    await bot.stop(5)
    await until(lambda: not discord.discord.connections)
    assert len(sessions(entries(discord))) == 1


async def test_nothing_is_sent_after_the_lease(discord: Running) -> None:
    """With a heartbeat due every 50 ms, and a person who asks: not a frame, not a request."""
    discord.discord.heartbeat_interval_ms = 50
    bot, held = workload(discord), lease()
    await bot.start(held)
    await until(
        lambda: len(entries(discord, "heartbeat")) >= 3 and discord.discord.world.find_command("ping") is not None
    )
    held.end()
    over = time.clock_gettime(time.CLOCK_BOOTTIME)
    asked = asyncio.create_task(post(discord, "/control/interaction", command="ping", timeout_s=1))
    await until(lambda: bool(entries(discord, "session_close")))
    assert not (await asked)["answered"]
    assert not bot.healthy
    after = [entry for entry in entries(discord) if entry["mono"] > over and entry["site"] == "xserver"]
    assert {entry["event"] for entry in after} <= {"dispatch", "zombie", "session_close", "socket_close"}
    await bot.stop(5)


async def test_a_wrong_token_is_one_clear_error_and_no_login(discord: Running) -> None:
    bot = workload(discord, token="wrong")
    with pytest.raises(ConfigError, match="Discord refuses DISCORD_BOT_TOKEN"):
        await bot.start(lease())
    await bot.stop(5)
    assert len(entries(discord, "rest")) == 1
    assert not entries(discord, "identify")


async def test_a_token_that_becomes_wrong_is_fatal(discord: Running) -> None:
    bot = workload(discord)
    await bot.start(lease())
    await post(discord, "/control", invalid_token=True, drop_sockets={"code": 1006})
    ended = await asyncio.wait_for(bot.wait(), 10)
    await bot.stop(5)
    assert ended.fatal
    assert "DISCORD_BOT_TOKEN" in ended.reason


async def test_intents_that_are_not_allowed_are_fatal(discord: Running, user_bot: None) -> None:
    discord.discord.world.privileged_intents = False
    bot = workload(discord, app="userbot_workload:talker")
    with pytest.raises(ConfigError, match="allow the privileged ones"):
        await bot.start(lease())
    await bot.stop(5)


async def test_no_login_is_risked_when_few_are_left(discord: Running) -> None:
    """Discord resets the token of a bot that uses up its 1,000 logins of 24 hours."""
    discord.discord.logins.reset(20)
    told: list[Logins] = []
    bot = workload(discord)
    with pytest.raises(RectbotError, match="only 20 of 20 logins are left") as caught:
        await bot.start(Lease("xserver", "xserver:test", 1, boottime_ms() + 60_000, on_login=told.append))
    assert told == [Logins(0, 0)], "so that the other sites do not try either"
    assert not isinstance(caught.value, ConfigError)
    await bot.stop(5)
    assert not entries(discord, "identify")


async def test_discord_is_out_at_the_login(discord: Running) -> None:
    await post(discord, "/control", refuse_logins=True)
    bot = workload(discord)
    with pytest.raises(RectbotError, match="the login at Discord failed: DiscordServerError: 503") as caught:
        await bot.start(lease())
    assert not isinstance(caught.value, ConfigError)
    await bot.stop(5)


async def test_discord_cannot_be_reached() -> None:
    async with local_discord(TOKEN) as gone:
        bot = workload(gone)
    with pytest.raises(RectbotError, match="the login at Discord failed: ClientConnectorError"):
        await bot.start(lease())
    await bot.stop(5)


async def test_a_login_that_takes_too_long_fails(discord: Running) -> None:
    await post(discord, "/control", delay_ms=1_000)
    bot = workload(discord, login_timeout_s=0.3)
    with pytest.raises(RectbotError, match="took longer than"):
        await bot.start(lease())
    await bot.stop(5)


async def test_a_login_is_cancelled_half_way(discord: Running) -> None:
    await post(discord, "/control", delay_ms=400)
    bot = workload(discord)
    starting = asyncio.create_task(bot.start(lease()))
    await until(lambda: bool(discord.discord.connections))
    starting.cancel()
    await bot.stop(5)
    await until(lambda: not discord.discord.connections)
    assert starting.cancelled() or starting.done()
    found = len(entries(discord, "identify"))
    await post(discord, "/control", delay_ms=0)
    await bot.start(lease(2))  # and it can be started again
    await bot.stop(5)
    assert len(entries(discord, "identify")) == found + 1
    assert overlaps(entries(discord)) == []


async def test_a_gateway_that_stays_away_ends_the_workload(discord: Running) -> None:
    bot = workload(discord, away_limit_s=2)
    await bot.start(lease())
    await post(discord, "/control", refuse_logins=True, drop_sockets={"code": 4000})
    ended = await asyncio.wait_for(bot.wait(), 20)
    await bot.stop(5)
    assert not ended.fatal
    assert ended.reason == "Discord's gateway has been away for 2 s"


@pytest.mark.parametrize("fault", [{"drop_sockets": {"code": 1006}}, {"reconnect": True}])
async def test_a_short_break_is_mended_by_a_resume(discord: Running, fault: dict[str, Any]) -> None:
    bot = workload(discord)
    await bot.start(lease())
    await post(discord, "/control", **fault)
    await until(lambda: bool(entries(discord, "resumed")))
    await until(lambda: bot.healthy)
    await bot.stop(5)
    assert len(entries(discord, "identify")) == 1
    assert overlaps(entries(discord)) == []


async def test_a_session_that_is_invalidated_logs_in_anew(discord: Running) -> None:
    bot = workload(discord)
    await bot.start(lease())
    await post(discord, "/control", invalid_session=True)
    await until(lambda: len(entries(discord, "ready")) == 2)
    await bot.stop(5)
    first, second = entries(discord, "identify")
    assert second["mono"] - first["mono"] > 4.9  # discord.py waits five seconds, as Discord asks
    assert overlaps(entries(discord)) == []


async def test_every_login_is_entered_before_it_is_sent(discord: Running) -> None:
    entered: list[tuple[Logins, int]] = []

    def enter(logins: Logins) -> None:
        entered.append((logins, len(entries(discord, "identify"))))

    bot = workload(discord)
    await bot.start(Lease("xserver", "xserver:test", 1, boottime_ms() + 60_000, logins_left=5, on_login=enter))
    await post(discord, "/control", drop_sockets={"code": 4000})
    await until(lambda: bool(entries(discord, "resumed")))
    await post(discord, "/control", invalid_session=True)
    await until(lambda: len(entries(discord, "ready")) == 2)
    await bot.stop(5)
    left = 1_000 - LOGIN_RESERVE - 1
    assert entered == [(Logins(0, left), 0), (Logins(1, left - 1), 1)], "a RESUME is no login"


async def test_a_spent_budget_ends_the_workload_before_the_login(discord: Running) -> None:
    bot = workload(discord)
    await bot.start(Lease("xserver", "xserver:test", 1, boottime_ms() + 60_000, logins_left=0))
    await post(discord, "/control", invalid_session=True)
    ended = await asyncio.wait_for(bot.wait(), 20)
    await bot.stop(5)
    assert not ended.fatal
    assert ended.reason.startswith("the login budget for 24 h is spent")
    assert len(entries(discord, "identify")) == 1


async def test_a_users_own_bot_answers(discord: Running, user_bot: None) -> None:
    bot = workload(discord, app="userbot_workload:talker")
    await bot.start(lease())
    await post(discord, "/control/message", content="hello")
    messages = discord.discord.world.messages
    await until(lambda: [message["content"] for message in messages.values()] == ["hello", "hello yourself"])
    await bot.stop(5)


async def test_a_client_that_does_not_close_is_cut_off(discord: Running, user_bot: None) -> None:
    bot = workload(discord, app="userbot_workload:hanging")
    await bot.start(lease())
    before = time.monotonic()
    await bot.stop(0.5)
    assert time.monotonic() - before < 0.6
    await until(lambda: not discord.discord.connections)
    [session] = sessions(entries(discord))
    assert session.close_code == 1006
    sys.modules["userbot_workload"].Hanging.released = True
    left = [task for task in asyncio.all_tasks() if task.get_name() == "close"]
    for task in left:
        task.cancel()
    await asyncio.gather(*left)
    assert len(left) == 1


async def test_a_client_whose_close_fails_is_cut_off(discord: Running, user_bot: None) -> None:
    bot = workload(discord, app="userbot_workload:failing")
    await bot.start(lease())
    await bot.stop(5)
    await until(lambda: not discord.discord.connections)


async def test_a_client_that_closes_itself_has_ended(discord: Running, user_bot: None) -> None:
    bot = workload(discord, app="userbot_workload:quitting")
    await bot.start(lease())
    ended = await asyncio.wait_for(bot.wait(), 10)
    await bot.stop(5)
    assert (ended.reason, ended.fatal) == ("the client closed itself", False)
