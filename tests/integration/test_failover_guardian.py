"""The guardian: real processes that are paused, killed and cut off. The judge is the far end of their sockets."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from rectbot.failover import FailoverConfig, open_store
from rectbot.failover.clock import boottime_ms
from rectbot.failover.process.handle import Guardian
from servers import PASSWORD, RedisServer, until

TTL_MS = 1_000

# A site whose workload is a connection to the judge; it says who it is and then keeps still.
SITE = """
import asyncio, logging, sys
from rectbot.failover import Ended, FailoverConfig, open_store, run, stop_on_signals

class Session:
    healthy = True
    async def start(self, lease):
        _, self.writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[3]))
        self.writer.write(f"{lease.site} {lease.epoch}\\n".encode())
    async def wait(self):
        await asyncio.Event().wait()
        return Ended("never")
    async def stop(self, timeout):
        self.writer.transport.abort()

async def main():
    logging.basicConfig(level=logging.INFO)
    config = FailoverConfig(site=sys.argv[1], priority=("a", "b"), lock_ttl_ms=%d, failback_delay_sec=0.3)
    store = open_store(config, port=int(sys.argv[2]), password=%r)
    await run(config, store, Session(), stop=stop_on_signals(), guardian=True)

asyncio.run(main())
"""


class Judge:
    """Accepts sessions and writes down when each began and ended."""

    def __init__(self) -> None:
        self.live: list[str] = []
        self.log: list[tuple[int, str, str]] = []  # when, opened or closed, site
        self.changed = asyncio.Event()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        site = (await reader.readline()).decode().split()[0]
        self.log.append((boottime_ms(), "opened", site))
        self.live.append(site)
        self.changed.set()
        try:
            while await reader.read(100):
                pass
        except ConnectionError:
            pass
        self.live.remove(site)
        self.log.append((boottime_ms(), "closed", site))
        self.changed.set()
        writer.close()

    async def until(self, live: list[str]) -> None:
        async with asyncio.timeout(20):
            while self.live != live:
                assert len(self.live) < 2, self.log
                self.changed.clear()
                await self.changed.wait()


class Stage:
    """Starts sites in processes of their own."""

    def __init__(self, redis: RedisServer, judge: Judge, port: int) -> None:
        self.judge = judge
        self._arguments = [str(redis.port), str(port)]
        self.processes: list[subprocess.Popen[bytes]] = []

    async def start(self, site: str, ttl_ms: int = TTL_MS) -> psutil.Process:
        code = textwrap.dedent(SITE % (ttl_ms, PASSWORD))
        self.processes.append(subprocess.Popen([sys.executable, "-c", code, site, *self._arguments]))
        return psutil.Process(self.processes[-1].pid)

    async def guardian_of(self, process: psutil.Process) -> psutil.Process:
        await until(lambda: "watchdog.py" in " ".join(process.children()[0].cmdline() if process.children() else []))
        return process.children()[0]


@pytest.fixture
async def stage(redis: RedisServer) -> AsyncIterator[Stage]:
    observer = open_store(FailoverConfig(site="", lock_ttl_ms=TTL_MS), port=redis.port, password=PASSWORD)
    await observer.initialise()
    await observer.close()
    judge = Judge()
    server = await asyncio.start_server(judge.accept, "127.0.0.1", 0)
    stage = Stage(redis, judge, server.sockets[0].getsockname()[1])
    yield stage
    for process in stage.processes:
        process.kill()
        process.wait()
    await judge.until([])
    server.close()


async def test_a_leader_that_is_paused_past_its_lease_is_gone_before_another_leads(stage: Stage) -> None:
    a = await stage.start("a")
    await stage.judge.until(["a"])
    await stage.start("b")
    await asyncio.sleep(0.3)
    paused = boottime_ms()
    a.suspend()
    await stage.judge.until([])
    await stage.judge.until(["b"])
    closed = next(when for when, what, site in stage.judge.log if (what, site) == ("closed", "a"))
    assert closed - paused < TTL_MS
    assert stage.processes[0].wait(5) == -signal.SIGKILL


async def test_a_pause_shorter_than_the_lease_is_forgiven(stage: Stage) -> None:
    ttl_ms = 6_000  # so that a busy machine loses it no more than an idle one
    a = await stage.start("a", ttl_ms)
    await stage.judge.until(["a"])
    a.suspend()
    await asyncio.sleep(ttl_ms / 1000 / 4)
    a.resume()
    await asyncio.sleep(ttl_ms / 1000)
    assert stage.judge.live == ["a"]
    assert len(stage.judge.log) == 1


async def test_a_killed_leader_leaves_no_guardian_and_the_standby_follows(stage: Stage) -> None:
    a = await stage.start("a")
    guardian = await stage.guardian_of(a)
    await stage.judge.until(["a"])
    await stage.start("b")
    await asyncio.sleep(0.3)
    a.kill()
    stage.processes[0].wait()
    guardian.wait(5)
    await stage.judge.until(["b"])


async def test_a_killed_guardian_is_replaced_at_once_and_knows_the_deadline(stage: Stage) -> None:
    ttl_ms = 6_000
    a = await stage.start("a", ttl_ms)
    first = await stage.guardian_of(a)
    await stage.judge.until(["a"])
    [(led_at, *_)] = stage.judge.log
    first.kill()
    await until(lambda: any(child != first and "watchdog.py" in str(child.cmdline()) for child in a.children()))
    assert boottime_ms() - led_at < ttl_ms / 3, "before the first renewal, which would have told it"
    a.suspend()
    await stage.judge.until([])
    assert stage.judge.log[-1][0] - led_at < ttl_ms
    assert stage.processes[0].wait(5) == -signal.SIGKILL


async def test_a_clean_stop_releases_and_ends_with_status_0(stage: Stage) -> None:
    a = await stage.start("a")
    guardian = await stage.guardian_of(a)
    await stage.judge.until(["a"])
    os.kill(a.pid, signal.SIGTERM)
    assert await asyncio.to_thread(stage.processes[0].wait, 10) == 0
    guardian.wait(5)
    began = boottime_ms()
    await stage.start("b")
    await stage.judge.until(["b"])
    assert boottime_ms() - began < TTL_MS + 2_000


def _until_it_watches(guardian: Guardian) -> psutil.Process:
    """It sleeps, and has its timer; before that it may be on its way for long on a busy machine."""
    process = psutil.Process(guardian.pid)
    deadline = time.monotonic() + 60
    while not (_has_timer(guardian.pid) and process.status() == psutil.STATUS_SLEEPING):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def _has_timer(pid: int) -> bool:
    return any(each.is_symlink() and "timerfd" in str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir())


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_a_process_is_killed_at_the_deadline_even_if_it_is_paused(sleeper: subprocess.Popen[bytes]) -> None:
    guardian = Guardian(sleeper.pid)
    _until_it_watches(guardian)
    sleeper.send_signal(signal.SIGSTOP)
    deadline = boottime_ms() + 300
    guardian.set(deadline)
    assert sleeper.wait(60) == -signal.SIGKILL
    assert boottime_ms() >= deadline
    guardian.close()


def test_a_guardian_watches_by_whatever_number_its_socket_has(sleeper: subprocess.Popen[bytes]) -> None:
    """It keeps the number of its parent, and a parent may have thousands of files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        guardian = Guardian(sleeper.pid)
        _until_it_watches(guardian)
    finally:
        for each in held:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    guardian.set(boottime_ms() + 100)
    assert sleeper.wait(60) == -signal.SIGKILL
    guardian.close()


def test_a_deadline_that_is_moved_or_taken_back_does_not_kill(sleeper: subprocess.Popen[bytes]) -> None:
    guardian = Guardian(sleeper.pid)
    for _ in range(20):
        guardian.set(boottime_ms() + 200)
        time.sleep(0.02)
    guardian.set(None)
    with pytest.raises(subprocess.TimeoutExpired):
        sleeper.wait(0.5)
    guardian.close()
    assert sleeper.poll() is None


def test_a_process_is_killed_when_the_guardians_parent_is_gone(
    sleeper: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    code = (
        "import os\nfrom rectbot.failover.process.handle import Guardian\n"
        "from rectbot.failover.clock import boottime_ms\n"
        f"Guardian({sleeper.pid}).set(boottime_ms() + 600_000)\nos.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert sleeper.wait(60) == -signal.SIGKILL


def test_a_signal_to_all_processes_of_a_service_does_not_end_the_guardian(sleeper: subprocess.Popen[bytes]) -> None:
    guardian = Guardian(sleeper.pid)
    guardian.set(boottime_ms() + 60_000)
    process = _until_it_watches(guardian)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        process.send_signal(number)
    guardian.set(boottime_ms() + 300)
    assert process.pid == guardian.pid
    assert sleeper.wait(60) == -signal.SIGKILL
    assert process.is_running()
    guardian.close()


def test_the_guardian_is_small(sleeper: subprocess.Popen[bytes]) -> None:
    guardian = Guardian(sleeper.pid)
    guardian.set(boottime_ms() + 60_000)
    process = _until_it_watches(guardian)
    assert process.memory_info().rss < 13 * 2**20
    guardian.set(None)
    guardian.close()
