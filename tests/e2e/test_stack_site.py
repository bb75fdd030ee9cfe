"""One site of several on a machine (`up --site`), what status says where nobody can tell, and how it all stops."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from dotenv import dotenv_values

from e2e.stack import Stack, until
from rectbot.lists import parse_logins
from rectbot.settings import BASE_PORTS
from servers import free_offset

pytestmark = pytest.mark.timeout(480)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stack]:
    """A stack of the test's own, not started."""
    stack = Stack.prepare(tmp_path / "home")
    stack.run("init")
    try:
        yield stack
    finally:
        stack.destroy()


def test_one_site_of_several_runs_its_bot_and_nothing_of_the_others(own: Stack) -> None:
    own.run("up", "--detach", "--site", "oci")
    until(lambda: own.leader() == "oci", 30, "oci leads")
    status = own.status()
    assert {"bot-oci", "link-oci"} <= set(status["components"])
    assert not [name for name in status["components"] if "xserver" in name]
    assert status["push"] == {}
    assert set(status["sites"]) == {"xserver", "oci"}, "the other host's site is shown, and silent"
    running = " ".join(word for pid in own.leftovers() for word in psutil.Process(pid).cmdline())
    assert f"{own.var}/sites/oci.conf" in running
    assert f"{own.var}/sites/xserver.conf" not in running
    refused = own.run("site", "kill", "xserver", check=False)
    assert refused.returncode == 2
    assert "does not run on this machine" in refused.stderr
    assert "stopped" in own.run("down").stdout
    assert own.leftovers() == []


def test_a_site_that_there_is_not_is_refused_before_anything_starts(own: Stack) -> None:
    refused = own.run("up", "--detach", "--site", "mars", check=False)
    assert refused.returncode == 2
    assert "unknown site 'mars'; the sites are xserver, oci" in refused.stderr
    assert own.leftovers() == []


def test_a_reader_that_goes_away_leaves_the_whole_stack_running(own: Stack) -> None:
    command = f"{' '.join(Stack.command('up', '--detach'))} | head -n 1; exit ${{PIPESTATUS[0]}}"
    run = subprocess.run
    done = run(["bash", "-c", command], env=own.environment, cwd=own.home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert len(done.stdout.splitlines()) == 1
    report = own.status()
    assert all(part["healthy"] for part in report["components"].values())
    assert report["leader"]["site"] == "xserver"


def test_down_costs_no_login_wherever_the_lead_is_and_needs_no_settings(stack: Stack) -> None:
    second = Stack(stack.home, free_offset())
    before = (stack.home / ".env").read_text()
    try:
        second.run("up", "--detach")
        second.run("failover", "switch", "oci")
        logins = [entry for entry in second.journal() if entry["event"] == "session_open"]
        assert logins[-1]["site"] == "oci"
        journal = second.var / "discord" / "journal.jsonl"
        (stack.home / ".env").write_text(f"{before}\nLOCK_TTL_MS=nonsense\n")
        done = second.run("down")
        assert "WARNING" in done.stderr
        assert "LOCK_TTL_MS" in done.stderr
        assert second.leftovers() == []
        assert second.open_ports() == []
        (stack.home / ".env").write_text(before)
        second.run("up", "--detach")
        second.run("failover", "switch", "oci")
        opened = journal.read_text().count('"session_open"')
        second.run("down")
        assert journal.read_text().count('"session_open"') == opened, "nobody logged in on the way down"
    finally:
        (stack.home / ".env").write_text(before)
        second.destroy()


def test_what_redis_does_not_tell_is_unknown(stack: Stack) -> None:
    wrong = stack.run("status", check=False, REDIS_PASSWORD="wrong")
    assert wrong.returncode == 1
    assert "leader  unknown: Redis at 127.0.0.1" in wrong.stdout
    assert "nobody" not in wrong.stdout
    rows = {line.split()[0]: line.split()[1] for line in wrong.stdout.splitlines() if len(line.split()) >= 3}
    assert rows["redis"] == "ok", "it answers"
    assert rows["bot-oci"] == "unknown"
    assert rows["prometheus"] == "ok"


def test_a_site_s_own_host_asks_the_redis_of_the_site(stack: Stack, tmp_path: Path) -> None:
    """As on the real xserver: no stack runs there, and nobody is told to start one."""
    env = dotenv_values(stack.home / ".env")
    host = Stack(tmp_path, 0)
    site = {
        "SITE_ID": "xserver",
        "FAILOVER_ENABLED": "true",
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(BASE_PORTS["redis"] + stack.offset),
        "REDIS_USER": "xserver",
        "REDIS_PASSWORD": parse_logins(env["REDIS_PASSWORDS"] or "")["xserver"],
        "PUSHGATEWAY_URL": "https://localhost:1/metrics/job/xserver-bot",
        "RECTBOT_PORT_OFFSET": str(free_offset()),
    }
    seen = host.run("status", check=False, timeout=90, **site)
    assert seen.returncode == 0, seen.stdout + seen.stderr
    assert "leader  xserver" in seen.stdout
    assert "rectbot up" not in seen.stdout + seen.stderr
    lost = host.run("status", check=False, timeout=90, **site | {"REDIS_PORT": "1"})
    assert lost.returncode == 1
    assert "leader  unknown: Redis at 127.0.0.1:1" in lost.stdout
    assert "nobody" not in lost.stdout
