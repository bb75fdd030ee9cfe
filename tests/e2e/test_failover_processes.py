"""Seeded faults on real processes: two sites, one Redis, the links between them; and never two sessions.

Each seed is a short life of its own: processes are killed and paused past their lease, links drop, delay, freeze,
half-close and break, Redis dies, forgets and hangs. Afterwards one session must be there again, by itself, and a stop
must leave nothing behind. One seed again, with its story: RECTBOT_FIRST_SEED=17 RECTBOT_SEEDS=1 make test
ARGS=tests/e2e/test_failover_processes.py
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path

import psutil
import pytest

from failover_sites import Site, Stage, open_stage
from rectbot.failover.child import ChildOptions
from servers import until

SEEDS = int(os.environ.get("RECTBOT_SEEDS", "200"))
FIRST_SEED = int(os.environ.get("RECTBOT_FIRST_SEED", "0"))
AT_ONCE = 16
RECOVERY_S = 30.0

Fault = Callable[[Stage, Site, float], Coroutine[None, None, None]]


async def kill_wrapper(_: Stage, site: Site, seconds: float) -> None:
    await _kill(site, seconds, site.wrapper)


async def kill_program(_: Stage, site: Site, __: float) -> None:
    site.send(signal.SIGKILL, site.bot)


async def kill_wrapper_and_program(_: Stage, site: Site, seconds: float) -> None:
    await _kill(site, seconds, site.wrapper, site.bot)


async def kill_keeper(_: Stage, site: Site, __: float) -> None:
    site.send(signal.SIGKILL, site.keeper)


async def kill_keeper_and_wrapper(_: Stage, site: Site, seconds: float) -> None:
    if "d" not in site.manners:  # the kernel ends the program, but not what has left it: docs/failover.md
        await _kill(site, seconds, site.keeper, site.wrapper)


async def stop_cleanly(_: Stage, site: Site, seconds: float) -> None:
    if site.running:
        site.send(signal.SIGCONT, site.wrapper)
        await site.end()
        await asyncio.sleep(seconds)
    _start(site)


async def pause_wrapper(_: Stage, site: Site, seconds: float) -> None:
    await _pause(site, seconds, site.wrapper)


async def pause_program(_: Stage, site: Site, seconds: float) -> None:
    await _pause(site, seconds, site.bot)


async def pause_wrapper_and_program(_: Stage, site: Site, seconds: float) -> None:
    await _pause(site, seconds, site.wrapper, site.bot)


async def pause_keeper(_: Stage, site: Site, seconds: float) -> None:
    await _pause(site, seconds, site.keeper)


async def freeze_link(_: Stage, site: Site, seconds: float) -> None:
    site.link.freeze()
    await _heal(site, seconds)


async def drop_on_link(_: Stage, site: Site, seconds: float) -> None:
    site.link.drop()
    await _heal(site, seconds)


async def delay_on_link(_: Stage, site: Site, seconds: float) -> None:
    site.link.delay(seconds / 5)
    await _heal(site, 2 * seconds)


async def half_close_link(_: Stage, site: Site, __: float) -> None:
    site.link.half_close()


async def reset_link(_: Stage, site: Site, __: float) -> None:
    site.link.reset()


async def pause_redis(stage: Stage, _: Site, seconds: float) -> None:
    async with stage.redis_turn:
        stage.redis.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        stage.redis.signal(signal.SIGCONT)


async def restart_redis(stage: Stage, _: Site, seconds: float) -> None:
    async with stage.redis_turn:
        stage.redis.kill()
        await asyncio.sleep(seconds / 2)
        await asyncio.to_thread(stage.redis.start)


async def restart_redis_without_data(stage: Stage, _: Site, __: float) -> None:
    async with stage.redis_turn:
        stage.lost_data = True
        stage.redis.kill()
        shutil.rmtree(stage.redis.folder / "appendonlydir")
        await asyncio.to_thread(stage.redis.start)


async def flush_redis(stage: Stage, _: Site, __: float) -> None:
    async with stage.redis_turn:
        stage.lost_data = True
        await asyncio.to_thread(stage.redis.command, "FLUSHALL")


FAULTS: list[Fault] = [
    kill_wrapper,
    kill_program,
    kill_wrapper_and_program,
    kill_keeper,
    kill_keeper_and_wrapper,
    stop_cleanly,
    pause_wrapper,
    pause_program,
    pause_wrapper_and_program,
    pause_keeper,
    freeze_link,
    drop_on_link,
    delay_on_link,
    half_close_link,
    reset_link,
    pause_redis,
    restart_redis,
    restart_redis_without_data,
    flush_redis,
]


async def _kill(site: Site, seconds: float, *pids: int | None) -> None:
    site.send(signal.SIGKILL, *pids)
    await asyncio.sleep(seconds)
    _start(site)


def _start(site: Site) -> None:
    if not site.running:
        site.start()


async def _pause(site: Site, seconds: float, *pids: int | None) -> None:
    site.send(signal.SIGSTOP, *pids)
    await asyncio.sleep(seconds)
    site.send(signal.SIGCONT, *pids)


async def _heal(site: Site, seconds: float) -> None:
    await asyncio.sleep(seconds)
    site.link.heal()


def _manners(dice: random.Random) -> str:
    return "".join(letter for letter in "sid" if dice.random() < 0.3) or "-"


async def live_through(seed: int, folder: Path) -> list[str]:
    """One seed; returns what was played."""
    dice = random.Random(seed)
    played: list[str] = []
    async with open_stage(folder) as stage:
        for site in stage.sites:
            site.manners = _manners(dice)
            site.options = ChildOptions(backoff=0.1)
            site.start()
        await until(lambda: len(stage.live()) == 1, RECOVERY_S)
        async with asyncio.TaskGroup() as faults:
            for _ in range(dice.randint(3, 6)):
                fault, seconds = dice.choice(FAULTS), dice.choice((0.1, 0.5, 1.2, 2.0))
                leading = next((site for site in stage.sites if [site.name] == stage.live()), stage.a)
                site = leading if dice.random() < 0.7 else stage.b if leading is stage.a else stage.a
                played.append(f"{fault.__name__} at {site.name} for {seconds} s")
                faults.create_task(fault(stage, site, seconds))
                await asyncio.sleep(dice.uniform(0, 1.2))
        try:
            await _recover(stage)
            await _leave(stage)
            stage.judge()
        except (TimeoutError, AssertionError) as error:
            left = [psutil.Process(pid).cmdline() for pid in stage.leftovers()]
            trouble = f"{error!r} after: {'; '.join(played)}\nlogged in: {stage.live()}, processes: {left}"
            raise AssertionError(f"{trouble}\n{stage.story()}") from None
    return played


async def _recover(stage: Stage) -> None:
    """All faults are over: the bot must come back by itself."""
    for site in stage.sites:
        site.link.heal()
        _start(site)
    await until(lambda: len(stage.live()) == 1, RECOVERY_S)


async def _leave(stage: Stage) -> None:
    for site in stage.sites:
        await site.end()
    await until(lambda: stage.leftovers() == [])
    await until(lambda: stage.live() == [])
    for site in stage.sites:
        assert "Traceback" not in site.log


@pytest.mark.timeout(max(300, 2 * SEEDS))
async def test_there_is_never_a_second_session_whatever_fails(tmp_path: Path) -> None:
    turn = asyncio.Semaphore(AT_ONCE)
    failed: list[str] = []

    async def run(seed: int) -> None:
        async with turn:
            try:
                await live_through(seed, tmp_path / str(seed))
            except Exception as error:
                trouble = "".join(traceback.format_exception_only(error))
                failed.append(f"=== RECTBOT_FIRST_SEED={seed} RECTBOT_SEEDS=1\n{trouble}")

    await asyncio.gather(*(run(seed) for seed in range(FIRST_SEED, FIRST_SEED + SEEDS)))
    assert not failed, f"{len(failed)} of {SEEDS} seeds failed\n" + "\n".join(failed[:5])
