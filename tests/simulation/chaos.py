"""Runs schedules without end, or replays one: `make chaos`, `make chaos ARGS='--seed 42'`.

Every worker takes the next seeds of its own residue class, so that a number of schedules is a range of seeds.
"""

from __future__ import annotations

import argparse
import gc
import os
import secrets
import sys
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass

from . import schedule
from .compiled import CannotCompileError, modules
from .schedule import build, play, run
from .world import World

CHUNK = 1_000


@dataclass(frozen=True, slots=True)
class Result:
    """Of some schedules."""

    schedules: int
    seconds: float  # of the processor
    logins: int
    disturbances: int
    failed: int | None = None  # the first seed that broke an invariant
    why: str = ""


def run_range(first: int, count: int) -> Result:
    """Runs the seeds from `first` on, until one fails."""
    gc.disable()  # each world is let go of below, and would be looked through again and again until then
    began, logins, disturbances = time.process_time(), 0, 0
    for seed in range(first, first + count):
        try:
            world = run(seed)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            return Result(seed - first + 1, time.process_time() - began, logins, disturbances, seed, why)
        logins += len(world.judge.starts)
        disturbances += world.judge.edges
        world.end()
    gc.enable()
    return Result(count, time.process_time() - began, logins, disturbances)


def timeline(seed: int) -> str:
    """The story of a seed, to its end or to what it broke."""
    world, horizon = build(seed, trace=True)
    end = "all invariants held"
    try:
        play(world, horizon)
    except Exception as error:
        end = f"{type(error).__name__}: {error}"
    return "\n".join((_cast(seed, world), *(f"{line.t:9.1f}  {line.who:8}  {line.text}" for line in world.lines), end))


def _cast(seed: int, world: World) -> str:
    base = world.base
    sites = ", ".join(f"{site} (clock x{site.rate})" for site in world.sites)
    how = f"polled every {world.poll:.0f} ms" if world.poll else "tells of changes"
    kind = "a process of its own" if world.child else "inside the elector"
    return (
        f"seed {seed}: sites {sites}, most preferred first; register {how}; workload {kind}\n"
        f"TTL {base.lock_ttl_ms} ms, renewal {base.renew_interval_ms} ms, stop {base.stop_timeout_ms} ms, "
        f"failback {base.failback_ms} ms; times are milliseconds of global time"
    )


def replay_command(seed: int) -> str:
    return f"make chaos ARGS='--seed {seed}'"


def _forever(first: int, workers: int, seconds: float) -> int:
    """Returns the process's exit status: 1 when an invariant broke."""
    began, total, spent, logins, disturbances = time.monotonic(), 0, 0.0, 0, 0
    last_said = began
    code = "compiled" if is_compiled() else "plain Python"
    print(f"schedules from seed {first} on, {workers} workers, {code}; Ctrl-C ends", flush=True)
    with ProcessPoolExecutor(workers) as pool:
        running = {pool.submit(run_range, first + place * CHUNK, CHUNK) for place in range(workers)}
        ahead = first + workers * CHUNK
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    result = future.result()
                    total, spent = total + result.schedules, spent + result.seconds
                    logins, disturbances = logins + result.logins, disturbances + result.disturbances
                    if result.failed is not None:
                        pool.shutdown(cancel_futures=True)
                        print(timeline(result.failed), replay_command(result.failed), sep="\n\nreplay: ", flush=True)
                        return 1
                    if time.monotonic() - began < seconds:
                        running.add(pool.submit(run_range, ahead, CHUNK))
                        ahead += CHUNK
                if time.monotonic() - last_said >= 10 or not running:
                    last_said = time.monotonic()
                    print(_report(total, spent, logins, disturbances), flush=True)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            print(_report(total, spent, logins, disturbances))
    return 0


def _report(total: int, spent: float, logins: int, disturbances: int) -> str:
    return (
        f"{total:,} schedules, {disturbances:,} disturbances, {logins:,} logins, no invariant broken; "
        f"{total / max(spent, 1e-9):,.0f} schedules a second of processor time"
    )


def is_compiled() -> bool:
    return not str(schedule.__file__).endswith(".py")


def _compile() -> None:
    """Begins anew with the compiled modules, if they can be had."""
    try:
        folder = modules(lambda text: print(text, flush=True))
    except CannotCompileError as error:
        print(f"plain Python, at a third of the speed: {error}", flush=True)
        return
    command = [sys.executable, "-m", "simulation.chaos", *sys.argv[1:]]
    os.execve(sys.executable, command, os.environ | {"PYTHONPATH": str(folder)})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this one, and tell its story")
    parser.add_argument("--first", type=int, help="begin with this seed; else a random one")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after that")
    given = parser.parse_args()
    if given.seed is not None:
        print(timeline(given.seed))
        return 0
    if not is_compiled():
        _compile()
    first = given.first if given.first is not None else secrets.randbelow(2**40)
    return _forever(first, given.workers, given.seconds)


if __name__ == "__main__":
    sys.exit(main())
