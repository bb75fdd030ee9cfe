"""`rectbot push --every`: goes on whatever happens, and tells Discord when nobody else can."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from servers import free_port
from servers_monitoring import PASSWORD as PUSH_PASSWORD
from servers_monitoring import (
    Discord,
    Proxy,
    local_discord,
    push_proxy,
    pushed_groups,
    pushgateway,
    until,
)

CPU = "rectbot_host_cpu_usage_ratio"


@contextmanager
def agent(folder: Path, proxy: Proxy, **more: str) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], list[str]]]]:
    """A running agent that pushes every second, and what it has printed."""
    environment = {
        **os.environ,
        "RECTBOT_HOME": str(folder),
        "PUSHGATEWAY_URL": proxy.url(),
        "PUSHGATEWAY_PASSWORD": PUSH_PASSWORD,
        "PUSHGATEWAY_CACERT": str(proxy.certificate),
        **more,
    }
    log = folder / "agent.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "rectbot", "push", "--every", "1"]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        yield process, lambda: log.read_text().splitlines()
    finally:
        process.kill()
        process.wait()


def test_it_survives_an_outage_and_tells_about_it(tmp_path: Path) -> None:
    port = free_port()
    with ExitStack() as stack:
        discord = stack.enter_context(local_discord(tmp_path))
        proxy = stack.enter_context(push_proxy(tmp_path / "nginx", port))
        with pushgateway(tmp_path, port):
            process, lines = stack.enter_context(agent(tmp_path, proxy, DISCORD_ALERT_WEBHOOK_URL=discord.webhook_url))
            until(lambda: "xserver-bot" in pushed_groups(port), "the first push arrives")
            until(lambda: lines() == [f"push: arrives at {proxy.url()}"], "it says so, once")
        # The Pushgateway is away now.
        until(discord.taken, "Discord is told")
        assert [line.split(":")[0:2] for line in lines()] == [["push", " arrives at https"], ["push", " failed"]]
        assert "502" in lines()[1]
        told = discord.taken()[0]["content"]
        assert "(xserver-bot): 3 pushes in a row have failed, since 2" in told
        assert "502" in told
        with pushgateway(tmp_path, port):
            until(lambda: "xserver-bot" in pushed_groups(port), "pushes arrive again")
            until(lambda: len(discord.taken()) == 2, "Discord is told that it is over")
            assert "pushes arrive again, after " in discord.taken()[1]["content"]
            until(lambda: len(lines()) == 3, "one line for each change")
            assert lines()[2] == lines()[0]
            assert process.poll() is None


def test_a_short_outage_is_not_told(tmp_path: Path) -> None:
    """Two failures, each from a process of its own as with cron; then a success; then one more."""
    port = free_port()
    with ExitStack() as stack:
        discord = stack.enter_context(local_discord(tmp_path))
        proxy = stack.enter_context(push_proxy(tmp_path / "nginx", port))

        def push() -> int:
            return push_once(tmp_path, proxy, discord)

        assert [push(), push()] == [11, 11]
        with pushgateway(tmp_path, port):
            assert push() == 0
        assert push() == 11
        assert discord.received() == []
        assert [push(), push(), push()] == [11, 11, 11]
        assert len(discord.taken()) == 1


def push_once(home: Path, proxy: Proxy, discord: Discord) -> int:
    """`rectbot push` in a process of its own, without the wait of its measurement; its exit code."""
    environment = {
        **os.environ,
        "RECTBOT_HOME": str(home),
        "PUSHGATEWAY_URL": proxy.url(),
        "PUSHGATEWAY_PASSWORD": PUSH_PASSWORD,
        "PUSHGATEWAY_CACERT": str(proxy.certificate),
        "DISCORD_ALERT_WEBHOOK_URL": discord.webhook_url,
    }
    shorter = "from rectbot.push import agent; agent.SHORTEST_INTERVAL_SECONDS = 0.1"
    program = f"{shorter}; from rectbot.cli import main; main()"
    return subprocess.run([sys.executable, "-c", program, "push"], env=environment, check=False).returncode


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_once_when_asked_to(number: signal.Signals, tmp_path: Path) -> None:
    with (
        pushgateway(tmp_path) as port,
        push_proxy(tmp_path / "nginx", port) as proxy,
        agent(tmp_path, proxy) as (process, lines),
    ):
        until(lines, "the first push arrives")
        process.send_signal(number)
        assert process.wait(5) == 0
        assert len(lines()) == 1


def test_it_ends_at_once_while_a_push_hangs(tmp_path: Path) -> None:
    with pushgateway(tmp_path) as port, push_proxy(tmp_path / "nginx", port) as proxy:
        worker = int((tmp_path / "nginx" / "nginx.pid").read_text())
        children = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
        with agent(tmp_path, proxy) as (process, lines):
            until(lines, "the first push arrives")
            for pid in children:
                os.kill(int(pid), signal.SIGSTOP)
            try:
                until(lambda: connected_to(process.pid, proxy.port), "a push hangs")
                process.terminate()
                assert process.wait(5) == 0
            finally:
                for pid in children:
                    os.kill(int(pid), signal.SIGCONT)


def connected_to(pid: int, port: int) -> bool:
    return any(each.raddr and each.raddr.port == port for each in psutil.Process(pid).net_connections("tcp"))


def test_a_wrong_setting_ends_it_at_the_start(tmp_path: Path) -> None:
    nowhere = Proxy(free_port(), Path("/nowhere/ca.crt"), tmp_path / "none.log")
    with agent(tmp_path, nowhere) as (process, lines):
        assert process.wait(20) == 2
        assert lines() == [
            "rectbot: PUSHGATEWAY_CACERT=/nowhere/ca.crt: cannot be read (No such file or directory); "
            "correct the path or its permissions"
        ]
