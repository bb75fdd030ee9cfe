"""A Redis group with real Sentinels: the store follows the master, and a replaced master grants nothing."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from lease_bots import Bot, Journal
from rectbot.errors import ConfigError
from rectbot.failover import FailoverConfig, LeaseStore, StoreUnavailable, open_store, run
from rectbot.failover.clock import boottime_ms
from rectbot.failover.messages import Campaign, Granted, Refused, Renew, Renewed, Reply, Request
from sentinels import Group, redis_group

TTL_MS = 3_000


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    with redis_group(tmp_path) as group:
        yield group


Open = Callable[..., LeaseStore]


@pytest.fixture
async def store(group: Group) -> AsyncIterator[Open]:
    stores: list[LeaseStore] = []

    def make(site: str, url: str = "") -> LeaseStore:
        config = FailoverConfig(site=site, priority=("a", "b"), lock_ttl_ms=TTL_MS).validate()
        stores.append(open_store(config, url=url or group.url))
        return stores[-1]

    yield make
    for each in stores:
        await each.close()


async def ask(store: LeaseStore, request: Request, patience_ms: int = 3_000) -> Reply:
    return await store.request(request, boottime_ms() + patience_ms)


async def answered(store: LeaseStore, request: Request) -> Reply:
    """Asks until somebody answers, as the runner does."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await ask(store, request)
            except StoreUnavailable:
                await asyncio.sleep(0.02)


async def campaign_until_granted(store: LeaseStore) -> int:
    while True:
        match await answered(store, Campaign(True, 0)):
            case Granted(epoch):
                return epoch
            case Refused(wait_ms=wait_ms):
                await asyncio.sleep(min(wait_ms if wait_ms is not None else 20, TTL_MS // 3) / 1000)  # a heartbeat


async def test_a_new_master_grants_nothing_while_a_lease_of_the_old_one_may_last(group: Group, store: Open) -> None:
    a, b = store("a"), store("b")
    assert await a.initialise()
    epoch = await campaign_until_granted(a)
    assert isinstance(await answered(b, Campaign(True, 0)), Refused)
    renewed_at = boottime_ms()
    assert isinstance(await ask(a, Renew(epoch)), Renewed)
    group.master.kill()
    reply = await answered(b, Campaign(True, epoch))
    found_at = boottime_ms()
    assert isinstance(reply, Refused), "a may hold its lease for some time yet"
    assert await campaign_until_granted(b) > epoch
    assert boottime_ms() - renewed_at >= TTL_MS
    assert boottime_ms() - found_at >= TTL_MS - 50, "one TTL from the first request to the new master"
    seen = group.seen_by(group.sentinels[0])
    assert int(seen["port"]) in [replica.port for replica in group.replicas]
    assert ("suspended", "another server process") in [(event.kind, event.why) for event in await b.events()]


async def test_a_leader_keeps_its_lease_over_a_quick_change_of_the_master(group: Group, store: Open) -> None:
    a, b = store("a"), store("b")
    assert await a.initialise()
    epoch = await campaign_until_granted(a)
    group.sentinels[0].ask("SENTINEL FAILOVER bots")
    async with asyncio.timeout(30):
        while int(group.seen_by(group.sentinels[0]).get("port", 0)) == group.master.port:
            await answered(a, Renew(epoch))
            await asyncio.sleep(0.05)
    assert isinstance(await answered(a, Renew(epoch)), Renewed)
    assert isinstance(await answered(b, Campaign(True, 0)), Refused)


async def test_a_replaced_master_is_not_asked_though_it_still_answers(group: Group, store: Open) -> None:
    a = store("a")
    assert await a.initialise()
    epoch = await campaign_until_granted(a)
    group.master.signal(signal.SIGSTOP)
    reply = await answered(a, Renew(epoch))
    assert isinstance(reply, Renewed)
    group.sentinels[0].ask("SENTINEL SET bots down-after-milliseconds 60000")
    group.master.signal(signal.SIGCONT)  # it takes itself for the master for a while
    before = group.master.ask("GET rectbot:leader")
    await answered(a, Renew(epoch))
    assert (group.master.ask("GET rectbot:leader") == before) or "READONLY" not in before


async def test_bots_live_through_the_death_of_a_master(group: Group) -> None:
    journal = Journal()
    tasks = []
    for site in ("a", "b"):
        config = FailoverConfig(site=site, priority=("a", "b"), lock_ttl_ms=6_000, failback_delay_sec=1)
        tasks.append(asyncio.create_task(run(config, open_store(config, url=group.url), Bot(journal))))
    try:
        await journal.until(lambda: journal.live() == ["a"])
        began = boottime_ms()
        group.master.kill()
        while boottime_ms() - began < 8_000:  # longer than any lease from before can last
            assert journal.overlaps() == []
            await asyncio.sleep(0.05)
        await journal.until(lambda: len(journal.live()) == 1)
        assert journal.overlaps() == []
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert journal.live() == []


async def test_without_a_majority_of_sentinels_nothing_is_granted_or_renewed(group: Group, store: Open) -> None:
    a = store("a")
    assert await a.initialise()
    epoch = await campaign_until_granted(a)
    group.sentinels[0].kill()
    assert isinstance(await ask(a, Renew(epoch)), Renewed), "two of three are a majority"
    group.sentinels[1].kill()
    with pytest.raises(StoreUnavailable, match="no majority for a master of bots: 1 of 3 answered"):
        await ask(a, Renew(epoch))
    lonely = store(
        "b", group.url.replace(f"127.0.0.1:{group.sentinels[0].port},127.0.0.1:{group.sentinels[1].port},", "")
    )
    with pytest.raises(StoreUnavailable, match="1 of 3 answered"):
        await ask(lonely, Campaign(True, 0))


async def test_a_sentinel_that_hangs_delays_nothing(group: Group, store: Open) -> None:
    a = store("a")
    assert await a.initialise()
    epoch = await campaign_until_granted(a)
    group.sentinels[2].signal(signal.SIGSTOP)
    try:
        began = boottime_ms()
        for _ in range(20):
            assert isinstance(await ask(a, Renew(epoch)), Renewed)
        assert boottime_ms() - began < 2_000
    finally:
        group.sentinels[2].signal(signal.SIGCONT)


async def test_wrong_names_and_passwords_are_named(group: Group, store: Open) -> None:
    with pytest.raises(ConfigError, match="knows no 'cats': correct the name in REDIS_URL"):
        await store("a", group.url.replace("/bots", "/cats")).snapshot()
    with pytest.raises(ConfigError, match="sentinel_password"):
        await store("a", group.url.partition("?")[0]).snapshot()
    with pytest.raises(ConfigError, match="sentinel_password"):
        await store("a", group.url + "wrong").snapshot()
    with pytest.raises(ConfigError, match="REDIS_PASSWORD"):
        await store("a", group.url.replace(":test-password@", ":wrong@")).snapshot()


async def test_announcements_come_through_the_master(group: Group, store: Open) -> None:
    a, b = store("a"), store("b")
    heard = asyncio.Event()
    ears = asyncio.create_task(a.listen(heard.set))
    try:
        await asyncio.wait_for(heard.wait(), 10)
        heard.clear()
        await ask(b, Campaign(True, 0))
        await asyncio.wait_for(heard.wait(), 10)
    finally:
        ears.cancel()
