"""Fixtures that all tests may use."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from lease_servers import S3, Etcd, etcd_cluster, s3_server
from lease_sites import OnRedis, Server
from rectbot.failover.stores.memory import MemoryServer
from rectbot.settings import KNOWN
from servers import RedisServer, redis_server

# How long an example takes is the machine's affair.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# A shell's background job ignores Ctrl-C, and so would every program under test.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _own_settings() -> Iterator[None]:
    """No test sees the settings of whoever runs it, as of a stack that runs with RECTBOT_PORT_OFFSET."""
    with pytest.MonkeyPatch.context() as patch:
        for name in KNOWN:
            patch.delenv(name, raising=False)
        yield


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A redis-server of the test's own, with data on disk."""
    with redis_server(tmp_path / "redis") as server:
        yield server


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """A cluster of three, of the file's own: its tests kill and pause members."""
    with etcd_cluster(tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A server that speaks S3, likewise."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(params=["redis", "memory"])
def lease_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A lease store's server: what holds for the scripts in a real Redis has to hold for the model in memory."""
    if request.param == "memory":
        yield MemoryServer()
        return
    with redis_server(tmp_path / "redis") as server:
        yield OnRedis(server)
