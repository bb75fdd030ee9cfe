"""Hosts that lose their power: `kill -9` of everything on one of them, whose network says nothing more."""

from __future__ import annotations

from pathlib import Path

import pytest

from hosts import may_have_hosts, played
from rectbot.failover.clock import boottime_ms

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(not may_have_hosts(), reason="hosts are network namespaces here, which takes root"),
]
TTL_MS, POLL_MS, BUSY_MS = 3_000, 500, 1_000


@pytest.mark.parametrize(
    ("store", "dies"),
    [("bucket", "xserver"), ("bucket", "oci"), ("etcd", "xserver"), ("etcd", "oci"), ("etcd", "third")],
)
def test_any_host_may_die_and_the_bot_runs_or_runs_again(store: str, dies: str, tmp_path: Path) -> None:
    """With etcd any one of three; with a bucket either of two, and the bucket is none of them."""
    with played(store, tmp_path, TTL_MS) as play:
        began = boottime_ms()
        {"xserver": play.xserver, "oci": play.oci, "third": play.third}[dies].lose_power()
        stays = dies != "xserver"
        play.until_live("xserver" if stays else "oci", 20)
        limit = TTL_MS + 1_000 + (POLL_MS if store == "bucket" else 0)
        assert play.silence(began) <= limit + BUSY_MS, play.logs()
        if stays:
            until = began + 2 * TTL_MS
            while boottime_ms() < until:
                play.until_live("xserver", 1)


def test_with_redis_the_bot_follows_its_host(tmp_path: Path) -> None:
    """What the recommendation of a bucket is about: xserver is well, and its bot logs out."""
    with played("redis", tmp_path, TTL_MS) as play:
        play.oci.lose_power()
        play.until_live("", 20)
