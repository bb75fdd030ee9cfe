"""The committed redis.conf, included as both engines include it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from servers import free_port
from servers_monitoring import CONFIG, running


@contextmanager
def server(folder: Path, port: int) -> Iterator[tuple[int, redis.Redis]]:
    config = folder / "redis.conf"
    config.write_text(f"include {CONFIG}/redis/redis.conf\nport {port}\nbind 127.0.0.1\ndir {folder}\nrequirepass pw\n")
    client = redis.Redis(port=port, password="pw")

    def answers() -> bool:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False

    with client, running(["redis-server", str(config)], folder / "redis.log", answers) as process:
        yield process.pid, client


def test_a_lease_survives_the_server_s_death(tmp_path: Path) -> None:
    port = free_port()
    with server(tmp_path, port) as (pid, client):
        client.set("rectbot:leader", "xserver", px=60_000)
        client.incr("rectbot:leader:epoch")
        os.kill(pid, signal.SIGKILL)
    with server(tmp_path, port) as (_, client):
        assert client.get("rectbot:leader") == b"xserver"
        assert 0 < client.pttl("rectbot:leader") <= 60_000
        assert client.get("rectbot:leader:epoch") == b"1"


def test_writes_are_on_disk_before_they_are_answered(tmp_path: Path) -> None:
    with server(tmp_path, free_port()) as (_, client):
        values = client.config_get("append*")
        assert (values["appendonly"], values["appendfsync"]) == ("yes", "always")


def test_what_does_not_fit_is_refused_and_nothing_is_evicted(tmp_path: Path) -> None:
    with server(tmp_path, free_port()) as (_, client):
        client.set("rectbot:leader", "xserver")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            fill(client, megabytes=80)
        assert client.get("rectbot:leader") == b"xserver"


def fill(client: redis.Redis, megabytes: int) -> None:
    for number in range(megabytes):
        client.set(f"filler:{number}", b"x" * 1_000_000)
