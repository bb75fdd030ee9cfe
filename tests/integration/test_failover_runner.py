"""Sites with a workload inside of their process, on a real Redis. The judge is what the workloads saw."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

import pytest

from lease_bots import TTL_MS, Bot, Journal, Start, bots_on
from rectbot.errors import ConfigError
from rectbot.failover import (
    FailoverConfig,
    LeaseLost,
    LoginsSpent,
    WorkloadFailed,
    open_store,
    run,
    run_unguarded,
)
from rectbot.failover.clock import boottime_ms
from servers import RedisServer, free_port, until


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
async def start(redis: RedisServer, journal: Journal) -> AsyncIterator[Start]:
    """Starts sites on a Redis that knows that it is new."""
    async with bots_on(redis, journal) as begin:
        yield begin


async def test_one_site_leads_and_the_other_takes_over_at_once_after_a_clean_stop(
    start: Start, journal: Journal
) -> None:
    a = start("a")
    await journal.until(lambda: journal.live() == ["a"])
    start("b")
    await asyncio.sleep(3 * TTL_MS / 1000)
    assert journal.sites() == ["a"], "a lease that is renewed does not end"
    await a.stopped()
    await journal.until(lambda: journal.live() == ["b"])
    assert journal.sites() == ["a", "b"]
    first, second = journal.sessions
    assert first.closed is not None
    assert second.opened - first.closed < 100
    assert second.epoch > first.epoch


async def test_after_a_crash_the_standby_leads_when_the_lock_expires(start: Start, journal: Journal) -> None:
    a = start("a")
    await journal.until(lambda: journal.live() == ["a"])
    start("b", failback_delay_sec=60)
    await asyncio.sleep(0.2)
    assert a.bot.lease is not None
    assert a.bot.lease.deadline is not None
    lock_ends = a.bot.lease.deadline - a.config.lease_ms + TTL_MS
    a.task.cancel()  # ends without a release, like a crash, but closes its session
    with contextlib.suppress(asyncio.CancelledError):
        await a.task
    await journal.until(lambda: journal.live() == ["b"])
    assert 0 <= journal.sessions[1].opened - lock_ends < 150


async def test_the_lead_returns_to_the_preferred_site_once_and_stays(start: Start, journal: Journal) -> None:
    start("b")
    await journal.until(lambda: journal.live() == ["b"])
    began = boottime_ms()
    start("a")
    await journal.until(lambda: journal.live() == ["a"])
    assert boottime_ms() - began >= 300, "not before the failback delay"
    await asyncio.sleep(1.5 * TTL_MS / 1000)
    assert journal.sites() == ["b", "a"]


async def test_a_leader_whose_store_hangs_is_out_before_its_lease_ends(
    start: Start, journal: Journal, redis: RedisServer
) -> None:
    a = start("a")
    await journal.until(lambda: journal.live() == ["a"])
    redis.signal(signal.SIGSTOP)
    try:
        lease = a.bot.lease
        assert lease is not None
        await journal.until(lambda: journal.live() == [])
        assert journal.sessions[0].closed is not None
        assert journal.sessions[0].closed - journal.sessions[0].opened < TTL_MS + TTL_MS / 3
        with pytest.raises(LeaseLost):
            lease.check()
    finally:
        redis.signal(signal.SIGCONT)
    await journal.until(lambda: journal.live() == ["a"])


async def test_a_restart_of_the_store_with_its_data_costs_no_login(
    start: Start, journal: Journal, redis: RedisServer
) -> None:
    start("a", lock_ttl_ms=3_000)
    await journal.until(lambda: journal.live() == ["a"])
    start("b", lock_ttl_ms=3_000)
    redis.kill()
    redis.start()
    await asyncio.sleep(3.5)
    assert journal.live() == ["a"]
    assert len(journal.sessions) == 1


async def test_a_site_waits_for_a_store_that_is_not_there_yet(
    start: Start, journal: Journal, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis.kill()
    start("a")
    await until(lambda: "no answer from the store" in caplog.text)
    assert journal.sessions == []
    redis.start()
    await journal.until(lambda: journal.live() == ["a"])


async def test_a_store_without_memory_is_waited_for_visibly(
    start: Start, journal: Journal, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    redis.command("FLUSHALL")
    began = boottime_ms()
    start("a")
    await journal.until(lambda: journal.live() == ["a"])
    assert boottime_ms() - began >= TTL_MS
    assert "waits (suspended): the store may have lost its memory" in caplog.text


async def test_a_failing_workload_gives_the_lead_away(start: Start, journal: Journal) -> None:
    a = start("a")
    await journal.until(lambda: journal.live() == ["a"])
    start("b", failback_delay_sec=0.1)
    await asyncio.sleep(0.1)
    a.bot.end("the gateway is away")
    await journal.until(lambda: journal.live() == ["b"])
    await journal.until(lambda: journal.live() == ["a"])
    assert journal.sites() == ["a", "b", "a"]


async def test_a_fatal_end_is_one_error_and_no_loop(start: Start, journal: Journal) -> None:
    a = start("a")
    await journal.until(lambda: journal.live() == ["a"])
    a.bot.end("Discord refuses the token", fatal=True)
    with pytest.raises(WorkloadFailed, match="Discord refuses the token"):
        await asyncio.wait_for(a.task, 10)
    assert len(journal.sessions) == 1


async def test_a_wrong_password_is_an_error_at_the_start(redis: RedisServer, journal: Journal) -> None:
    config = FailoverConfig(site="a", priority=("a",), lock_ttl_ms=TTL_MS)
    store = open_store(config, port=redis.port, password="wrong")
    with pytest.raises(ConfigError, match="REDIS_PASSWORD"):
        await asyncio.wait_for(run(config, store, Bot(journal)), 10)


async def test_a_stop_is_quick_even_if_the_store_is_away(journal: Journal) -> None:
    config = FailoverConfig(site="a", priority=("a",))
    stop = asyncio.Event()
    task = asyncio.create_task(run(config, open_store(config, port=free_port()), Bot(journal), stop=stop))
    await asyncio.sleep(0.1)
    stop.set()
    await asyncio.wait_for(task, 5)


async def test_without_failover_the_workload_simply_runs(journal: Journal) -> None:
    bot, stop = Bot(journal), asyncio.Event()
    task = asyncio.create_task(run_unguarded(bot, site="a", stop=stop))
    await journal.until(lambda: journal.live() == ["a"])
    assert bot.lease is not None
    bot.lease.check()
    assert bot.lease.remaining_ms() == float("inf")
    stop.set()
    await asyncio.wait_for(task, 5)
    assert journal.live() == []


async def test_without_failover_a_workload_that_ends_is_an_error(journal: Journal) -> None:
    bot = Bot(journal)
    task = asyncio.create_task(run_unguarded(bot))
    await journal.until(lambda: len(journal.live()) == 1)
    bot.end("wrong token", fatal=True)
    with pytest.raises(WorkloadFailed, match="wrong token"):
        await asyncio.wait_for(task, 5)


async def test_a_heartbeat_says_whether_the_workload_serves(start: Start, journal: Journal, redis: RedisServer) -> None:
    a = start("a")
    await journal.until(lambda: journal.live() == ["a"])
    observer = open_store(FailoverConfig(site="", priority=("a", "b")), url=redis.url)

    async def until_serving(expected: bool | None) -> None:
        async with asyncio.timeout(10):
            while (await observer.snapshot()).sites["a"].serving is not expected:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    await until_serving(True)
    a.bot.healthy_now = None  # it breaks: asked whether it is healthy, it raises
    await until_serving(False)
    a.bot.healthy_now = True
    await until_serving(True)
    assert len(journal.sessions) == 1, "it is for show only"
    a.bot.end("crashed")
    await until_serving(None)
    await observer.close()


async def test_logins_under_a_lease_reach_the_budget(start: Start, journal: Journal, redis: RedisServer) -> None:
    a = start("a", login_budget=20)
    await journal.until(lambda: journal.live() == ["a"])
    observer = open_store(FailoverConfig(site="", priority=("a", "b"), login_budget=20), url=redis.url)
    lease = a.bot.lease
    assert lease is not None
    assert lease.logins_left == 9
    for _ in range(10):
        lease.login()
    with pytest.raises(LoginsSpent, match="the login budget for 24 h is spent"):
        lease.login()
    async with asyncio.timeout(10):
        while (await observer.snapshot()).logins_left != 0:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert lease.logins_left == 0
    await observer.close()
