"""Redis as a version before the record left it: a mixed pair never leads twice, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from lease_sites import TTL_MS, Site, sites_on
from rectbot.failover import StoreUnavailable
from rectbot.failover.clock import boottime_ms
from rectbot.failover.messages import Campaign, Refused, Renew, Renewed
from servers import RedisServer

MEMORY = "rectbot:leader:epoch"


def left_by_an_earlier_version(redis: RedisServer, *, leads: bool) -> None:
    """The keys, as its scripts wrote them."""
    redis.command(f"DEL {MEMORY} rectbot:leader rectbot:leader:written rectbot:events")
    redis.command(
        f"HSET {MEMORY} run 0123 epoch 57 suspended_until 0 holder b holder_owner b:old renewed 1 lease 90000"
    )
    redis.command("HSET rectbot:leader:operator drained:c maintenance pinned b")
    redis.command("HSET rectbot:leader:counts acquired:b 57")
    redis.command("XADD rectbot:events * kind acquired site b owner b:old epoch 57 why x ms 1700000000000")
    if leads:
        lock = json.dumps({"owner": "b:old", "site": "b", "epoch": 57, "ts": 1, "since": 1, "ttl": TTL_MS})
        redis.command(f"SET rectbot:leader '{lock}' PX {TTL_MS}")


async def raw(site: Site, *words: str) -> Any:
    return await site.store.register._link.call(*words)  # type: ignore[attr-defined]


async def test_a_new_site_waits_while_an_old_one_leads_and_says_so(redis: RedisServer) -> None:
    async with sites_on(redis) as make:
        left_by_an_earlier_version(redis, leads=True)
        a = make("a")
        with pytest.raises(StoreUnavailable, match="an earlier version of rectbot leads"):
            await a.store.request(Campaign(True, 0), boottime_ms() + 200)
        assert await raw(a, "TYPE", MEMORY) == b"hash", "the old one finds all that it left"


async def test_a_new_site_goes_on_from_what_the_old_one_left(redis: RedisServer) -> None:
    async with sites_on(redis) as make:
        left_by_an_earlier_version(redis, leads=False)
        a = make("a")
        began = boottime_ms()
        refused = await a.campaign()
        assert isinstance(refused, Refused)
        assert refused.why == "suspended"
        assert (await a.store.events())[-1].why == "an earlier version of rectbot wrote it"
        assert await a.campaign_until_granted() > 57
        assert boottime_ms() - began >= TTL_MS
        snapshot = await a.store.snapshot()
        assert snapshot.drained == {"c": "maintenance"}
        assert [event.kind for event in await a.store.events()] == ["acquired", "suspended", "acquired"]


async def test_an_old_site_neither_leads_nor_renews_beside_a_record(redis: RedisServer) -> None:
    """Each of its scripts begins with this command."""
    async with sites_on(redis) as make:
        epoch = await make("a").win()
        assert epoch
        assert redis.command(f"HGET {MEMORY} era").startswith(b"-WRONGTYPE")


async def test_an_old_leader_that_comes_back_first_keeps_the_lead(redis: RedisServer) -> None:
    """It takes its lock between the new one's read and its swap."""
    async with sites_on(redis) as make:
        left_by_an_earlier_version(redis, leads=False)
        a = make("a")
        seen = await a.store.register.read(boottime_ms() + 1_000)
        redis.command(f"SET rectbot:leader old PX {TTL_MS}")
        with pytest.raises(StoreUnavailable, match="an earlier version of rectbot leads"):
            await a.store.register.swap(seen, seen.record or b"", [], boottime_ms() + 1_000)
        assert await raw(a, "TYPE", MEMORY) == b"hash"
        await asyncio.sleep(1.1 * TTL_MS / 1000)
        epoch = await a.campaign_until_granted()
        assert isinstance(await a.ask(Renew(epoch)), Renewed)
