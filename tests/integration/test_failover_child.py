"""Programs under a lease: started, watched, ended with all that they have started, whoever is killed or paused."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from failover_sites import TTL_MS, Site, Stage, open_stage
from rectbot.failover.clock import boottime_ms
from rectbot.failover.config import ChildOptions
from servers import PASSWORD, RedisServer, until

LONG = {"lock_ttl_ms": 30_000, "hb_ttl_sec": 30}  # so that no busy machine can lose the lease
SLACK_MS = 300  # for us to notice, on a busy machine; that nobody else led by then is the stage's judges' business


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_stage(tmp_path) as stage:
        for site in stage.sites:
            site.changes = dict(LONG)
        yield stage


@pytest.fixture
async def long_leader(stage: Stage) -> Site:
    """A site that leads, and has left a daemon behind that only the kernel's bookkeeping still connects to it."""
    stage.a.manners = "d"
    stage.a.start()
    await stage.until_live("a")
    return stage.a


@pytest.fixture
async def leader(stage: Stage) -> Site:
    """The same, with a short lease, for those who wait for its end."""
    stage.a.manners = "d"
    stage.a.changes = {}
    stage.a.start()
    await stage.until_live("a")
    return stage.a


def nothing_left(stage: Stage) -> bool:
    return stage.leftovers() == []


def only_the_site_left(stage: Stage) -> bool:
    """Its two processes, and nothing of what it ran."""
    return sorted(stage.leftovers()) == sorted(filter(None, [stage.a.wrapper, stage.a.keeper]))


async def test_a_program_ends_with_all_that_it_has_started_when_the_site_stops(stage: Stage, long_leader: Site) -> None:
    assert len(stage.leftovers()) == 4
    assert await long_leader.end() == 0
    assert [record["what"] for record in stage.records()] == ["opened", "stops"]
    await until(lambda: nothing_left(stage))
    assert stage.redis.command("EXISTS rectbot:leader") == b":0\r\n", "the lead was released"


async def test_a_stop_lets_the_whole_process_group_finish(stage: Stage) -> None:
    said = stage.folder / "said"
    inner = f"trap 'sleep 0.2; echo bye >> {said}; exit' TERM; echo up >> {said}; while :; do sleep 0.02; done"
    stage.a.command = ["sh", "-c", f'sh -c "{inner}"; true']  # the outer shell dies of SIGTERM at once
    stage.a.start()
    await until(lambda: said.exists() and said.read_text() == "up\n")
    await stage.a.end()
    assert said.read_text() == "up\nbye\n"
    await until(lambda: nothing_left(stage))


async def test_a_program_that_ignores_sigterm_is_killed_in_time(stage: Stage) -> None:
    stage.a.manners = "id"
    stage.a.changes["stop_timeout_ms"] = 300
    stage.a.start()
    await stage.until_live("a")
    began = boottime_ms()
    assert await stage.a.end() == 128 + signal.SIGKILL
    assert boottime_ms() - began < 5_000, "long before the lease would end"
    assert stage.redis.command("EXISTS rectbot:leader") == b":0\r\n"
    await until(lambda: nothing_left(stage))


async def test_a_wrapper_that_is_killed_takes_the_program_with_it(stage: Stage, long_leader: Site) -> None:
    await long_leader.end(signal.SIGKILL)
    await until(lambda: nothing_left(stage))
    await stage.until_live()


async def test_a_keeper_that_is_killed_takes_the_program_with_it_and_is_replaced(stage: Stage, leader: Site) -> None:
    first = leader.keeper
    leader.send(signal.SIGKILL, first)
    await until(lambda: len(stage.records()) == 2)
    await stage.until_live("a")
    assert leader.keeper != first
    assert len({record["epoch"] for record in stage.records()}) == 1, "the lead was kept"
    leader.send(signal.SIGSTOP, leader.wrapper)  # the new one holds the deadline, too
    await stage.until_live()
    leader.send(signal.SIGCONT, leader.wrapper)
    await stage.until_live("a")


async def test_a_program_dies_with_wrapper_and_keeper(stage: Stage) -> None:
    stage.a.start()
    await stage.until_live("a")
    stage.a.send(signal.SIGKILL, stage.a.keeper, stage.a.wrapper)
    await until(lambda: nothing_left(stage))
    await stage.until_live()


@pytest.mark.parametrize("with_the_program", [False, True])
async def test_a_paused_wrapper_loses_the_program_before_the_lease_ends(
    stage: Stage, leader: Site, with_the_program: bool
) -> None:
    began = boottime_ms()
    leader.send(signal.SIGSTOP, leader.wrapper, leader.bot if with_the_program else None)
    await stage.until_live()
    assert boottime_ms() - began < TTL_MS + SLACK_MS
    await until(lambda: only_the_site_left(stage))
    leader.send(signal.SIGCONT, leader.wrapper)
    await stage.until_live("a")
    epochs = [record["epoch"] for record in stage.records()]
    assert epochs == ["1", "2"]


async def test_a_paused_keeper_does_not_keep_a_program_past_its_lease(stage: Stage, leader: Site) -> None:
    leader.send(signal.SIGSTOP, leader.keeper)
    stage.redis.signal(signal.SIGSTOP)
    began = boottime_ms()
    try:
        await stage.until_live()
        assert boottime_ms() - began < TTL_MS + SLACK_MS
    finally:
        stage.redis.signal(signal.SIGCONT)
    await stage.until_live("a")


async def test_a_program_that_ends_is_started_again_and_at_last_the_lead_is_given_up(stage: Stage) -> None:
    stage.a.command = ["sh", "-c", f'echo "$RECTBOT_EPOCH" >> {stage.folder}/runs; exit 3']
    stage.a.options = ChildOptions(restarts=2, backoff=0.05)
    stage.a.start()
    runs = stage.folder / "runs"
    await until(lambda: runs.exists() and len(runs.read_text().split()) >= 4)
    assert runs.read_text().split()[:4] == ["1", "1", "1", "2"]
    assert "the program ended with exit code 3; it is started again in 0.05 s" in stage.a.log
    assert "the program ended with exit code 3; it is started again in 0.1 s" in stage.a.log
    assert "the program ended with exit code 3, 3 times in a row" in stage.a.log


async def test_a_program_can_say_that_trying_again_cannot_help(stage: Stage) -> None:
    stage.a.command = ["sh", "-c", f"echo run >> {stage.folder}/runs; exit 78"]
    stage.a.start()
    await until(lambda: not stage.a.running)
    assert stage.a.process is not None
    assert stage.a.process.returncode == 78
    assert (stage.folder / "runs").read_text() == "run\n"
    assert "rectbot: the program ended with exit code 78: it cannot run as it is configured" in stage.a.log
    assert stage.redis.command("EXISTS rectbot:leader") == b":0\r\n"


@pytest.mark.parametrize("makes_it", [True, False])
async def test_a_program_that_does_not_make_its_ready_file_loses_the_lead(stage: Stage, makes_it: bool) -> None:
    ready = stage.folder / "ready"
    ready.write_text("from an earlier run, which says nothing about this one")
    stage.a.command = ["sh", "-c", f"test -e {ready} && touch {ready}.old; {f'touch {ready};' * makes_it} sleep 60"]
    stage.a.options = ChildOptions(ready_file=str(ready), ready_timeout=0.5)
    stage.a.start()
    if makes_it:
        await until(lambda: "leads with epoch" in stage.a.log)
        await asyncio.sleep(1)
        assert "the workload ended" not in stage.a.log
    else:
        await until(lambda: "the program was not ready within 0.5 s" in stage.a.log)
        await until(lambda: "leads with epoch 2" in stage.a.log)
    assert not Path(f"{ready}.old").exists(), "it was removed before the program started"


@pytest.mark.parametrize("command", ["test ! -e sick", "test ! -e sick || sleep 60"])
async def test_an_unhealthy_program_loses_the_lead(stage: Stage, command: str) -> None:
    sick = stage.folder / "sick"
    stage.a.options = ChildOptions(health_cmd=command.replace("sick", str(sick)), health_interval=0.1)
    stage.a.changes["sit_out_ms"] = 5_000
    stage.a.start()
    await stage.until_live("a")
    stage.b.start()
    await asyncio.sleep(0.5)
    assert stage.live() == ["a"]
    sick.touch()
    await stage.until_live("b")
    assert "the health command failed 3 times in a row" in stage.a.log
    await until(lambda: stage.a.bot is None)


def rectbot(redis: RedisServer | None, *arguments: str, **extra: str) -> dict[str, Any]:
    """How to start `rectbot ARGUMENTS` as a person does."""
    environment = {"PATH": os.environ["PATH"], "RECTBOT_HOME": "/nonexistent"}
    if redis is not None:
        environment |= {"FAILOVER_ENABLED": "true", "SITE_ID": "oci", "REDIS_PORT": str(redis.port)}
        environment |= {"REDIS_PASSWORD": redis.password, "LOCK_TTL_MS": str(TTL_MS)}
    return {"args": [sys.executable, "-m", "rectbot", *arguments], "env": environment | extra}


async def spawn(redis: RedisServer | None, *command: str, **extra: str) -> asyncio.subprocess.Process:
    given = rectbot(redis, "failover", "run", "--", *command, **extra)
    return await asyncio.create_subprocess_exec(*given["args"], env=given["env"], stdout=asyncio.subprocess.PIPE)


async def test_without_failover_the_program_replaces_the_wrapper() -> None:
    process = await spawn(None, "sh", "-c", "echo $$; exit 7")
    out, _ = await process.communicate()
    assert int(out) == process.pid
    assert process.returncode == 7
    process = await spawn(None, "sleep", "60")
    await until(lambda: psutil.Process(process.pid).name() == "sleep")
    process.terminate()
    assert await process.wait() == -signal.SIGTERM


async def test_signals_and_exit_codes_pass_through(redis: RedisServer) -> None:
    code = "trap 'echo hup' HUP; trap 'echo usr1' USR1; trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done"
    process = await spawn(redis, "sh", "-c", code)
    assert process.stdout is not None
    for number, said in ((None, b"up\n"), (signal.SIGHUP, b"hup\n"), (signal.SIGUSR1, b"usr1\n")):
        if number is not None:
            process.send_signal(number)
        assert await asyncio.wait_for(process.stdout.readline(), 20) == said
    process.terminate()
    assert await process.wait() == 9


async def test_a_program_without_a_handler_makes_the_wrapper_end_by_the_signal_too(redis: RedisServer) -> None:
    process = await spawn(redis, "sh", "-c", "echo up; exec sleep 60")
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 20) == b"up\n"
    process.terminate()
    assert await process.wait() == -signal.SIGTERM


async def test_a_standby_ends_with_0(redis: RedisServer) -> None:
    process = await spawn(redis, "sleep", "60", FAILOVER_PRIORITY="xserver,oci", LOCK_TTL_MS="60000", HB_TTL_SEC="60")
    await until(lambda: redis.command("EXISTS rectbot:hb:oci") == b":1\r\n")
    process.terminate()
    assert await process.wait() == 0


async def test_the_agent_is_lean_and_tells_nobody_the_password(redis: RedisServer) -> None:
    process = await spawn(redis, "sh", "-c", "echo up; exec sleep 60")
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 20) == b"up\n"
    agent = psutil.Process(process.pid)
    family = [agent, *agent.children(recursive=True)]
    assert [name.split("/")[-1] for name in (family[0].cmdline()[3], family[1].cmdline()[3])] == [
        "agent.py",
        "watchdog.py",
    ]
    assert not any(PASSWORD in word for member in family for word in member.cmdline())
    assert not any(entry.startswith("/memfd:") for entry in map(os.readlink, Path(f"/proc/{agent.pid}/fd").iterdir()))
    assert sum(member.memory_info().rss for member in family[:2]) < 40 * 2**20
    process.terminate()
    await process.wait()


@pytest.mark.parametrize(
    ("program", "changes", "words"),
    [
        ("touch", {"SITE_ID": "mars"}, "SITE_ID=mars is not in FAILOVER_PRIORITY"),
        ("touch", {"LOCK_TTL_MS": "1000", "STOP_TIMEOUT_MS": "900"}, "STOP_TIMEOUT_MS"),
        ("touch", {"REDIS_URL": "http://x"}, "REDIS_URL is wrong"),
        ("no-such-program", {}, "no-such-program: no such program, or not executable"),
    ],
)
async def test_wrong_settings_are_told_before_anything_runs(
    redis: RedisServer, tmp_path: Path, program: str, changes: dict[str, str], words: str
) -> None:
    given = rectbot(redis, "failover", "run", "--", program, str(tmp_path / "ran"), **changes)
    process = await asyncio.create_subprocess_exec(*given["args"], env=given["env"], stderr=asyncio.subprocess.PIPE)
    _, err = await process.communicate()
    assert process.returncode == 2
    assert words in err.decode()
    assert "Traceback" not in err.decode()
    assert not (tmp_path / "ran").exists()


JOINING = """
import asyncio, os, signal, sys
from rectbot.failover import LeaseLost, join

async def main():
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    print("up", os.environ["RECTBOT_SITE"], flush=True)
    lease = await join()
    lease.login()
    lease.check()
    print("leads", lease.site, lease.epoch > 0, flush=True)
    first = lease.deadline
    while lease.deadline == first and not stopped.is_set():
        await asyncio.sleep(0.02)
    print("renewed", flush=True)
    deadline = lease.deadline
    import time
    while lease.deadline == deadline:
        time.sleep(0.02)        # a loop that is kept busy: a check hears of renewals all the same
        if lease.remaining_ms() == 0:
            lease.check()
    print("busy and renewed", flush=True)
    await stopped.wait()
    sys.exit(7)

asyncio.run(main())
"""


@pytest.mark.parametrize("warm", [True, False])
async def test_a_program_joins_the_lease(redis: RedisServer, warm: bool) -> None:
    words = ["failover", "run", *(["--warm"] if warm else []), "--", sys.executable, "-c", JOINING]
    given = rectbot(redis, *words)
    process = await asyncio.create_subprocess_exec(
        *given["args"], env=given["env"], stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None

    async def line() -> str:
        assert process.stdout is not None
        return (await asyncio.wait_for(process.stdout.readline(), 30)).decode().strip()

    assert await line() == "up oci"
    if warm:
        assert redis.command("EXISTS rectbot:leader") == b":0\r\n", "it was started before the lease"
    assert await line() == "leads oci True"
    assert await line() == "renewed"
    assert await line() == "busy and renewed"
    process.terminate()
    assert await process.wait() == 7


async def test_a_program_that_nobody_has_started_so_is_told() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", JOINING, env={"RECTBOT_SITE": "x"}, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert b"RectbotError: this program was not started by 'rectbot failover run'" in errors
