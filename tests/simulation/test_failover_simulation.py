"""The protocol, the scribe and the rules under thousands of schedules of faults."""

from __future__ import annotations

import gc
import os
import weakref
from concurrent.futures import ProcessPoolExecutor

import pytest

from .chaos import replay_command, run_range, timeline
from .schedule import run

SCHEDULES = 20_000
CHUNK = 500


@pytest.mark.timeout(900)
def test_no_schedule_breaks_an_invariant() -> None:
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(run_range, range(0, SCHEDULES, CHUNK), [CHUNK] * (SCHEDULES // CHUNK)))
    for result in results:
        if result.failed is not None:
            pytest.fail(f"{timeline(result.failed)}\n\nreplay: {replay_command(result.failed)}", pytrace=False)
    print(f"{SCHEDULES / sum(result.seconds for result in results):.0f} schedules a second of processor time")
    assert sum(result.schedules for result in results) == SCHEDULES
    assert sum(result.logins for result in results) > SCHEDULES, "where nobody ever leads nothing is proven"
    assert sum(result.disturbances for result in results) > 2 * SCHEDULES


def test_a_seed_is_a_schedule() -> None:
    """The same seed runs the same way, whether its story is told or not."""
    for seed in range(50):
        first, second, told = run(seed), run(seed), run(seed, trace=True)
        assert first.judge.starts == second.judge.starts == told.judge.starts
        assert first.count == second.count == told.count


def test_a_world_that_has_ended_is_gone() -> None:
    """And needs no collector, which run_range turns off."""
    gc.disable()
    for seed in range(100):
        world = run(seed)
        here = weakref.ref(world)
        world.end()
        del world
        assert here() is None
    gc.enable()


def test_a_story_can_be_read() -> None:
    story = timeline(3)
    assert story.startswith("seed 3: sites a (clock")
    assert "FAULT" in story
    assert "Start(epoch=1" in story
    assert story.endswith("all invariants held")
