"""Connections, though addresses or the resolver swallow what they are sent."""

from __future__ import annotations

import asyncio
import errno
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import aiohttp
import pytest
import urllib3
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from addresses import free_port_of, swallowing
from rectbot import dial as dialling
from rectbot import names
from rectbot.bot.sockets import SocketGuard
from rectbot.dial import dial, dial_soon
from rectbot.failover import Lease
from rectbot.names import look_up
from rectbot.pool import Pool
from rectbot.resolver import Resolver
from rectbot.threads import in_thread
from servers import until

REAL = socket.getaddrinfo
HOSTS = ("127.83.0.1", "127.83.0.2", "127.83.0.3", "::1")


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """What was learnt of names and addresses before."""
    names._known.clear()
    dialling._silent.clear()
    yield
    names._known.clear()
    dialling._silent.clear()


class Names:
    """A resolver of the test's own: what it knows, and what it is slow at."""

    def __init__(self) -> None:
        self.known: dict[str, list[str]] = {}
        self.hangs: set[socket.AddressFamily] = set()
        self.fails: int = socket.EAI_NONAME
        self.asked = 0
        self.go_on = threading.Event()

    def __call__(self, host: str, port: int, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:  # noqa: A002
        if flags & socket.AI_NUMERICHOST:
            return REAL(host, port, family, type, proto, flags)
        self.asked += 1
        if family in self.hangs:
            self.go_on.wait(30)
        found = [REAL(each, port, family, type, flags=socket.AI_NUMERICHOST)[0] for each in self.known.get(host, [])
                 if family in (0, socket.AF_INET6 if ":" in each else socket.AF_INET)]  # fmt: skip
        if not found:
            raise socket.gaierror(self.fails, "the test's resolver")
        return found


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    known = Names()
    monkeypatch.setattr(socket, "getaddrinfo", known)
    yield known
    known.go_on.set()
    nothing_under_way()  # or it would be known to the next test


def nothing_under_way() -> None:
    with names._changed:
        assert names._changed.wait_for(lambda: not names._under_way, 20)


def known_by_now(host: str) -> None:
    """Looks it up, and leaves no question under way, as a slow machine may."""
    look_up(host, 1, 5)
    nothing_under_way()


def took(act: Callable[[], Any]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


@pytest.mark.parametrize(
    "kinds", [kinds for n in (1, 2, 3) for kinds in itertools.product(["answers", "refuses", "swallows"], repeat=n)]
)
def test_the_first_address_that_answers_is_taken(kinds: tuple[str, ...], resolver: Names) -> None:
    """Whatever the others do; each that swallows costs 250 ms, one that refuses nothing."""
    hosts = ["::1", *HOSTS][: len(kinds)]
    port = free_port_of(*hosts)
    resolver.known["x.test"] = hosts
    with ExitStack() as stack:
        for host, kind in zip(hosts, kinds, strict=True):
            if kind == "answers":
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                stack.enter_context(socket.create_server((host, port), family=family))
            if kind == "swallows":
                stack.enter_context(swallowing(host, port))
        if "answers" in kinds:
            began = time.monotonic()
            with dial("x.test", port, 10) as sock:
                assert sock.getpeername()[0] == hosts[kinds.index("answers")]
                assert sock.gettimeout() == 10
            assert time.monotonic() - began < 0.25 * kinds.index("answers") + 2
        else:
            error = ConnectionRefusedError if "refuses" in kinds else TimeoutError
            with pytest.raises(error):
                dial("x.test", port, 1)


def test_an_address_that_did_not_answer_comes_last_the_next_time(resolver: Names) -> None:
    port = free_port_of("::1", HOSTS[0])
    resolver.known["x.test"] = ["::1", HOSTS[0]]
    with swallowing("::1", port), socket.create_server((HOSTS[0], port)):
        assert took(lambda: dial("x.test", port, 10).close()) >= 0.25
        fast = min(took(lambda: dial("x.test", port, 10).close()) for _ in range(5))
        assert fast < 0.2


def test_nobody_waits_longer_than_the_time_out(resolver: Names) -> None:
    port = free_port_of(*HOSTS)
    resolver.known["x.test"] = list(HOSTS)
    with ExitStack() as stack:
        for host in HOSTS:
            stack.enter_context(swallowing(host, port))
        with pytest.raises(TimeoutError) as caught:
            dial("x.test", port, 0.4)
        assert caught.value.errno == errno.ETIMEDOUT
        gone = iter([True, False])
        with pytest.raises(TimeoutError):
            dial("x.test", port, 60, wanted=lambda: next(gone))


async def test_who_is_cancelled_leaves_no_socket_and_no_attempt(resolver: Names) -> None:
    port = free_port_of(HOSTS[0])
    resolver.known["x.test"] = [HOSTS[0]]
    with swallowing(HOSTS[0], port):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await dial_soon("x.test", port, 60)
        await until(lambda: all(thread.name != "in_thread" for thread in threading.enumerate()))


async def test_what_comes_when_nobody_waits_is_dropped() -> None:
    dropped: list[int] = []
    go_on = threading.Event()

    def late() -> int:
        go_on.wait(10)
        return 7

    task = asyncio.create_task(in_thread(late, dropped.append))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    await until(lambda: dropped == [7])
    assert await in_thread(lambda: 8) == 8
    with pytest.raises(ValueError, match="as it was raised"):
        await in_thread(lambda: int("as it was raised"))


def test_an_address_is_not_asked_for(resolver: Names) -> None:
    for host in ("127.0.0.1", "::1", "[::1]"):
        assert look_up(host, 80, 1)[0][1][:2] == (host.strip("[]"), 80)
    assert resolver.asked == 0


def test_families_take_turns(resolver: Names) -> None:
    resolver.known["x.test"] = ["::1", "::2", "::3", "127.0.0.1", "127.0.0.2"]
    found = [where[0] for _, where in look_up("x.test", 1, 5)]
    assert found == ["::1", "127.0.0.1", "::2", "127.0.0.2", "::3"]


def test_a_resolver_that_hangs_is_left_in_time_and_asked_by_one_thread(resolver: Names) -> None:
    resolver.hangs = {socket.AF_UNSPEC, socket.AF_INET}
    for _ in range(3):
        with pytest.raises(socket.gaierror, match=r"the resolver has not answered within 0.3 s"):
            look_up("x.test", 1, 0.3)
    assert resolver.asked == 2, "once for each family"


def test_an_answer_that_comes_too_late_is_there_for_the_next(resolver: Names) -> None:
    resolver.hangs = {socket.AF_UNSPEC, socket.AF_INET}
    resolver.known["x.test"] = ["127.0.0.1"]
    with pytest.raises(socket.gaierror):
        look_up("x.test", 1, 0.3)
    resolver.go_on.set()
    assert look_up("x.test", 1, 5)[0][1] == ("127.0.0.1", 1)


def test_questions_for_ipv6_that_are_swallowed_cost_little(resolver: Names) -> None:
    resolver.hangs = {socket.AF_UNSPEC}
    resolver.known["x.test"] = ["::1", "127.0.0.1"]
    assert took(lambda: look_up("x.test", 1, 30)) < 5
    assert look_up("x.test", 1, 30)[0][1] == ("127.0.0.1", 1)


@pytest.mark.parametrize("silent", [True, False])
def test_while_the_resolver_is_down_the_old_addresses_do(silent: bool, resolver: Names) -> None:
    resolver.known["x.test"] = ["127.0.0.1"]
    known_by_now("x.test")
    resolver.known.clear()
    resolver.fails = socket.EAI_AGAIN
    resolver.hangs = {socket.AF_UNSPEC, socket.AF_INET} if silent else set()
    assert look_up("x.test", 2, 5)[0][1] == ("127.0.0.1", 2)


def test_a_name_that_moved_or_is_gone_has_no_old_addresses(resolver: Names) -> None:
    resolver.known["x.test"] = ["127.0.0.1"]
    known_by_now("x.test")
    resolver.known["x.test"] = ["127.0.0.2"]
    assert look_up("x.test", 1, 5)[0][1][0] == "127.0.0.2"
    known_by_now("x.test")
    resolver.known.clear()
    with pytest.raises(socket.gaierror, match="the test's resolver"):
        look_up("x.test", 1, 5)


@pytest.mark.parametrize("name", ["a..b", "x" * 70 + ".test", "nul\0.test", ""])
def test_what_cannot_be_a_name_is_no_traceback(name: str) -> None:
    with pytest.raises(socket.gaierror):
        look_up(name, 1, 20)


def test_a_host_without_room_for_threads_says_so(resolver: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(socket.gaierror, match="can't start new thread"):
        look_up("x.test", 1, 5)


async def test_aiohttp_gets_its_addresses_in_the_same_way(resolver: Names) -> None:
    resolver.known["x.test"] = ["::1", "127.0.0.1"]
    found = await Resolver().resolve("x.test", 80)
    assert [(each["host"], each["port"], each["family"]) for each in found] == [
        ("::1", 80, socket.AF_INET6),
        ("127.0.0.1", 80, socket.AF_INET),
    ]
    assert [each["host"] for each in await Resolver().resolve("x.test", 80, socket.AF_INET)] == ["127.0.0.1"]


def test_the_pool_fails_as_urllib3_does(resolver: Names) -> None:
    port = free_port_of(HOSTS[0])
    resolver.known |= {"refuses.test": [HOSTS[0]], "swallows.test": [HOSTS[1]]}
    with Pool(retries=False, timeout=urllib3.Timeout(total=0.5)) as pool, swallowing(HOSTS[1], port):
        for host, error in {
            "refuses.test": NewConnectionError,
            "swallows.test": ConnectTimeoutError,
            "unknown.test": NameResolutionError,
        }.items():
            for scheme in ("http", "https"):
                with pytest.raises(error) as caught:
                    pool.request("GET", f"{scheme}://{host}:{port}/")
                assert isinstance(caught.value.__cause__, OSError)


async def test_the_bot_s_own_sockets_are_as_quick(resolver: Names) -> None:
    """discord.py's connections go through aiohttp, by our socket factory and our resolver."""
    port = free_port_of("::1", HOSTS[0])
    resolver.known["x.test"] = ["::1", HOSTS[0]]
    guard = SocketGuard(Lease("oci", "me", 1, None))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    with swallowing("::1", port):
        async with (
            await asyncio.start_server(answer, HOSTS[0], port),
            aiohttp.ClientSession(connector=guard.connector()) as http,
            asyncio.timeout(10),
            http.get(f"http://x.test:{port}/") as response,
        ):
            assert response.status == 200
    assert resolver.asked >= 1
