"""The recorder on each store of the lease: each event comes into the database once, also of a store that forgot all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from obstore import delete
from obstore import list as list_objects
from obstore.store import S3Store

from history_homes import Home
from hubs import hub
from lease_servers import ACCESS_KEY, BUCKET, CREDENTIALS, S3, SECRET_KEY, Etcd
from rectbot.failover.config import FailoverConfig
from rectbot.failover.messages import Command
from rectbot.failover.store import LeaseStore, StoreUnavailable, open_store
from rectbot.failover.wiring import store_options
from rectbot.settings import load_settings
from servers import RedisServer

CONFIG = FailoverConfig(site="", priority=("xserver", "oci"))


@dataclass
class Kept:
    """A store, as settings name it; how it is emptied, and what else could be in its place."""

    settings: dict[str, str]
    empty: Callable[[], None]
    another: dict[str, str]


def _on_redis(server: RedisServer) -> Kept:
    database = {"REDIS_URL": f"{server.url.removesuffix('/0').rstrip('/')}/1"}
    return Kept({"REDIS_URL": server.url}, lambda: _done(server.command("FLUSHALL") == b"+OK\r\n"), database)


def _on_etcd(cluster: Etcd) -> Kept:
    def empty() -> None:
        _done(cluster.ctl("del", "--prefix", "history").returncode == 0)

    first, second = ({"LEASE_URL": f"etcd://{cluster.hosts}/history{name}"} for name in ("", "-2"))
    return Kept(first, empty, second)


def _on_bucket(server: S3) -> Kept:
    def empty() -> None:
        store = S3Store(
            BUCKET,
            prefix="history",
            endpoint=server.endpoint,
            client_options={"allow_http": True},
            access_key_id=CREDENTIALS["access_key_id"],
            secret_access_key=CREDENTIALS["secret_access_key"],
            region=CREDENTIALS["region"],
        )
        for batch in list_objects(store):
            for found in batch:
                delete(store, found["path"])

    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "LEASE_POLL_SEC": "0.5"}
    first, second = (
        keys | {"LEASE_URL": f"s3://{BUCKET}/{name}?endpoint={server.endpoint}"} for name in ("history", "another")
    )
    return Kept(first, empty, second)


def _done(well: bool) -> None:
    assert well


STORES: dict[str, Callable[[Any], Kept]] = {"redis": _on_redis, "etcd": _on_etcd, "bucket": _on_bucket}


@pytest.fixture(params=STORES)
def kept(request: pytest.FixtureRequest) -> Iterator[Kept]:
    found = STORES[request.param](request.getfixturevalue(request.param))
    found.empty()  # the server is the file's
    yield found
    found.empty()


@pytest.fixture
def home(tmp_path: Path, kept: Kept) -> Home:
    return Home(tmp_path / "home", dict(kept.settings))


def _order(home: Home, count: int, why: str) -> list[str]:
    """So many events; returns what they say."""
    names = {name.lower(): value for name, value in home.settings.items()}
    options = store_options(load_settings(rectbot_home=home.folder, **names))

    async def give() -> None:
        store = open_store(CONFIG, **options)
        try:
            for number in range(count):
                await _tell(store, "unhold" if number % 2 else "hold", f"{why} {number}")
        finally:
            await store.close()

    asyncio.run(give())
    return [f"{why} {number}" for number in range(count)]


async def _tell(store: LeaseStore, act: Any, why: str) -> None:
    """Once, also where a busy machine does not get the answer through in time."""
    while True:
        try:
            await store.command(Command(act, "ann@desk", why))
        except StoreUnavailable:
            if why not in [event.why for event in await store.events(1)]:
                continue
        return


def _whys(home: Home) -> list[str]:
    return [event["why"] for event in home.export() if event["kind"] in ("hold", "unhold")]


def test_each_event_is_recorded_once(home: Home) -> None:
    home.run("hub", "record")
    assert home.export() == [], "nobody has spoken to the store"
    told = _order(home, 5, "a")
    for _ in range(2):
        home.run("hub", "record")
        assert _whys(home) == told
    told += _order(home, 100, "b")  # more than are asked for at first
    home.run("hub", "record")
    home.run("hub", "record")
    assert _whys(home) == told


def test_a_store_that_was_emptied_is_recorded_on(home: Home, kept: Kept) -> None:
    told = _order(home, 40, "before")
    home.run("hub", "record")
    kept.empty()
    home.run("hub", "record")
    assert _whys(home) == told
    for round_ in range(2):  # fewer than before, then more
        told += _order(home, 30, f"after {round_}")
        home.run("hub", "record")
        home.run("hub", "record")
        assert _whys(home) == told


def test_one_store_in_the_place_of_another_and_back(home: Home, kept: Kept) -> None:
    told = _order(home, 30, "first")
    home.run("hub", "record")
    home.settings = dict(kept.another)
    told += _order(home, 20, "second")
    home.run("hub", "record")
    home.settings = dict(kept.settings)
    told += _order(home, 10, "first again")
    home.run("hub", "record")
    home.run("hub", "record")
    assert _whys(home) == told


@pytest.mark.timeout(400)
def test_the_hub_sees_what_is_new_and_goes_on_when_the_store_forgot(home: Home, kept: Kept) -> None:
    with hub(home.folder, CONSOLE_PORT="0", **kept.settings) as found:
        told = _order(home, 3, "a")
        home.settings["RECTBOT_PORT_OFFSET"] = str(found.metrics - 9464)
        _until(lambda: _whys(home) == told, found.log.read_text)
        kept.empty()
        told += _order(home, 4, "b")
        _until(lambda: _whys(home) == told, found.log.read_text)


def _until(met: Callable[[], bool], told: Callable[[], str]) -> None:
    deadline = time.monotonic() + 150
    while not met():
        assert time.monotonic() < deadline, told()
        time.sleep(0.3)
