"""A stack whose lease is in a bucket, or in etcd: everything that an operator has works as it does on Redis."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from e2e.stack import Stack, until
from lease_servers import ACCESS_KEY, BUCKET, S3, SECRET_KEY, Etcd, etcd_cluster, s3_server
from localdiscord.journal import overlaps, sessions

pytestmark = pytest.mark.timeout(300)
REDIS_CHECKS = {"redis-password", "redis-rights", "redis-data", "clock"}


@dataclass
class Kept:
    """A stack, and the server that keeps its lease."""

    stack: Stack
    server: S3 | Etcd
    settings: dict[str, str]


def _in_bucket(server: S3) -> dict[str, str]:
    url = f"s3://{BUCKET}/{os.urandom(4).hex()}?endpoint={server.endpoint}"
    return {
        "LEASE_URL": url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "LEASE_POLL_SEC": "1",
    }


@pytest.fixture(scope="module", params=["bucket", "etcd"])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "bucket":
        with s3_server(folder) as bucket:
            yield from _kept(folder / "home", bucket, _in_bucket(bucket))
    else:
        with etcd_cluster(folder) as etcd:
            yield from _kept(folder / "home", etcd, {"LEASE_URL": f"etcd://{etcd.hosts}/bots"})


def _kept(home: Path, server: S3 | Etcd, settings: dict[str, str]) -> Iterator[Kept]:
    stack = Stack.prepare(home)
    stack.run("init")
    with (home / ".env").open("a") as file:
        file.writelines(f"{name}={value}\n" for name, value in settings.items())
    try:
        print(stack.run("up", "--detach").stdout)
        yield Kept(stack, server, settings)
        assert overlaps(stack.journal()) == []
        assert "stopped" in stack.run("down").stdout
        assert stack.leftovers() == []
    finally:
        stack.destroy()


@pytest.fixture
def stack(kept: Kept) -> Stack:
    """It is as it should be: xserver leads, and is logged in."""
    until(lambda: kept.stack.leader() == "xserver" and _live(kept.stack) == ["xserver"], 60, "xserver leads")
    return kept.stack


def _live(stack: Stack) -> list[str | None]:
    return [session.site for session in sessions(stack.journal()) if session.closed is None]


def _metrics(stack: Stack) -> str:
    return urllib3.request("GET", f"{stack.url('hub')}/metrics", timeout=10).data.decode()


def _doctor(stack: Stack) -> dict[str, dict[str, Any]]:
    report = json.loads(stack.run("doctor", "--json", check=False).stdout)
    return {check["name"]: check for check in report["checks"]}


def test_status_shows_who_leads_and_no_redis_runs(stack: Stack) -> None:
    status = stack.status()
    assert [status["sites"][site]["state"] for site in ("xserver", "oci")] == ["leads", "stands by"]
    assert {"hub", "console", "bot-xserver", "bot-oci"} <= set(status["components"])
    assert not [name for name in status["components"] if name == "redis" or name.startswith("link")]
    until(lambda: all(part["healthy"] for part in stack.status()["components"].values()), 30, "all is healthy")
    assert "redis" not in stack.open_ports()


def test_hub_console_and_doctor_ask_that_store(stack: Stack) -> None:
    until(lambda: 'rectbot_failover_leader{site="xserver"} 1.0' in _metrics(stack), 20, "the hub knows who leads")
    assert "rectbot_redis_up 1.0" in _metrics(stack)
    page = urllib3.request("GET", f"{stack.url('console')}/", timeout=20)
    assert page.status == 200
    assert "xserver" in page.data.decode()
    checks = _doctor(stack)
    assert not REDIS_CHECKS & checks.keys()
    assert checks["lease"]["result"] == "PASS", checks["lease"]
    assert "xserver leads" in checks["lease"]["found"]
    assert checks["leader"]["result"] == "PASS", checks["leader"]


def test_an_operator_moves_the_lead_and_reads_why(stack: Stack) -> None:
    stack.run("failover", "switch", "oci", "--why", "a rehearsal")
    assert "oci" in stack.run("failover", "status").stdout
    until(lambda: _live(stack) == ["oci"], 20, "oci is logged in")
    stack.run("failover", "switch", "xserver")
    history = stack.run("failover", "history").stdout
    assert "a rehearsal" in history
    assert [word for word in ("acquired", "switch", "handed-over") if word not in history] == []
    until(lambda: _live(stack) == ["xserver"], 30, "xserver is logged in again")


def test_a_dead_site_is_replaced_and_gets_the_lead_back(stack: Stack) -> None:
    stack.run("site", "kill", "xserver")
    until(lambda: _live(stack) == ["oci"], 40, "oci is logged in")
    stack.run("site", "start", "xserver")
    until(lambda: _live(stack) == ["xserver"], 60, "xserver is logged in again")


def test_there_is_no_link_to_cut(stack: Stack) -> None:
    refused = stack.run("site", "cut", "xserver", check=False)
    assert refused.returncode == 2
    assert "the lease is not in this stack's Redis" in refused.stderr


def test_a_store_that_is_away_is_told_and_waited_for(kept: Kept, stack: Stack) -> None:
    kept.server.kill()
    until(lambda: _live(stack) == [], 40, "nobody is logged in")
    told = stack.run("status", check=False)
    assert told.returncode == 1
    assert "leader  unknown: " in told.stdout
    assert "Redis does not answer" not in told.stdout
    assert "rectbot_redis_up 0.0" in _metrics(stack)
    assert _doctor(stack)["lease"]["result"] == "FAIL"
    kept.server.start()
    until(lambda: _live(stack) == ["xserver"], 90, "xserver is logged in again")


def test_a_store_that_there_is_not_is_refused_before_anything_runs(kept: Kept, tmp_path: Path) -> None:
    """Clear, and at once: nothing is left running."""
    own = Stack.prepare(tmp_path / "home")
    own.run("init")
    lines = kept.settings | {"LEASE_URL": kept.settings["LEASE_URL"].replace(f"//{BUCKET}/", "//no-such-bucket/")}
    if "LEASE_POLL_SEC" not in lines:
        lines["LEASE_URL"] = "etcd://127.0.0.1:1/bots"
    try:
        refused = own.run("up", "--detach", check=False, timeout=90, **lines)
        assert refused.returncode != 0
        assert refused.stderr.strip().splitlines()[-1].startswith("rectbot: ")
        assert "no such bucket" in refused.stderr or "etcd did not answer" in refused.stderr
        assert SECRET_KEY not in refused.stdout + refused.stderr
        assert own.leftovers() == []
    finally:
        own.destroy()
