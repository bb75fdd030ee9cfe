"""What an operator does with `rectbot failover ...`, on sites that run and a real Redis."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from lease_bots import TTL_MS, Journal, Start, bots_on
from rectbot.errors import ConfigError, RectbotError
from rectbot.failover import console
from rectbot.failover.messages import Command
from rectbot.settings import Settings
from servers import PASSWORD, RedisServer


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
async def start(redis: RedisServer, journal: Journal) -> AsyncIterator[Start]:
    async with bots_on(redis, journal) as begin:
        yield begin


class Operator:
    """Calls what the command line calls, and keeps what it printed."""

    def __init__(self, redis: RedisServer) -> None:
        self.settings = Settings(
            redis_port=redis.port,
            redis_password=SecretStr(PASSWORD),
            failover_priority=("a", "b"),
            lock_ttl_ms=TTL_MS,
        )

    async def _call(self, act: Callable[..., None], *arguments: object, **options: object) -> list[str]:
        lines: list[str] = []
        await asyncio.to_thread(act, self.settings, lines.append, *arguments, **options)
        return lines

    async def order(self, act: str, site: str = "", for_ms: int | None = None) -> list[str]:
        return await self._call(console.order, Command(act, "", "a reason", site, for_ms))  # type: ignore[arg-type]

    async def switch(self, site: str, patience: float | None = None) -> list[str]:
        return await self._call(console.switch, Command("switch", "", "a reason", site), patience)

    async def status(self) -> str:
        return "\n".join(await self._call(console.show_status))

    async def history(self) -> list[str]:
        return await self._call(console.show_history, 100)


@pytest.fixture
def operator(redis: RedisServer) -> Operator:
    return Operator(redis)


async def test_a_switch_returns_when_the_site_leads_and_the_lead_stays_there(
    start: Start, journal: Journal, operator: Operator
) -> None:
    start("a")
    await journal.until(lambda: journal.live() == ["a"])
    with pytest.raises(RectbotError, match="b cannot lead now: it is not running"):
        await operator.switch("b")
    start("b")
    await asyncio.sleep(0.1)
    lines = await operator.switch("b")
    assert lines[-2].startswith("b leads with epoch")
    await journal.until(lambda: journal.live() == ["b"])
    first, second = journal.sessions
    assert first.closed is not None
    assert second.opened - first.closed < 100
    await asyncio.sleep(1)
    assert journal.sites() == ["a", "b"], "a is preferred, and has been well for longer than the failback delay"
    assert "b keeps the lead from preferred sites" in await operator.status()
    await operator.switch("a")
    await journal.until(lambda: journal.live() == ["a"])
    assert "already" in (await operator.switch("a"))[0]
    history = await operator.history()
    assert any("handed-over" in line and "switch by" in line and "a reason" in line for line in history)


async def test_a_switch_that_does_not_come_about_is_an_error(
    start: Start, journal: Journal, operator: Operator
) -> None:
    a = start("a")
    await journal.until(lambda: journal.live() == ["a"])
    b = start("b")
    await asyncio.sleep(0.1)
    a.bot.stop_takes = 0.2
    switching = asyncio.create_task(operator.switch("b"))
    while not any(" switch " in line for line in await operator.history()):
        assert not switching.done()
    await b.stopped()
    with pytest.raises(RectbotError, match=r"called off: a leads|does not lead after"):
        await switching


async def test_hold_keeps_a_standby_from_taking_over(start: Start, journal: Journal, operator: Operator) -> None:
    a = start("a")
    await journal.until(lambda: journal.live() == ["a"])
    start("b")
    lines = await operator.order("hold")
    assert lines == ["no automatic moves", "only a, which leads now, may lead; a switch is obeyed"]
    await a.stopped()
    await asyncio.sleep(1.5 * TTL_MS / 1000)
    assert journal.sites() == ["a"]
    assert "only a may lead, until unhold" in await operator.status()
    assert await operator.order("unhold") == ["automatic moves again"]
    await journal.until(lambda: journal.live() == ["b"])
    assert await operator.order("unhold") == ["there was no hold"]


async def test_a_drained_leader_hands_over_and_comes_back_when_it_may(
    start: Start, journal: Journal, operator: Operator
) -> None:
    start("a")
    await journal.until(lambda: journal.live() == ["a"])
    start("b")
    await asyncio.sleep(0.1)
    assert await operator.order("drain", "a") == ["a does not lead any more"]
    await journal.until(lambda: journal.live() == ["b"])
    assert "drained by" in await operator.status()
    assert await operator.order("drain", "b") == [
        "b does not lead any more",
        "no other site stands ready: nobody leads",
    ]
    await journal.until(lambda: journal.live() == [])
    assert await operator.order("undrain", "b") == ["b may lead again"]
    await journal.until(lambda: journal.live() == ["b"])
    assert await operator.order("undrain", "a") == ["a may lead again"]
    await journal.until(lambda: journal.live() == ["a"])
    assert journal.sites() == ["a", "b", "b", "a"]


async def test_status_tells_who_leads_and_who_stands_by(start: Start, journal: Journal, operator: Operator) -> None:
    assert "leader    nobody" in await operator.status()
    start("a")
    await journal.until(lambda: journal.live() == ["a"])
    start("b")
    while True:
        status = await operator.status()
        if "b           0." in status:
            break
    assert "leader    a, epoch 1, since 20" in status
    assert "stands by" in status
    assert "left at once" in status
    lines: list[str] = []
    await asyncio.to_thread(console.show_status, operator.settings, lines.append, as_json=True)
    assert json.loads(lines[0])["leader"]["site"] == "a"


async def test_an_unknown_site_is_refused(operator: Operator) -> None:
    with pytest.raises(ConfigError, match="there is no site 'x': FAILOVER_PRIORITY=a,b"):
        await operator.order("drain", "x")
    with pytest.raises(ConfigError, match="which site\\? Name one of a, b, or set SITE_ID"):
        console.own_site(operator.settings, None)


async def test_the_command_line_is_wired(redis: RedisServer, tmp_path: Path) -> None:
    given = {
        "REDIS_PORT": str(redis.port),
        "REDIS_PASSWORD": PASSWORD,
        "FAILOVER_PRIORITY": "a,b",
        "SITE_ID": "b",
        "RECTBOT_HOME": str(tmp_path),
    }

    async def rectbot(*words: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "rectbot",
            "failover",
            *words,
            env={**os.environ, **given},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return process.returncode, output.decode()

    for words, code, printed in (
        (["status"], 0, "leader    nobody (the last epoch was 0)"),
        (["drain", "--why", "new disk"], 0, "b does not lead any more"),
        (["undrain", "b"], 0, "b may lead again"),
        (["hold", "--for", "30m"], 0, "no automatic moves"),
        (["hold", "--for", "x"], 2, "is not a duration"),
        (["unhold"], 0, "automatic moves again"),
        (["switch", "a", "--wait", "1"], 1, "rectbot: a cannot lead now: it is not running"),
        (["switch", "x"], 2, "rectbot: there is no site 'x'"),
        (["history", "--json"], 0, '"why": "new disk"'),
        (["history", "--explain"], 0, "drain                An operator does not want the site to lead."),
    ):
        returned, output = await rectbot(*words)
        assert (returned, printed in output) == (code, True), (words, output)
