"""What stores/base.py promises, on every store: many writers, whatever happens to the server, and a checker.

Each record names the one that it took the place of, so the history of a register is a chain. It is linearizable if, in
one incarnation of the server, no record has two successors, and nobody sees less of the chain than somebody who was
done before he began.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rectbot.failover.clock import boottime_ms
from rectbot.failover.codec import decode, encode, encode_event
from rectbot.failover.config import FailoverConfig
from rectbot.failover.record import Record
from rectbot.failover.stores.base import Register, StoreUnavailable, Version
from registers import STORES, Host, host_of
from servers import until

WRITERS = 8
SECONDS = 4.0
PATIENCE_MS = 400


@pytest.fixture(params=STORES)
async def host(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Host]:
    async with host_of(request.param, tmp_path) as host:
        yield host


@dataclass
class Act:
    """One read or swap, and what it showed."""

    began: float
    ended: float
    version: Version
    won: bool = False
    seen: Version | None = None


class Writer:
    """Reads and swaps as fast as it can."""

    def __init__(self, host: Host, name: str) -> None:
        self.name = name
        self.config = FailoverConfig(site="a", priority=("a", "b"), owner=name, lock_ttl_ms=3_000)
        self.register: Register = host.open(self.config)
        self.n = 0
        self.acts: list[Act] = []
        self.unheard = 0

    def next(self, seen: Version) -> bytes:
        """The record in the place of this one; `lineage` names its predecessor."""
        self.n += 1
        before = decode(seen.record) if seen.record else Record()
        made = Record(
            seq=before.seq + 1, owner=self.name, n=self.n, lineage=f"{before.owner} {before.n}", server=seen.server
        )
        made.number, made.wall = before.number, 1_000
        made.outbox = before.outbox
        made.enter("acquired", ("a", self.name), f"{self.n}")
        return encode(made)

    async def act(self, seen: Version | None) -> Version | None:
        loop = asyncio.get_running_loop()
        began, give_up_at = loop.time(), boottime_ms() + PATIENCE_MS
        try:
            if seen is None:
                version = await self.register.read(give_up_at)
                self.acts.append(Act(began, loop.time(), version))
            else:
                record = self.next(seen)
                outbox = [encode_event(event) for event in decode(record).outbox]
                version = await self.register.swap(seen, record, outbox, give_up_at)
                self.acts.append(Act(began, loop.time(), version, version.record == record, seen))
        except StoreUnavailable:
            self.unheard += 1
            return None
        else:
            return version

    async def run(self, until: float, dice: random.Random) -> None:
        seen: Version | None = None
        while asyncio.get_running_loop().time() < until:
            seen = await self.act(seen)
            if dice.random() < 0.2:
                seen = None
            await asyncio.sleep(dice.random() * 0.004)


def check(acts: list[Act]) -> None:
    """Raises AssertionError when the history is not linearizable in one of the server's incarnations."""
    for server in {act.version.server for act in acts}:
        mine = [act for act in acts if act.version.server == server]
        names: dict[int, tuple[str, int, str]] = {}
        for act in mine:
            record = decode(act.version.record) if act.version.record else Record()
            name = (record.owner, record.n, record.lineage)
            assert names.setdefault(record.seq, name) == name, f"two records after the same: {name}"
        for depth, (_, _, before) in names.items():
            if depth - 1 in names:
                assert before == " ".join(map(str, names[depth - 1][:2])), "a record does not follow its predecessor"
        taken = [act.seen.token for act in mine if act.won and act.seen and act.seen.server == server]
        assert len(taken) == len(set(taken)), "one version was swapped twice"
        assert all(act.seen is not None and act.seen.server == server for act in mine if act.won), "of another server"
        deepest = 0.0
        done = sorted(mine, key=lambda act: act.ended)
        for act in sorted(mine, key=lambda act: act.began):
            while done and done[0].ended < act.began:
                deepest = max(deepest, _depth(done.pop(0)))
            assert _depth(act) >= deepest, "somebody sees an older record than was seen before"


def _depth(act: Act) -> int:
    return decode(act.version.record).seq if act.version.record else 0


@pytest.mark.timeout(120)
@pytest.mark.parametrize("fault", ["none", "restart", "pause", "cut", "all"])
async def test_the_history_is_linearizable(host: Host, fault: str) -> None:
    dice = random.Random(fault)
    writers = [Writer(host, f"w{number}") for number in range(WRITERS)]
    end = asyncio.get_running_loop().time() + SECONDS

    async def faults() -> None:
        while fault != "none" and asyncio.get_running_loop().time() < end - 1:
            await asyncio.sleep(0.2 + 0.4 * dice.random())
            kind = dice.choice(("restart", "pause", "cut")) if fault == "all" else fault
            if kind == "restart":
                await host.restart()
            elif kind == "cut":
                await host.cut()
            else:
                host.pause()
                await asyncio.sleep(dice.choice((0.1, 0.6)))
                host.resume()

    try:
        await asyncio.gather(faults(), *(writer.run(end, dice) for writer in writers))
    finally:
        for writer in writers:
            await writer.register.close()
    acts = [act for writer in writers for act in writer.acts]
    check(acts)
    won = [act for act in acts if act.won]
    assert len(won) > 30, "hardly anybody wrote"
    assert len({decode(act.version.record or b"").owner for act in won}) > WRITERS // 2
    print(f"{len(acts)} acts, {len(won)} swaps won, {sum(writer.unheard for writer in writers)} unheard")


async def test_the_checker_finds_what_is_wrong(host: Host) -> None:
    a, b = Writer(host, "a"), Writer(host, "b")
    first = await a.act(None)
    assert first is not None
    await a.act(first)
    second = a.acts[-1].version
    check(a.acts)
    fork = Act(0, 1, Version("x", b.next(first), first.server), won=True, seen=first)
    with pytest.raises(AssertionError, match="two records after the same"):
        check([*a.acts, fork])
    late = Act(a.acts[-1].ended + 1, a.acts[-1].ended + 2, first)
    with pytest.raises(AssertionError, match="older record"):
        check([*a.acts, late])
    assert second.record is not None
    for writer in (a, b):
        await writer.register.close()


async def test_who_has_not_seen_the_present_record_writes_nothing(host: Host) -> None:
    a, b = Writer(host, "a"), Writer(host, "b")
    nothing = await a.act(None)
    assert nothing is not None
    assert nothing.record is None
    first = await a.act(nothing)
    assert first is not None
    assert await b.act(nothing) == first._replace(age_ms=b.acts[-1].version.age_ms), "it gets the record in force"
    assert not b.acts[-1].won
    other = first._replace(server="another")
    assert (await b.act(other) or other).record == first.record, "of another incarnation"
    assert [entry.number for entry in await a.register.journal(10)] == [1], "only what was done is journaled"
    for writer in (a, b):
        await writer.register.close()


async def test_a_swap_that_was_given_up_is_done_as_long_as_nobody_else_has_written(host: Host) -> None:
    a, b = Writer(host, "a"), Writer(host, "b")
    seen = await a.act(None)
    assert await b.act(None) == seen
    host.pause()
    assert await a.act(seen) is None
    host.resume()
    now: Version | None = None
    while now is None:
        now = await b.act(None)
    assert seen is not None
    assert now.record is None or decode(now.record).owner == "a"
    won = await b.act(now)
    assert won is not None
    await asyncio.sleep(0.2)
    assert decode((await b.act(None) or won).record or b"").owner == "b", "the late one comes to nothing"
    for writer in (a, b):
        await writer.register.close()


async def test_each_event_is_journaled_once_and_in_order(host: Host) -> None:
    a, b = Writer(host, "a"), Writer(host, "b")
    seen = await a.act(None)
    for number in range(40):
        seen = await (a if number % 3 else b).act(seen)
        assert seen is not None
    entries = await a.register.journal(100)
    assert [entry.number for entry in entries] == list(range(1, 41))
    assert [json.loads(entry.text)["id"] for entry in entries] == [str(number) for number in range(1, 41)]
    assert [entry.number for entry in await b.register.journal(3)] == [38, 39, 40]
    for writer in (a, b):
        await writer.register.close()


async def test_a_change_is_told_of_also_after_the_connections_broke(host: Host) -> None:
    a, b = Writer(host, "a"), Writer(host, "b")
    told: list[Version | None] = []
    watching = asyncio.create_task(b.register.watch(told.append))
    await until(lambda: bool(told))
    seen = await a.act(None)
    seen = await a.act(seen)
    assert seen is not None
    await until(lambda: seen in told or None in told[1:] or any(v and seen and v.token == seen.token for v in told))
    told.clear()
    await host.cut()
    await host.restart()
    await until(lambda: bool(told))
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    for writer in (a, b):
        await writer.register.close()


async def test_another_incarnation_has_another_name(host: Host) -> None:
    a = Writer(host, "a")
    seen = await a.act(await a.act(None))
    assert seen is not None
    await host.restart()
    now: Version | None = None
    while now is None:
        now = await a.act(None)
    assert now.server != seen.server
    await a.act(seen)
    assert not a.acts[-1].won, "what was seen of the old one is not in force at the new one"
    await a.register.close()
