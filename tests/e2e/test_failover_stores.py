"""Two sites with real bots on each kind of store: one is killed, frozen or cut off, or the store dies."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from failover_sites import Link, Site, Stage, stage_on
from lease_servers import BUCKET, CREDENTIALS, S3, Etcd
from rectbot.failover.wiring import libraries

TTL_MS, POLL_MS = 3_000, 200
PATIENCE_S = 30.0


def on_etcd(server: Etcd, folder: Path) -> AbstractAsyncContextManager[Stage]:
    prefix = os.urandom(4).hex()

    def store(links: list[Link]) -> dict[str, object]:
        return {"url": f"etcd://{','.join(f'127.0.0.1:{link.port}' for link in links)}/{prefix}"}

    return stage_on(folder, server, server.ports, store)


def on_bucket(server: S3, folder: Path) -> AbstractAsyncContextManager[Stage]:
    prefix = os.urandom(4).hex()

    def store(links: list[Link]) -> dict[str, object]:
        return {
            "url": f"s3://{BUCKET}/{prefix}?endpoint=http://127.0.0.1:{links[0].port}",
            "credentials": CREDENTIALS,
            "poll_ms": POLL_MS,
            "libraries": libraries(),
        }

    return stage_on(folder, server, [server.port], store)


ON: dict[str, Callable[..., AbstractAsyncContextManager[Stage]]] = {"etcd": on_etcd, "bucket": on_bucket}


@pytest.fixture(params=ON)
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    """Both sites run, and the preferred one leads."""
    async with ON[request.param](request.getfixturevalue(request.param), tmp_path) as stage:
        for site in stage.sites:
            site.changes = {"lock_ttl_ms": TTL_MS, "hb_ttl_sec": 5}
            site.start()
        await stage.until_live("a", seconds=PATIENCE_S)
        yield stage


def _processes(site: Site) -> tuple[int | None, ...]:
    return site.wrapper, site.keeper, site.bot


async def test_a_dead_host_is_taken_over_from_and_gets_the_lead_back(stage: Stage) -> None:
    stage.a.send(signal.SIGKILL, *_processes(stage.a))
    await stage.until_live("b", seconds=PATIENCE_S)
    stage.a.start()
    await stage.until_live("a", seconds=PATIENCE_S)


async def test_a_dead_standby_costs_nothing(stage: Stage) -> None:
    stage.b.send(signal.SIGKILL, *_processes(stage.b))
    await asyncio.sleep(2 * TTL_MS / 1000)
    assert stage.live() == ["a"]
    assert len([record for record in stage.records() if record["what"] == "opened"]) == 1


async def test_a_frozen_leader_is_ended_before_another_leads(stage: Stage) -> None:
    stage.a.send(signal.SIGSTOP, stage.a.wrapper, stage.a.bot)
    await stage.until_live("b", seconds=PATIENCE_S)
    stage.a.send(signal.SIGCONT, stage.a.wrapper)
    await stage.until_live("a", seconds=PATIENCE_S)


async def test_a_leader_that_is_cut_off_logs_out_in_time(stage: Stage) -> None:
    for link in stage.a.links:
        link.drop()
    await stage.until_live("b", seconds=PATIENCE_S)
    for link in stage.a.links:
        link.heal()
    await stage.until_live("a", seconds=PATIENCE_S)


async def test_a_store_that_dies_and_comes_back_is_led_from_again(stage: Stage) -> None:
    stage.redis.kill()
    await stage.until_live(seconds=PATIENCE_S)
    await asyncio.to_thread(stage.redis.start)
    await stage.until_live("a", seconds=PATIENCE_S)


async def test_a_clean_stop_hands_over(stage: Stage) -> None:
    assert await stage.a.end() in (0, -signal.SIGTERM)
    await stage.until_live("b", seconds=PATIENCE_S)
