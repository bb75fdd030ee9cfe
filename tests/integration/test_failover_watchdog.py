"""The watchdog and what holds a program together: kills, early signals, a kernel that refuses processes."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from failover_sites import Site, Stage, open_stage
from rectbot.failover.clock import Alarm, boottime_ms
from rectbot.failover.config import ChildOptions
from rectbot.failover.process import containment
from rectbot.failover.process.handle import End, Watchdog
from servers import until

HOUR_MS = 3_600_000
EARLY = 50  # starts, and a signal within milliseconds of each


@asynccontextmanager
async def watchdog(*, contain: bool = True, deadline: int | None = None) -> AsyncIterator[Watchdog]:
    found = Watchdog(contain=contain)
    found.guard(boottime_ms() + HOUR_MS if deadline is None else deadline or None)
    try:
        yield found
    finally:
        await found.close()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_stage(tmp_path) as stage:
        for site in stage.sites:
            site.changes = {"lock_ttl_ms": 30_000, "hb_ttl_sec": 30}  # so that no busy machine can lose the lease
        yield stage


# --- containment


def contained() -> bool:
    return containment.describe() == containment.words(containment.NAMESPACE)


def set_user(command: list[str]) -> list[str]:
    """A command that changes its user, which clears the death signal (prctl(2))."""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    return [*nobody, *command] if os.geteuid() == 0 else command


WAYS: dict[str, Callable[[], list[str]]] = {
    "a program": lambda: ["sleep", "600"],
    "from a shell": lambda: ["sh", "-c", "sleep 600; true"],
    "in a pipe": lambda: ["sh", "-c", "sleep 600 | sleep 600; true"],
    "in a session of its own": lambda: ["setsid", "--wait", "sh", "-c", "sleep 600; true"],
    "a daemon": lambda: ["sh", "-c", "(setsid sh -c 'sleep 600; true' &) ; sleep 600; true"],
    "as another user": lambda: set_user(["sleep", "600"]),
    "as another user, from a shell": lambda: set_user(["sh", "-c", "(setsid sleep 600 &) ; sleep 600; true"]),
}


@pytest.mark.skipif(not contained(), reason="no PID namespaces here; the ties have tests of their own")
@pytest.mark.parametrize("way", WAYS)
async def test_nothing_outlives_agent_and_watchdog_killed_at_one_moment(stage: Stage, way: str) -> None:
    """What `pkill -9 -f rectbot` does."""
    site = stage.a
    site.command = WAYS[way]()
    site.start()
    await until(lambda: len(stage.leftovers()) >= 3 and any("sleep" in name for name in names(stage)))
    assert "the program is held by a PID namespace" in site.log
    site.send(signal.SIGKILL, site.keeper, site.wrapper)
    await until(lambda: stage.leftovers() == [], 2)


def names(stage: Stage) -> list[str]:
    found = []
    for pid in stage.leftovers():
        try:
            found.append(psutil.Process(pid).name())
        except psutil.NoSuchProcess:
            continue
    return found


async def test_without_a_namespace_the_program_itself_is_tied_to_its_watchdog(stage: Stage) -> None:
    site = stage.a
    site.options = ChildOptions(contain=False)
    site.command = ["sleep", "600"]
    site.start()
    await until(lambda: "sleep" in names(stage))
    assert "the program is held by death signals" in site.log
    site.send(signal.SIGKILL, site.keeper, site.wrapper)
    await until(lambda: stage.leftovers() == [], 2)


@pytest.mark.parametrize("contain", [True, False])
async def test_a_program_sees_its_own_processes_and_an_ordinary_world(tmp_path: Path, contain: bool) -> None:
    """What a bot with a /stats command does: psutil.Process() must be itself."""
    code = (
        "import os, psutil, sys; me = psutil.Process(); parent = psutil.Process(os.getppid());"
        f"ok = me.exe() == os.path.realpath(sys.executable) and os.getuid() == {os.getuid()}"
        " and 'watchdog' in ' '.join(parent.cmdline()) and os.getpid() > 1; sys.exit(0 if ok else 3)"
    )
    async with watchdog(contain=contain) as dog:
        end = await asyncio.wait_for(dog.spawn("main", [sys.executable, "-c", code]), 20)
    assert end == End(0)


@pytest.mark.skipif(not contained(), reason="no PID namespaces here")
async def test_a_program_cannot_end_or_stop_its_own_watchdog() -> None:
    async with watchdog() as dog:
        code = "kill -STOP 1; kill -9 1; kill -9 -1 2>/dev/null & wait; exit 4"
        assert await asyncio.wait_for(dog.spawn("main", ["sh", "-c", "kill -STOP 1; kill -9 1; exit 4"]), 5) == End(
            4 << 8
        )
        again = await asyncio.wait_for(dog.spawn("main", ["sh", "-c", code]), 5)
        assert again in (End(4 << 8), End(signal.SIGKILL)), "it may kill itself"
        assert await asyncio.wait_for(dog.spawn("main", ["true"]), 5) == End(0), "the watchdog is still there"


async def test_a_program_is_not_the_first_process_so_that_sigterm_ends_it() -> None:
    async with watchdog() as dog:
        main = dog.spawn("main", ["sleep", "600"])
        await asyncio.sleep(0.3)
        dog.signal("main", signal.SIGTERM)
        assert await asyncio.wait_for(main, 5) == End(signal.SIGTERM)


def test_root_without_the_right_to_make_namespaces_is_told_so() -> None:
    """As in a container: the rights of a user namespace would not reach the files that its root may read."""
    if os.geteuid() != 0:
        return
    trial = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-I", "-S", containment.__file__]
    assert subprocess.run(trial, check=False).returncode == 1


USERS_SCRIPT = """
import asyncio, os, signal, sys
from rectbot.failover.clock import boottime_ms
from rectbot.failover.process.handle import Watchdog
async def main():
    dog = Watchdog()
    dog.guard(boottime_ms() + 3_600_000)
    dog.spawn("main", ["sh", "-c", "(setsid sleep 600 &) ; exec sleep 600"])
    await asyncio.sleep(0.5)
    print(*dog._pids, dog._told, os.getuid(), flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.mark.skipif(not contained(), reason="this kernel allows no PID namespaces here")
async def test_a_user_without_rights_gets_a_namespace_too() -> None:
    with tempfile.TemporaryDirectory() as home:  # pytest's folders are for its own user only
        source = Path(containment.__file__).parents[3]
        for package in ("foundation", "rectbot"):
            shutil.copytree(source / package, Path(home) / package)
        subprocess.run(["chmod", "-R", "a+rX", home], check=True)
        command = [common_python(), "-c", USERS_SCRIPT]
        if os.geteuid() == 0:
            command = [*AS_NOBODY, *command]
        where = {"PYTHONPATH": home, "PATH": os.environ["PATH"], "TEST_STAGE": home}
        process = subprocess.Popen(command, env=where, stdout=subprocess.PIPE, cwd=home)
        assert process.stdout is not None
        pid, kind, user = process.stdout.readline().decode().split()
        assert (kind, user != "0") == ("namespace", True)
        inside = psutil.Process(int(pid)).children(recursive=True)
        assert len(inside) == 2
        os.kill(int(pid), signal.SIGKILL)
        process.kill()
        process.wait()
        await until(lambda: not any(each.is_running() for each in inside), 2)


AS_NOBODY = ["setpriv", "--reuid=64123", "--regid=64123", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]


def common_python() -> str:
    """One that every user may run; also from a process of that user, as setpriv's own exec may have more rights."""
    code = "import asyncio, subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)"
    for found in (sys.executable, "/usr/bin/python3"):
        tried = [*(AS_NOBODY if os.geteuid() == 0 else ()), found, "-c", code]
        if subprocess.run(tried, capture_output=True, check=False).returncode == 0:
            return found
    raise AssertionError("no Python here that another user may run")


# --- the deadline


def test_time_is_that_of_the_clock_that_counts_suspends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two clocks agree on a machine that was never suspended, so only their names tell them apart."""
    shown = {time.CLOCK_BOOTTIME: 7_000_000_000, time.CLOCK_MONOTONIC: 5_000_000_000}
    monkeypatch.setattr(time, "clock_gettime_ns", shown.__getitem__)
    assert boottime_ms() == 7_000
    alarm = Alarm()
    alarm.set(8_000)
    assert f"clockid: {time.CLOCK_BOOTTIME}\n" in Path(f"/proc/self/fdinfo/{alarm.fileno()}").read_text()
    alarm.close()


@pytest.mark.parametrize("deadline", [0, "past"])
async def test_nothing_is_started_when_nothing_may_run(tmp_path: Path, deadline: int | str) -> None:
    """A spawn that comes late, for whatever reason: its time is over."""
    ran = tmp_path / "ran"
    async with watchdog(deadline=0 if deadline == 0 else boottime_ms() - 1) as dog:
        end = await asyncio.wait_for(dog.spawn("main", ["touch", str(ran)]), 5)
    assert end.not_started == "its time is over"
    assert not ran.exists()


async def test_a_new_watchdog_is_born_with_the_deadline(tmp_path: Path) -> None:
    """Whoever started it says nothing more: it is stopped at that very moment."""
    code = (
        "import asyncio, os, signal, sys\n"
        "from rectbot.failover.process import handle\n"
        "from rectbot.failover.clock import boottime_ms\n"
        "print(boottime_ms() + 1500, flush=True)\n"
        "guardian = handle.Guardian(deadline=boottime_ms() + 1500)\n"
        "os.kill(os.getpid(), signal.SIGSTOP)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    deadline = int(process.stdout.readline())
    assert await asyncio.to_thread(process.wait, 10) == -signal.SIGKILL
    assert boottime_ms() >= deadline


# --- signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("contain", [True, False])
async def test_a_signal_right_after_the_start_is_not_lost(contain: bool, number: int) -> None:
    async with watchdog(contain=contain) as dog:
        for turn in range(EARLY):
            main = dog.spawn("main", ["sleep", "600"])
            await asyncio.sleep(turn / 10_000)
            dog.signal("main", number)
            began = boottime_ms()
            assert await asyncio.wait_for(main, 5) == End(number), turn
            assert boottime_ms() - began < 2_000, "on a machine that is busy; it is a fault that takes 4/5 of the stop"


async def test_sigterm_to_the_site_within_milliseconds_of_the_programs_start(stage: Stage) -> None:
    """The outer view of the same: the site's exit code is -15, and it comes at once."""
    site = stage.a
    site.command = ["sleep", "600"]
    for turn in range(5):
        site.start()
        mark = f"leads with epoch {turn + 1}"
        await until(lambda mark=mark: mark in site.log)  # type: ignore[misc]
        began = boottime_ms()
        assert await site.end() in (-signal.SIGTERM, 0), "0: it was told before it had a program"
        assert boottime_ms() - began < 1_000


async def test_a_stopped_program_is_woken_up_to_obey(stage: Stage) -> None:
    """SIGTERM alone would wait until somebody continues it, and a clean log-out become a SIGKILL."""
    site = stage.a
    site.command = ["sh", "-c", "trap 'exit 9' TERM; kill -STOP $$; while :; do sleep 0.05; done"]
    site.start()
    await until(lambda: any(is_stopped(pid) for pid in stage.leftovers()))
    assert await site.end() == 9


def is_stopped(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


# --- health


async def test_only_failures_in_a_row_make_a_leader_unhealthy(stage: Stage) -> None:
    """Two of three checks fail, for ever; but never three in a row."""
    count = stage.folder / "count"
    check = f"echo x >> {count}; test $(( $(wc -l < {count}) % 3 )) = 0"
    stage.a.options = ChildOptions(health_cmd=check, health_interval=0.5)
    stage.a.start()
    await until(lambda: count.exists() and len(count.read_text().split()) >= 10)
    assert "the health command failed" not in stage.a.log
    assert stage.live() == ["a"]


# --- a kernel that refuses processes


@pytest.fixture
def poor(stage: Stage) -> Site:
    """A site whose kernel refuses processes when it is told to: root has no such limit, so it is another user's."""
    site = stage.a
    site.prefix = []
    if os.geteuid() == 0:
        keep = "+dac_override,+dac_read_search"
        site.prefix = ["setpriv", "--reuid=64123", f"--inh-caps={keep}", f"--ambient-caps={keep}"]
    site.changes |= {"sit_out_ms": 300}
    return site


def limit(site: Site, pid: int | None, number: str) -> None:
    """How many processes the site's user may have, as far as this process of it is concerned."""
    subprocess.run([*site.prefix, "prlimit", "--pid", str(pid), f"--nproc={number}:"], check=True)


async def test_a_site_without_room_for_its_program_gives_up_the_lead_and_recovers(stage: Stage, poor: Site) -> None:
    stage.b.changes = {"lock_ttl_ms": 30_000, "hb_ttl_sec": 30}
    poor.start()
    await stage.until_live("a")
    limit(poor, poor.keeper, "1")
    poor.send(signal.SIGKILL, poor.bot)
    await until(lambda: "could not be started: Resource temporarily unavailable" in poor.log)
    await until(lambda: "sits out" in poor.log)
    stage.b.start()
    await stage.until_live("b")
    limit(poor, poor.keeper, "5000")
    await stage.until_live("a")


async def test_a_site_without_room_for_a_watchdog_gives_up_the_lead_and_recovers(stage: Stage, poor: Site) -> None:
    poor.start()
    await stage.until_live("a")
    limit(poor, poor.wrapper, "1")
    poor.send(signal.SIGKILL, poor.keeper)
    await until(lambda: "its watchdog cannot be started: Resource temporarily unavailable" in poor.log)
    await until(lambda: "sits out" in poor.log)
    limit(poor, poor.wrapper, "5000")
    await stage.until_live("a")


async def test_a_health_check_that_cannot_be_started_is_one_that_failed(stage: Stage, poor: Site) -> None:
    poor.options = ChildOptions(health_cmd="true", health_interval=0.1)
    poor.start()
    await stage.until_live("a")
    limit(poor, poor.keeper, "1")
    await until(lambda: "the health command could not be started: Resource temporarily unavailable" in poor.log)
    await until(lambda: "the health command failed 3 times in a row" in poor.log)
    limit(poor, poor.keeper, "5000")
    await stage.until_live("a")


# --- a reader that has fallen asleep


@pytest.mark.parametrize("kind", ["leader", "standby"])
async def test_a_full_pipe_blocks_neither_the_lead_nor_sigterm(stage: Stage, kind: str) -> None:
    """Standard error goes to a pipe that is full from the start, and that nobody reads."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    while True:
        try:
            os.write(write, b"x" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(write, True)
    for site in stage.sites:
        site.changes = {"lock_ttl_ms": 2_000, "hb_ttl_sec": 30}
    stage.a.output = write if kind == "leader" else None
    stage.b.output = write if kind == "standby" else None
    stage.a.start()
    await stage.until_live("a")
    stage.b.start()
    if kind == "standby":
        await until(lambda: stage.redis.command("EXISTS rectbot:hb:b") == b":1\r\n")
        await stage.a.end()
        await stage.until_live("b")
    tested = stage.a if kind == "leader" else stage.b
    await asyncio.sleep(3)
    assert stage.live() == [tested.name], "it renews"
    began = boottime_ms()
    await tested.end()
    assert boottime_ms() - began < 3_000
    os.close(read)
    os.close(write)


def test_the_tools_of_these_tests_are_here() -> None:
    assert shutil.which("setpriv")
    assert shutil.which("prlimit")
