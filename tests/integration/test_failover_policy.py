"""What the store decides beside who holds the lock: an operator's commands, damping, the login budget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from lease_sites import Server, Site, Sites, sites_on
from rectbot.failover.messages import (
    Accepted,
    Campaign,
    Command,
    Declined,
    Granted,
    Logins,
    Lost,
    Outcome,
    Refused,
    Release,
    Renew,
    Renewed,
    Reply,
)
from rectbot.history.story import told
from servers import RedisServer


@pytest.fixture
async def site(lease_server: Server) -> AsyncIterator[Sites]:
    async with sites_on(lease_server) as make:
        yield make


async def command(site: Site, act: str, to: str = "", for_ms: int | None = None) -> Outcome:
    return await site.store.command(Command(act, "eve", "a reason", to, for_ms))  # type: ignore[arg-type]


def refusal(reply: Reply) -> tuple[str, str]:
    assert isinstance(reply, Refused), reply
    return reply.why, reply.by


async def renewed(site: Site, epoch: int) -> Renewed:
    reply = await site.ask(Renew(epoch))
    assert isinstance(reply, Renewed), reply
    return reply


async def kinds(site: Site) -> list[tuple[str, str]]:
    return [(event.kind, event.site) for event in await site.store.events()]


# --- switch


async def test_a_switch_moves_the_lead_and_keeps_it_from_preferred_sites(site: Sites) -> None:
    a, b = site("a", failback_delay_sec=0), site("b", failback_delay_sec=0)
    epoch = await a.win()
    await b.campaign()
    assert await command(a, "switch", "b") == Accepted(True)
    answer = await renewed(a, epoch)
    assert (answer.yield_to, answer.why) == ("b", "switch by eve: a reason")
    await a.ask(Release(epoch, "hands over", to="b", eligible=True, ending="handed-over"))
    assert refusal(await a.campaign()) == ("reserved", "b")
    epoch = await b.win()
    await a.campaign()
    assert (await renewed(b, epoch)).yield_to == "", "the operator wants b"
    await b.ask(Release(epoch, "stopped", leaving=True))
    epoch = await a.win()
    await a.ask(Release(epoch, "test"))
    await a.ask(Release(0, "stopped", leaving=True))
    epoch = await b.win()
    await a.campaign()
    assert (await renewed(b, epoch)).yield_to == "a", "the switch has ended with b's lead"


async def test_a_switch_without_a_leader_lets_only_its_site_in(site: Sites) -> None:
    a, b = site("a"), site("b")
    await a.campaign(eligible=False)
    epoch = await b.win()
    await b.ask(Release(epoch, "test", eligible=True))
    assert await command(b, "switch", "b") == Accepted(True)
    assert refusal(await a.campaign()) == ("reserved", "b")
    await b.win()


async def test_a_switch_to_the_leader_says_that_it_leads(site: Sites) -> None:
    a = site("a")
    await a.win()
    assert await command(a, "switch", "a") == Accepted(True), "from now on it keeps the lead"
    assert await command(a, "switch", "a") == Accepted(False)


async def test_a_switch_to_a_site_that_cannot_lead_is_declined(site: Sites) -> None:
    a, b = site("a"), site("b")
    epoch = await a.win()
    assert await command(a, "switch", "b") == Declined(
        "b cannot lead now: it is not running, or is cut off from the store"
    )
    await b.campaign(eligible=False)
    assert await command(a, "switch", "b") == Declined("b cannot lead now: it sits out after a failure, or is stopping")
    await b.campaign()
    await command(a, "drain", "b")
    assert await command(a, "switch", "b") == Declined("b cannot lead now: it is drained: undrain it first")
    assert (await renewed(a, epoch)).yield_to == ""


async def test_a_switch_that_cannot_be_done_in_time_is_forgotten(site: Sites) -> None:
    a, b = site("a"), site("b")
    epoch = await a.win()
    await b.campaign()
    assert await command(a, "switch", "b") == Accepted(True)
    assert (await a.store.snapshot()).switch_to == "b"
    for _ in range(8):
        await renewed(a, epoch)
        await asyncio.sleep(0.2)
    await b.campaign()
    assert (await a.store.snapshot()).switch_to == ""
    assert (await renewed(a, epoch)).yield_to == ""


# --- hold


async def test_on_hold_only_the_site_that_led_may_lead(site: Sites) -> None:
    a, b = site("a", failback_delay_sec=0), site("b", failback_delay_sec=0)
    epoch = await b.win()
    assert await command(a, "hold") == Accepted(True)
    await a.campaign()
    assert (await renewed(b, epoch)).yield_to == ""
    await b.ask(Release(epoch, "restarts", leaving=True))
    assert refusal(await a.campaign()) == ("on hold", "b")
    epoch = await b.win()
    hold = (await a.store.snapshot()).hold
    assert hold is not None
    assert (hold.site, hold.why) == ("b", "eve: a reason")
    assert await command(a, "unhold") == Accepted(True)
    assert await command(a, "unhold") == Accepted(False)
    assert (await renewed(b, epoch)).yield_to == "a"


async def test_a_hold_ends_by_itself(site: Sites) -> None:
    a, b = site("a"), site("b")
    epoch = await b.win()
    await command(a, "hold", for_ms=300)
    await b.ask(Release(epoch, "test", leaving=True))
    reply = await a.campaign()
    assert refusal(reply) == ("on hold", "b")
    assert isinstance(reply, Refused)
    assert reply.wait_ms is not None
    assert 0 < reply.wait_ms <= 300
    await asyncio.sleep(reply.wait_ms / 1000)
    await a.win()


async def test_a_switch_is_obeyed_on_hold_which_then_is_for_the_new_leader(site: Sites) -> None:
    a, b = site("a"), site("b")
    epoch = await a.win()
    await b.campaign()
    await command(a, "hold")
    await command(a, "switch", "b")
    assert (await renewed(a, epoch)).yield_to == "b"
    await a.ask(Release(epoch, "hands over", to="b", eligible=True, ending="handed-over"))
    epoch = await b.win()
    await b.ask(Release(epoch, "stopped", leaving=True))
    assert refusal(await a.campaign()) == ("on hold", "b")


# --- drain


async def test_a_drained_site_gives_the_lead_up_and_stands_in_nobodys_way(site: Sites) -> None:
    a, b = site("a"), site("b")
    epoch = await a.win()
    assert await command(b, "drain", "a") == Accepted(True)
    assert await command(b, "drain", "a") == Accepted(False)
    answer = await renewed(a, epoch)
    assert (answer.yield_to, answer.why) == ("", "drained by eve: a reason")
    await a.ask(Release(epoch, "gives up", eligible=True))
    assert refusal(await a.campaign()) == ("drained", "")
    assert not (await a.store.snapshot()).sites["a"].eligible
    epoch = await b.win()
    assert (await renewed(b, epoch)).yield_in_ms is None, "a is not due"
    assert (await a.store.snapshot()).drained == {"a": "drained by eve: a reason"}
    assert await command(b, "undrain", "a") == Accepted(True)
    await a.campaign()
    assert (await renewed(b, epoch)).yield_in_ms is not None


async def test_commands_are_journaled_with_who_and_why_and_announced(site: Sites) -> None:
    a, b = site("a"), site("b")
    await a.win()
    await b.campaign()
    heard = asyncio.Event()
    ears = asyncio.create_task(a.store.listen(heard.set))
    observer = site("c")
    try:
        await asyncio.wait_for(heard.wait(), 5)
        for act, to in (("switch", "b"), ("hold", ""), ("unhold", ""), ("drain", "b"), ("undrain", "b")):
            heard.clear()
            await command(observer, act, to)
            await asyncio.wait_for(heard.wait(), 5)
            event = (await a.store.events())[-1]
            assert (event.kind, event.owner, event.why) == (act, "eve", "a reason")
    finally:
        ears.cancel()


# --- damping


async def lose(site: Site) -> None:
    epoch = await site.win()
    await site.ask(Release(epoch, "crashed", eligible=True, ending="workload-failed"))


async def test_repeated_losses_leave_the_lead_to_others_for_longer_and_longer(site: Sites) -> None:
    a, b = site("a", failback_delay_sec=2), site("b", failback_delay_sec=2)
    pauses = []
    await lose(a)
    assert (await a.store.snapshot()).sites["a"].damped_s == 0, "the first loss is free"
    for _ in range(12):
        await lose(a)  # nobody else is there
        pauses.append((await a.store.snapshot()).sites["a"].damped_s)
    assert [round(pause) for pause in pauses[:4]] == [4, 8, 16, 32]
    assert 3_590 < pauses[-1] <= 3_600
    await b.campaign(eligible=False)
    await lose(a)
    assert isinstance(await b.campaign(), Granted), "a is preferred and ready, but damped"
    assert [kind for kind, _ in await kinds(a)].count("damped") == 13


async def test_a_damped_site_passes_a_ready_one_only_when_that_is_gone(site: Sites) -> None:
    a, b = site("a"), site("b")
    await lose(a)
    await lose(a)
    assert isinstance(await b.campaign(eligible=True), Granted)
    await b.ask(Release((await b.store.snapshot()).epoch, "test", eligible=True))
    assert refusal(await a.campaign()) == ("damped", "b")
    await b.ask(Release(0, "stopped", leaving=True))
    await a.win()


async def test_the_failback_waits_for_the_end_of_the_damping(site: Sites) -> None:
    a, b = site("a", failback_delay_sec=0), site("b", failback_delay_sec=0)
    await lose(a)
    await lose(a)
    epoch = await b.win()
    await a.campaign()
    answer = await renewed(b, epoch)
    assert answer.yield_to == ""
    assert answer.yield_in_ms is not None
    assert 1_000 < answer.yield_in_ms <= b.config.damping_ms
    await asyncio.sleep(0.2)
    while answer.yield_to == "":
        await asyncio.sleep(min(0.3, (answer.yield_in_ms or 0) / 1000))
        await a.campaign()
        answer = await renewed(b, epoch)
    assert answer.yield_to == "a"


async def test_a_crash_counts_as_a_loss_and_a_clean_end_does_not(site: Sites) -> None:
    a, b = site("a"), site("b")
    epoch = await a.win()
    await a.ask(Release(epoch, "stopped", leaving=True))
    epoch = await b.win()
    await asyncio.sleep(0.65)
    epoch = await a.campaign_until_granted()
    sites = (await a.store.snapshot()).sites
    assert (sites["a"].losses, sites["b"].losses) == (0, 1)
    await asyncio.sleep(0.65)
    await a.ask(Release(epoch, "the store was away", ending="renew-failed", eligible=True))
    await b.campaign_until_granted()
    assert (await a.store.snapshot()).sites["a"].losses == 1, "a late release and the expiry are one loss"
    assert [kind for kind, name in await kinds(a) if name == "a"] == [
        "acquired",
        "released",
        "acquired",
        "renew-failed",
    ]
    [late] = [told(event) for event in await a.store.events() if event.kind == "renew-failed"]
    assert late.why.startswith("the store was away; not renewed since ")
    assert late.last_renewal is not None
    assert late.last_renewal < late.time - 500, "from then on the bot counts as down"


# --- the login budget


async def test_a_spent_budget_refuses_and_says_for_how_long(site: Sites) -> None:
    a = site("a", login_budget=20)
    for left in range(9, -1, -1):
        reply = await a.campaign()
        assert isinstance(reply, Granted)
        assert reply.logins_left == left
        await a.ask(Release(reply.epoch, "test"))
    reply = await a.campaign()
    assert refusal(reply) == ("budget", "")
    assert isinstance(reply, Refused)
    assert reply.wait_ms is not None
    hours = reply.wait_ms / 3_600_000
    assert 2.39 < hours <= 2.4, "ten logins a day come back"
    assert ("refused-by-budget", "a") in await kinds(a)
    await a.campaign()
    assert [kind for kind, _ in await kinds(a)].count("refused-by-budget") == 1, "once, not with each heartbeat"
    snapshot = await a.store.snapshot()
    assert snapshot.logins_left == 0
    assert snapshot.next_login_s == pytest.approx(reply.wait_ms / 1000, abs=2)
    assert snapshot.counts["login:a"] == 10


async def test_logins_under_a_lease_count_and_the_services_own_limit_rules(site: Sites) -> None:
    a = site("a")
    epoch = await a.win()
    assert (await renewed(a, epoch)).logins_left == 249
    reply = await a.ask(Renew(epoch, Logins(3, 800)))
    assert isinstance(reply, Renewed)
    assert reply.logins_left == 246
    for _ in range(2):  # told once more, as after an answer that was lost
        reply = await a.ask(Renew(epoch, Logins(4, 40)))
        assert isinstance(reply, Renewed)
        assert reply.logins_left == 40
    await a.ask(Release(epoch, "test", logins=Logins(6)))
    snapshot = await a.store.snapshot()
    assert snapshot.logins_left == 38
    assert snapshot.counts["login:a"] == 7


async def test_logins_are_counted_also_from_who_has_lost_the_lock(site: Sites) -> None:
    a = site("a")
    epoch = await a.win()
    await a.ask(Release(epoch, "test", logins=Logins(5)))
    assert isinstance(await a.ask(Renew(epoch, Logins(7))), Lost)
    await a.ask(Campaign(True, 0, Logins(9)))
    assert (await a.store.snapshot()).counts["login:a"] == 1 + 5 + 2 + 2 + 1, "the first and the last with a grant"


async def test_a_store_that_forgot_does_not_count_a_process_s_logins_of_old_anew(
    site: Sites, lease_server: Server
) -> None:
    a = site("a")
    epoch = await a.win()
    await a.ask(Renew(epoch, Logins(30)))
    lease_server.flush()
    reply = await a.ask(Renew(epoch, Logins(31, told=30)))
    assert isinstance(reply, Renewed)
    assert reply.logins_left == 9, "the new one, of the ten that are left of what may have been forgotten"
    reply = await a.ask(Renew(epoch, Logins(33, told=31)))
    assert isinstance(reply, Renewed)
    assert reply.logins_left == 7


async def test_the_lead_is_not_moved_when_the_next_site_could_not_log_in(site: Sites) -> None:
    a, b = site("a", failback_delay_sec=0), site("b", failback_delay_sec=0)
    epoch = await b.win()
    await a.campaign()
    reply = await b.ask(Renew(epoch, Logins(0, 1)))
    assert isinstance(reply, Renewed)
    assert reply.yield_to == ""
    assert reply.yield_in_ms is not None
    assert reply.yield_in_ms > 0


async def test_a_store_that_forgot_takes_most_of_the_budget_for_spent(site: Sites, lease_server: Server) -> None:
    a = site("a")
    await a.win()
    lease_server.flush()
    await a.campaign()
    assert (await a.store.snapshot()).logins_left == 10


# --- what else is told


async def test_a_site_that_waits_for_a_preferred_one_is_journaled_once(site: Sites) -> None:
    a, b = site("a"), site("b")
    await a.campaign(eligible=False)
    epoch = await b.win()
    await a.campaign()
    await b.ask(Release(epoch, "test", eligible=True))
    for _ in range(3):
        assert refusal(await b.campaign()) == ("preferred", "a")
    assert (await kinds(a)).count(("refused-by-priority", "b")) == 1
    assert (await a.store.snapshot()).sites["b"].waits == "preferred"


async def test_a_lease_lasts_as_long_as_its_own_site_was_told(site: Sites) -> None:
    a, b = site("a", lock_ttl_ms=5_000, hb_ttl_sec=5), site("b")
    await a.win()
    reply = await b.campaign()
    assert isinstance(reply, Refused)
    assert reply.wait_ms is not None
    assert reply.wait_ms > 4_000, "b's configuration, with a shorter TTL, must not end it early"


async def test_heartbeats_carry_what_cannot_be_scraped(redis: RedisServer) -> None:
    async with sites_on(redis) as site:
        await check_reports(site("a"), site("b"))


async def check_reports(a: Site, b: Site) -> None:
    epoch = await a.win()
    a.store.serving = True
    for _ in range(3):
        await renewed(a, epoch)
    await b.campaign()
    sites = (await b.store.snapshot()).sites
    assert sites["a"].serving is True
    assert sites["b"].serving is None
    assert sites["a"].renewals is not None
    assert sum(sites["a"].renewals.counts) == 2, "the third is measured only now"
    assert sites["a"].renewals.failed == 0
    assert sites["a"].owner == a.config.owner
