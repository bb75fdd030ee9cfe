"""Each way to reach a real Redis that REDIS_URL can name, and what is said when one does not work."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rectbot.errors import ConfigError
from rectbot.failover import FailoverConfig, LeaseStore, StoreUnavailable, open_store
from rectbot.failover.clock import boottime_ms
from rectbot.failover.messages import (
    Accepted,
    Campaign,
    Command,
    Granted,
    Logins,
    Refused,
    Release,
    Renew,
    Renewed,
)
from rectbot.stack.certificate import make
from sentinels import Server
from servers import PASSWORD, free_port

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Doors:
    """One Redis with three doors: TCP, TLS, and a socket in the file system."""

    server: Server
    socket: Path
    tls_port: int
    certificate: Path


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[Doors]:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    for file, text in zip((certificate, key), make(), strict=True):
        file.write_text(text)
    tls_port, socket = free_port(), tmp_path / "redis.sock"
    server = Server(
        tmp_path,
        "redis",
        PASSWORD,
        f"unixsocket {socket}\ntls-port {tls_port}\ntls-cert-file {certificate}\ntls-key-file {key}\n"
        f"tls-auth-clients no\nsave ''\nuser bot on >bot-password ~* &* +@all\n",
    )
    deadline = time.monotonic() + 20
    while not server.ask("PING"):
        assert time.monotonic() < deadline, "redis-server did not answer"
        time.sleep(0.01)
    yield Doors(server, socket, tls_port, certificate)
    server.kill()


def store(url: str, cacert: Path | None = None) -> LeaseStore:
    return open_store(
        FailoverConfig(site="a", priority=("a", "b"), lock_ttl_ms=2_000).validate(), url=url, cacert=cacert
    )


async def lead(store: LeaseStore) -> None:
    """Wins and renews."""
    await store.initialise()
    granted = await store.request(Campaign(True, 0), boottime_ms() + 5_000)
    assert isinstance(granted, Granted)
    assert isinstance(await store.request(Renew(granted.epoch), boottime_ms() + 5_000), Renewed)
    await store.close()


async def test_every_door_leads_in(doors: Doors) -> None:
    await lead(store(f"redis://:{PASSWORD}@127.0.0.1:{doors.server.port}"))
    await lead(store(f"redis://bot:bot-password@localhost:{doors.server.port}/3"))
    await lead(store(f"unix://:{PASSWORD}@{doors.socket}?db=1"))
    await lead(store(f"rediss://:{PASSWORD}@127.0.0.1:{doors.tls_port}/2", doors.certificate))


async def test_databases_are_apart(doors: Doors) -> None:
    one, two = (store(f"unix://:{PASSWORD}@{doors.socket}?db={db}") for db in (1, 2))
    await lead(one)
    assert (await two.snapshot()).leader is None


async def test_a_certificate_that_is_not_trusted_is_refused(doors: Doors, tmp_path: Path) -> None:
    url = f"rediss://:{PASSWORD}@127.0.0.1:{doors.tls_port}"
    with pytest.raises(StoreUnavailable, match=r"(?i)certificate.verify.failed"):
        await store(url).snapshot()
    other = tmp_path / "other.crt"
    other.write_text(make()[0])
    with pytest.raises(StoreUnavailable, match=r"(?i)certificate.verify.failed"):
        await store(url, other).snapshot()
    with pytest.raises(ConfigError, match=r"REDIS_CACERT=.*missing\.crt: No such file"):
        await store(url, tmp_path / "missing.crt").snapshot()


async def test_a_server_that_is_something_else_is_an_error_and_no_hang(doors: Doors) -> None:
    with pytest.raises(StoreUnavailable):
        await store(f"redis://:{PASSWORD}@127.0.0.1:{doors.tls_port}").snapshot()
    with pytest.raises(StoreUnavailable):
        await store(f"rediss://:{PASSWORD}@127.0.0.1:{doors.server.port}", doors.certificate).snapshot()
    with pytest.raises(StoreUnavailable, match="No such file"):
        await store(f"unix://{doors.socket}.gone").snapshot()


async def test_a_wrong_user_or_password_is_named(doors: Doors) -> None:
    for login in ("bot:hidden", "nobody:hidden", ":hidden"):
        with pytest.raises(ConfigError, match="refuses the login: correct REDIS_PASSWORD") as caught:
            await store(f"unix://{login}@{doors.socket}").snapshot()
        assert "hidden" not in str(caught.value)


async def test_the_rights_that_the_documentation_names_are_enough(doors: Doors) -> None:
    rule = re.search(r"ACL SETUSER rectbot (.*)", (ROOT / "docs" / "redis.md").read_text())
    assert rule is not None
    [answer] = doors.server.ask(f"ACL SETUSER rectbot {rule[1].replace('PASSWORD', 'hidden')}")[:1]
    assert answer == "+OK"
    lender = store(f"redis://rectbot:hidden@127.0.0.1:{doors.server.port}")
    heard = asyncio.Event()
    ears = asyncio.create_task(lender.listen(heard.set))
    await asyncio.wait_for(heard.wait(), 10)
    await lender.initialise()
    granted = await lender.request(Campaign(True, 0), boottime_ms() + 5_000)
    assert isinstance(granted, Granted)
    assert isinstance(await lender.request(Renew(granted.epoch, Logins(1, 90)), boottime_ms() + 5_000), Renewed)
    for act in ("hold", "unhold", "switch", "drain", "undrain"):
        assert isinstance(await lender.command(Command(act, "eve", site="a")), Accepted)
    await lender.request(Release(granted.epoch, "test", to="b", ending="workload-failed"), boottime_ms() + 5_000)
    assert isinstance(await lender.request(Campaign(True, 0), boottime_ms() + 5_000), Refused)
    assert (await lender.snapshot()).epoch == granted.epoch
    assert (await lender.events())[-1].kind == "workload-failed"
    await lender.request(Release(0, "test", leaving=True), boottime_ms() + 5_000)
    ears.cancel()
    await lender.close()


async def test_a_replica_is_not_taken_for_the_master(doors: Doors) -> None:
    doors.server.ask(f"REPLICAOF 127.0.0.1 {free_port()}")
    with pytest.raises(StoreUnavailable, match="READONLY"):
        await store(f"unix://:{PASSWORD}@{doors.socket}").request(Campaign(True, 0), boottime_ms() + 5_000)


async def test_a_full_server_refuses_and_keeps_what_it_has(doors: Doors) -> None:
    lender = store(f"unix://:{PASSWORD}@{doors.socket}")
    await lender.initialise()
    granted = await lender.request(Campaign(True, 0), boottime_ms() + 5_000)
    assert isinstance(granted, Granted)
    doors.server.ask("CONFIG SET maxmemory 1")
    with pytest.raises(StoreUnavailable, match="OOM"):
        await lender.request(Renew(granted.epoch), boottime_ms() + 5_000)
    doors.server.ask("CONFIG SET maxmemory 0")
    assert isinstance(await lender.request(Renew(granted.epoch), boottime_ms() + 5_000), Renewed)


async def test_a_connection_that_the_server_closed_is_opened_anew(doors: Doors) -> None:
    lender = store(f"unix://:{PASSWORD}@{doors.socket}")
    await lender.initialise()
    granted = await lender.request(Campaign(True, 0), boottime_ms() + 5_000)
    assert isinstance(granted, Granted)
    doors.server.ask("CLIENT KILL TYPE normal")
    for _ in range(2):  # the first may find out only by trying
        try:
            assert isinstance(await lender.request(Renew(granted.epoch), boottime_ms() + 5_000), Renewed)
            break
        except StoreUnavailable:
            continue
    else:
        pytest.fail("it did not connect anew")


async def test_a_server_that_hangs_costs_no_more_than_the_time_that_is_left(doors: Doors) -> None:
    lender = store(f"unix://:{PASSWORD}@{doors.socket}")
    await lender.snapshot()
    doors.server.signal(signal.SIGSTOP)
    try:
        for left in (300, 0, -500):
            began = boottime_ms()
            with pytest.raises(StoreUnavailable, match="did not answer within"):
                await lender.request(Campaign(True, 0), began + left)
            assert max(0, left) - 5 <= boottime_ms() - began < max(0, left) + 250
    finally:
        doors.server.signal(signal.SIGCONT)
    assert isinstance(await lender.request(Campaign(True, 0), boottime_ms() + 5_000), Refused)
