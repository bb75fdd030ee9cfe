"""Starting and stopping as a person does it: in the foreground, twice, side by side, with something in the way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.stack import Stack, until
from rectbot.settings import BASE_PORTS
from servers import free_offset

pytestmark = pytest.mark.timeout(480)


@pytest.fixture
def second(stack: Stack) -> Iterator[Stack]:
    """A second stack from the same checkout, beside the first."""
    second = Stack(stack.home, free_offset())
    try:
        yield second
    finally:
        second.destroy()


def test_foreground_shows_the_stack_and_ctrl_c_stops_it(stack: Stack, second: Stack) -> None:
    process = second.start("up")
    assert process.stdout is not None
    try:
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if "leader xserver" in line and "down: none" in line:
                break
        output = "".join(lines)
        assert process.poll() is None, output
        parts = ("redis", "pushgateway", "prometheus", "alertmanager", "nginx", "hub", "loki", "discord", "bot-oci")
        for name in parts:
            assert f"up: {name}" in output, output
        assert stack.leader() == "xserver", "the first stack does not mind"
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        assert process.wait(timeout=10) == 0
        assert time.monotonic() - began < 10
        assert second.leftovers() == []
        assert second.open_ports() == []
        assert stack.leader() == "xserver"
    finally:
        process.kill()
        process.stdout.close()


def test_up_twice_is_refused_and_changes_nothing(stack: Stack) -> None:
    again = stack.run("up", "--detach", check=False)
    assert again.returncode == 1
    assert "running already" in again.stderr
    assert stack.leader() == "xserver"


def test_down_without_a_stack_says_so(second: Stack) -> None:
    assert "nothing was running" in second.run("down").stdout


def test_a_failed_start_leaves_nothing_behind(second: Stack) -> None:
    """A stack that cannot start: the socket of its port is taken after the check, by a server that is no Redis."""
    with socket.create_server(("127.0.0.1", BASE_PORTS["redis"] + second.offset)):
        refused = second.run("up", "--detach", check=False)
    assert refused.returncode == 2
    assert f"port {BASE_PORTS['redis'] + second.offset} (redis) is in use by" in refused.stderr
    assert f"(pid {os.getpid()})" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert second.leftovers() == []


def test_killed_supervisor_leaves_leftovers_that_down_removes(second: Stack) -> None:
    second.run("up", "--detach")
    pid = int((second.var / "run" / "supervisord.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    until(lambda: pid not in second.leftovers(), 5, "the supervisor is dead")
    assert second.open_ports(), "its children live on"
    second.run("down")
    assert second.leftovers() == []
    assert second.open_ports() == []


def test_no_disk_space_is_one_clear_line(stack: Stack, tmp_path: Path) -> None:
    """In a mount namespace of its own, the home's file system is a 2 MiB tmpfs."""
    home = tmp_path / "small"
    home.mkdir()
    script = (
        f"mount -t tmpfs -o size=2m tmpfs {home} && cp -r {stack.home}/docker {stack.home}/.env {home} && "
        f"exec {' '.join(Stack.command('up', '--detach'))}"
    )
    small = Stack(home, free_offset())
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        env=small.environment,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "no disk space" in done.stderr
    assert "Traceback" not in done.stderr
    assert small.leftovers() == []
