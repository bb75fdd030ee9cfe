"""The lease store, on a real Redis and in memory: each transition, and what must be refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lease_sites import TTL_MS, Server, Site, Sites, sites_on
from rectbot.errors import ConfigError
from rectbot.failover import FailoverConfig, LeaseStore, StoreUnavailable, open_store
from rectbot.failover.clock import boottime_ms
from rectbot.failover.codec import decode_event
from rectbot.failover.messages import (
    Campaign,
    Command,
    Granted,
    Lost,
    Refused,
    Release,
    Released,
    Renew,
    Renewed,
)
from rectbot.failover.stores.redis import RedisRegister
from servers import PASSWORD, RedisServer, free_port


@pytest.fixture
async def site(lease_server: Server) -> AsyncIterator[Sites]:
    """Makes sites on a server that knows that it is new."""
    async with sites_on(lease_server) as make:
        yield make


@pytest.fixture
async def redis_site(redis: RedisServer) -> AsyncIterator[Sites]:
    async with sites_on(redis) as make:
        yield make


async def raw(site: Site, *words: str) -> Any:
    """A command past the register."""
    assert isinstance(site.store.register, RedisRegister)
    return await site.store.register._link.call(*words)


async def test_the_lock_holds_what_the_contract_says(redis_site: Sites) -> None:
    a = redis_site("a")
    assert isinstance(a.store, LeaseStore)
    epoch = await a.win()
    snapshot = await a.store.snapshot()
    assert snapshot.leader is not None
    assert (snapshot.leader.site, snapshot.leader.owner, snapshot.leader.epoch) == ("a", a.config.owner, epoch)
    assert 0 < snapshot.leader.lease_remaining_ms <= TTL_MS
    lock = json.loads(await raw(a, "GET", "rectbot:leader"))
    assert lock.keys() >= {"owner", "site", "ts", "epoch"}
    assert await raw(a, "TTL", "rectbot:leader:epoch") == -1
    assert set(snapshot.sites) == {"a"}
    assert snapshot.sites["a"].eligible
    assert snapshot.sites["a"].heartbeat_age_s < 5


async def test_the_lock_that_other_programs_read_expires_with_the_lease(redis_site: Sites) -> None:
    ttl_ms = 60_000
    a = redis_site("a", lock_ttl_ms=ttl_ms)
    epoch = await a.win()
    await asyncio.sleep(0.5)
    before = await raw(a, "PTTL", "rectbot:leader")
    assert 0 < before <= ttl_ms - 500
    assert isinstance(await a.ask(Renew(epoch)), Renewed)
    assert before < await raw(a, "PTTL", "rectbot:leader") <= ttl_ms


async def test_a_held_lock_is_refused_with_the_time_until_it_expires(site: Sites) -> None:
    a, b = site("a"), site("b")
    epoch = await a.win()
    refused = await b.campaign()
    assert isinstance(refused, Refused)
    assert (refused.why, refused.by, refused.epoch) == ("held", "a", epoch)
    assert refused.wait_ms is not None
    assert 0 < refused.wait_ms <= TTL_MS + 1
    began = boottime_ms()
    assert await b.campaign_until_granted() == epoch + 1
    assert boottime_ms() - began < 1.5 * TTL_MS, "the heartbeat of the leader that crashed must not outlive its lock"


async def test_a_renewal_counts_only_for_the_very_lease(site: Sites) -> None:
    a, b = site("a"), site("b")
    epoch = await a.win()
    assert isinstance(await a.ask(Renew(epoch)), Renewed)
    assert await a.ask(Renew(epoch - 1)) == Lost("a")
    assert await b.ask(Renew(epoch)) == Lost("a")
    await a.ask(Release(epoch, "test"))
    assert await a.ask(Renew(epoch)) == Lost(""), "a released lock must not come back"


async def test_a_release_counts_only_for_the_very_lease(site: Sites) -> None:
    a, b = site("a"), site("b")
    epoch = await a.win()
    assert await b.ask(Release(epoch, "test", leaving=True)) == Released()
    assert await a.ask(Release(epoch - 1, "test")) == Released()
    assert isinstance(await a.ask(Renew(epoch)), Renewed)


async def test_a_lost_grant_is_granted_anew_to_its_owner_only(site: Sites) -> None:
    a, b = site("a"), site("b")
    first = await b.win()  # suppose that the answer never arrived
    assert isinstance(await a.campaign(), Refused)
    reply = await b.campaign()
    assert reply == Refused("preferred", reply.wait_ms, first, "a"), "a is preferred, and b runs nothing"  # type: ignore[union-attr]
    assert await a.win() == first + 1
    assert await a.win() == first + 2


async def test_a_site_does_not_pass_a_preferred_one_that_is_ready(site: Sites) -> None:
    a, b, c = site("a"), site("b"), site("c")
    epoch = await c.win()
    assert isinstance(await a.campaign(), Refused)
    await c.ask(Release(epoch, "test"))
    refused = await b.campaign()
    assert isinstance(refused, Refused)
    assert (refused.why, refused.by) == ("preferred", "a")
    assert await a.campaign(eligible=False) == Refused("ineligible", None, epoch, "")
    assert await b.win() == epoch + 1, "a site that does not want to lead stands in nobody's way"


async def test_a_preferred_site_that_went_silent_stands_in_the_way_for_one_ttl_at_most(site: Sites) -> None:
    a, b = site("a"), site("b")
    epoch = await b.win()
    await a.campaign()
    await b.ask(Release(epoch, "test"))
    began = boottime_ms()
    assert await b.campaign_until_granted() == epoch + 1
    assert boottime_ms() - began < 2 * TTL_MS + 150  # b has not listened meanwhile, and saw its heartbeat only now


async def test_the_leader_hears_when_a_preferred_site_is_due(site: Sites) -> None:
    a, b, c = site("a"), site("b"), site("c")
    epoch = await b.win()
    assert await yields(b, epoch) == ("", None)
    await c.campaign()
    assert await yields(b, epoch) == ("", None), "c is less preferred"
    await a.campaign()
    to, wait_ms = await yields(b, epoch)
    assert to == ""
    assert wait_ms is not None
    assert 0 < wait_ms <= 200
    await asyncio.sleep(wait_ms / 1000)
    assert (await yields(b, epoch))[0] == "a"
    await a.ask(Release(0, "stopped", leaving=True))
    await site("a").campaign()  # a again: its delay begins anew
    assert (await yields(b, epoch))[0] == ""


async def yields(site: Site, epoch: int) -> tuple[str, int | None]:
    """To whom the leader is to hand over, and when."""
    reply = await site.ask(Renew(epoch))
    assert isinstance(reply, Renewed)
    assert reply.logins_left == site.config.login_burst - 1
    return reply.yield_to, reply.yield_in_ms


async def test_a_handed_over_lock_waits_for_its_site_only(site: Sites) -> None:
    a, b, c = site("a"), site("b"), site("c")
    epoch = await a.win()
    await c.campaign()
    await a.store.command(Command("switch", "eve", site="c"))
    await a.ask(Release(epoch, "switch", to="c", eligible=True))
    assert (await a.campaign()).why == "reserved"  # type: ignore[union-attr]
    assert (await b.campaign()).by == "c"  # type: ignore[union-attr]
    assert await c.win() == epoch + 1, "the operator's choice goes before the order of preference"


async def test_a_preferred_site_that_comes_up_while_the_lead_is_handed_to_another_goes_first(site: Sites) -> None:
    a, b, c = site("a"), site("b"), site("c")
    epoch = await c.win()
    await b.campaign()
    await c.ask(Release(epoch, "hands over to b", to="b", eligible=True))
    assert (await c.campaign()).why == "reserved"  # type: ignore[union-attr]
    await a.campaign(eligible=False)
    await a.win()
    assert (await b.campaign()).why == "held"  # type: ignore[union-attr]


async def test_a_site_that_has_not_watched_waits_for_one_ttl_before_it_takes_an_expired_lock(site: Sites) -> None:
    """It cannot know for how long the lock has not been renewed: no clock counts but its own."""
    a, b = site("a"), site("b")
    epoch = await a.win()
    await asyncio.sleep((TTL_MS + 5) / 1000)
    began = boottime_ms()
    refused = await b.campaign()
    assert isinstance(refused, Refused)
    assert (refused.why, refused.by) == ("held", "a")
    assert refused.wait_ms is not None
    assert TTL_MS - 50 < refused.wait_ms <= TTL_MS
    assert await b.campaign_until_granted() == epoch + 1
    assert TTL_MS * 0.98 <= boottime_ms() - began < TTL_MS + 150
    await b.ask(Release(epoch + 1, "test", leaving=True))
    await site("c").win()


async def test_a_preferred_site_that_has_not_watched_yet_stands_in_nobodys_way(site: Sites) -> None:
    a, b, c = site("a"), site("b"), site("c")
    epoch = await a.win()
    await c.stand_by(TTL_MS - 50)
    began = boottime_ms()
    assert (await b.campaign()).why == "held"  # type: ignore[union-attr]
    assert await c.campaign_until_granted() == epoch + 1
    assert boottime_ms() - began < TTL_MS / 2


async def test_a_reservation_ends_by_itself(site: Sites) -> None:
    a = site("a")
    epoch = await a.win()
    await a.ask(Release(epoch, "switch", to="c", eligible=True))
    began = boottime_ms()
    assert await a.campaign_until_granted() == epoch + 1
    assert a.config.reserve_ms - 20 <= boottime_ms() - began < a.config.reserve_ms + 5_000  # on a busy machine


async def test_a_leaving_site_takes_its_heartbeat_and_an_unheard_grant_along(site: Sites) -> None:
    a, b = site("a"), site("b")
    await a.win()
    assert isinstance(await b.campaign(), Refused)
    await a.ask(Release(0, "stopped", leaving=True))
    assert set((await a.store.snapshot()).sites) == {"b"}
    await b.win()


async def test_a_leader_that_restored_its_lock_goes_on_as_before(site: Sites, lease_server: Server) -> None:
    a, b = site("a"), site("b")
    epoch = await b.win()
    await a.campaign()
    assert isinstance(await b.ask(Renew(epoch)), Renewed)
    lease_server.flush()
    first = await b.ask(Renew(epoch))
    assert isinstance(first, Renewed)
    assert not first.extends, "a may still watch the lock that was lost: until it shows up, the old deadline holds"
    await a.campaign()
    await a.campaign()  # another was faster the first time
    second = await b.ask(Renew(epoch))
    assert isinstance(second, Renewed)
    assert second.extends
    await b.ask(Release(epoch, "hands over", to="a"))
    assert await a.win() > epoch


async def test_a_store_without_memory_grants_nothing_for_one_ttl(site: Sites, lease_server: Server) -> None:
    a, b = site("a"), site("b")
    epoch = await a.win()
    lease_server.flush()
    began = boottime_ms()
    refused = await b.campaign(epoch_seen=epoch)
    assert isinstance(refused, Refused)
    assert refused.why == "suspended"
    assert (await b.store.snapshot()).suspended_ms > 0
    assert not await b.store.initialise(), "too late to say that nothing was lost"
    assert await b.campaign_until_granted() > epoch
    assert boottime_ms() - began >= TTL_MS


async def test_the_leader_restores_a_lock_that_the_store_lost(site: Sites, lease_server: Server) -> None:
    a, b = site("a"), site("b")
    epoch = await a.win()
    lease_server.flush()
    assert (await b.campaign()).why == "suspended"  # type: ignore[union-attr]
    assert isinstance(await a.ask(Renew(epoch)), Renewed)
    assert (await b.campaign()).why == "held"  # type: ignore[union-attr]
    assert [event.kind for event in await a.store.events()][-1] == "restored"


@pytest.mark.parametrize("clean", [True, False])
async def test_a_restarted_server_raises_epochs_and_is_not_trusted_for_one_ttl(
    site: Sites, lease_server: Server, clean: bool
) -> None:
    a, b = site("a"), site("b")
    epoch = await a.win()
    await a.ask(Release(epoch, "test", leaving=True))
    lease_server.kill()
    lease_server.start()
    if clean:
        assert await b.store.initialise()
        assert await b.win() == epoch + 1
    else:
        began = boottime_ms()
        assert await b.campaign_until_granted() > epoch + 500, "epochs must skip what may have been lost"
        assert boottime_ms() - began >= TTL_MS


async def test_a_lock_outlives_a_restart_of_the_server_with_data(site: Sites, lease_server: Server) -> None:
    a, b = site("a"), site("b")
    epoch = await a.win()
    lease_server.kill()
    lease_server.start()
    assert isinstance(await a.ask(Renew(epoch)), Renewed)
    assert (await b.campaign()).why == "held"  # type: ignore[union-attr]


async def test_a_grant_that_was_given_up_is_found_by_its_sender(site: Sites, lease_server: Server) -> None:
    a, b = site("a"), site("b")
    await b.campaign(eligible=False)
    lease_server.pause()
    began = boottime_ms()
    with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.1 s"):
        await b.store.request(Campaign(True, 0), boottime_ms() + 100)
    await asyncio.sleep(0.05)
    lease_server.resume()
    refused = await a.campaign()
    if isinstance(refused, Granted):  # the request was lost with its connection
        return
    assert (refused.why, refused.by) == ("held", "b")  # type: ignore[union-attr]
    found = await b.campaign()
    assert isinstance(found, Granted)
    assert began <= found.sent_at < began + 50, "its deadline counts from when it was worked out"
    again = await b.campaign()
    assert not isinstance(again, Granted) or again.epoch == found.epoch + 1, "a grant is found once"


async def test_a_late_answer_is_never_taken_for_another(site: Sites, lease_server: Server) -> None:
    a = site("a")
    epoch = await a.win()
    lease_server.pause()
    with pytest.raises(StoreUnavailable):
        await a.store.request(Campaign(True, 0), boottime_ms() + 50)
    lease_server.resume()
    assert isinstance(await a.ask(Renew(epoch)), (Renewed, Lost))


async def test_a_newer_request_ends_an_older_one(site: Sites, lease_server: Server) -> None:
    """A release need not wait until a renewal, whose answer nobody wants, is given up; nor is that done afterwards."""
    a = site("a")
    epoch = await a.win()
    lease_server.pause()
    with pytest.raises(StoreUnavailable):
        await a.store.request(Renew(epoch), boottime_ms() + 50)
    older = asyncio.create_task(a.store.request(Renew(epoch), boottime_ms() + 10_000))  # which reads first
    await asyncio.sleep(0.05)
    newer = asyncio.create_task(a.store.request(Release(epoch, "test"), boottime_ms() + 10_000))
    await asyncio.sleep(0.05)
    lease_server.resume()
    with pytest.raises(StoreUnavailable):
        await older
    with contextlib.suppress(StoreUnavailable):  # on a busy machine
        assert isinstance(await newer, Released)


async def test_after_a_failure_a_site_reads_first(
    site: Sites, lease_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So whatever it writes is the proof that it has just heard an answer in time."""
    a = site("a")
    epoch = await a.win()
    lease_server.pause()
    with pytest.raises(StoreUnavailable):
        await a.store.request(Renew(epoch), boottime_ms() + 50)
    lease_server.resume()
    acts: list[str] = []

    def noting(name: str) -> Any:
        act = getattr(a.store.register, name)

        def noted(*given: Any) -> Any:
            acts.append(name)
            return act(*given)

        return noted

    for name in ("read", "swap"):
        monkeypatch.setattr(a.store.register, name, noting(name))
    await a.ask(Renew(epoch))
    assert acts[0] == "read"


async def test_a_site_that_has_not_heard_of_a_grant_is_refused(site: Sites) -> None:
    a, b = site("a"), site("b")
    await a.campaign(eligible=False)
    await b.win()
    refused = await a.campaign()
    assert isinstance(refused, Refused)
    assert (refused.why, refused.by) == ("held", "b")


async def test_changes_of_others_are_announced(site: Sites) -> None:
    a, b = site("a"), site("b")
    heard = asyncio.Event()
    ears = asyncio.create_task(a.store.listen(heard.set))
    try:
        await asyncio.wait_for(heard.wait(), 5)  # once at the beginning: there may have been something before
        heard.clear()
        epoch = await b.win()
        await asyncio.wait_for(heard.wait(), 5)
        heard.clear()
        await b.ask(Renew(epoch))
        await a.campaign()  # our own act
        await b.ask(Release(epoch, "test"))
        await asyncio.wait_for(heard.wait(), 5)
    finally:
        ears.cancel()


async def test_announcements_are_heard_again_after_a_restart_of_the_server(site: Sites, lease_server: Server) -> None:
    a, b = site("a"), site("b")
    heard = asyncio.Event()
    ears = asyncio.create_task(a.store.listen(heard.set))
    try:
        await asyncio.wait_for(heard.wait(), 5)
        lease_server.kill()
        lease_server.start()
        heard.clear()
        while not heard.is_set():
            await b.campaign(eligible=True)
            await b.campaign(eligible=False)
            await asyncio.sleep(0.02)
    finally:
        ears.cancel()


async def test_the_journal_tells_who_led_and_why_it_changed(site: Sites) -> None:
    a, b = site("a"), site("b")
    first = await a.win()
    await asyncio.sleep((TTL_MS + 5) / 1000)
    second = await b.campaign_until_granted()
    await b.ask(Release(second, "hands over to a", to="a", eligible=True, ending="handed-over"))
    events = await a.store.events()
    assert [(event.kind, event.site) for event in events] == [
        ("initialised", "c"),
        ("acquired", "a"),
        ("expired", "a"),
        ("acquired", "b"),
        ("handed-over", "b"),
    ]
    assert events[-1].why == "hands over to a"
    assert [event.epoch for event in events[1:]] == [first, first, second, second]
    assert [event.time for event in events] == sorted(event.time for event in events)


RECORD = "rectbot:leader:epoch"
GARBAGE = [
    *(
        f"SET {key} {text}"
        for key in (RECORD, "rectbot:leader", "rectbot:leader:written")
        for text in ("{}", "[]", "x")
    ),
    *(
        f"RPUSH {key} x"
        for key in (RECORD, "rectbot:leader", "rectbot:leader:written", "rectbot:events", "rectbot:hb:a")
    ),
    "HSET rectbot:leader:epoch epoch many",
    "HSET rectbot:leader:operator hold_until never",
]


@pytest.mark.parametrize("command", GARBAGE)
async def test_what_another_program_wrote_is_set_aside_and_obeyed_by_nobody(
    redis_site: Sites, redis: RedisServer, command: str
) -> None:
    key = command.split()[1]
    redis.command(f"DEL {key}")
    redis.command(command)
    a = redis_site("a")
    began = boottime_ms()
    epoch = await a.campaign_until_granted()
    assert boottime_ms() - began < 1.5 * TTL_MS, "no longer than for a store that has forgotten"
    assert isinstance(await a.ask(Renew(epoch)), Renewed)
    assert json.loads(await raw(a, "GET", "rectbot:leader"))["epoch"] == epoch
    assert (await a.store.events())[-1].kind == "acquired"
    journaled = [decode_event(entry) for entry in await a.store.register.journal(5)]
    assert journaled[-1:] == (await a.store.events())[-1:]
    kinds = [event.why for event in await a.store.events() if event.kind == "suspended"]
    assert key != RECORD or any("no record" in why or "another" in why or "earlier" in why for why in kinds), kinds


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("lock",), {"site": "a"}),
        (("lock", "ttl"), 10**15),
        (("beats", "b"), []),
        (("beats", "b", "ttl"), "long"),
        (("operator", "drained"), ["a"]),
        (("seq",), None),
        (("order",), "a,b"),
        (("outbox",), {}),
        (("form",), 2),
    ],
)
async def test_a_record_with_one_wrong_part_is_no_record(
    redis_site: Sites, redis: RedisServer, path: tuple[str, ...], value: Any
) -> None:
    a, b = (redis_site(name, lock_ttl_ms=30_000) for name in "ab")  # no busy machine outlasts that
    epoch = await a.win()
    await b.campaign()
    record = part = json.loads(await raw(a, "GET", RECORD))
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    await raw(a, "SET", RECORD, json.dumps(record))
    assert (await b.campaign()).why == "suspended"  # type: ignore[union-attr]
    assert (await a.store.events())[-1].why.startswith("what is there is no record: ")
    assert isinstance(await a.ask(Renew(epoch)), Renewed), "the leader writes its lock again"
    assert (await b.campaign()).why == "held"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "names"),
    [({"password": "wrong"}, "REDIS_PASSWORD"), ({"password": ""}, "REDIS_PASSWORD"), ({"db": 99}, "REDIS_DB")],
)
async def test_a_refused_login_names_the_setting(redis: RedisServer, changes: dict[str, Any], names: str) -> None:
    given: dict[str, Any] = {"port": redis.port, "password": PASSWORD}
    store = open_store(FailoverConfig(site="oci"), **given | changes)
    with pytest.raises(ConfigError, match=names) as caught:
        await store.snapshot()
    assert "wrong" not in str(caught.value)


async def test_an_unreachable_server_is_named() -> None:
    port = free_port()
    store = open_store(FailoverConfig(site="oci"), port=port, password=PASSWORD)
    with pytest.raises(StoreUnavailable, match=f"Redis at 127.0.0.1:{port}: Connection refused"):
        await store.snapshot()


async def test_a_url_leads_to_the_same_store(redis_site: Sites, redis: RedisServer) -> None:
    await redis_site("a").win()
    store: LeaseStore = open_store(FailoverConfig(site="", priority=("a", "b", "c")), url=redis.url)
    snapshot = await store.snapshot()
    assert snapshot.leader is not None
    assert snapshot.leader.site == "a"
    await store.close()
