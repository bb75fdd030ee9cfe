"""What a program's stop is made of."""

from __future__ import annotations

import pytest

from rectbot.failover.process.child import kill_after


@pytest.mark.parametrize("stop_s", [0.0, 0.01, 0.1, 0.25, 1.0, 5.0, 10.0, 60.0])
def test_a_stop_leaves_time_for_the_kill(stop_s: float) -> None:
    """A program that ignores SIGTERM has to be killed and buried within the time that the stop may take."""
    margin = stop_s - kill_after(stop_s)
    assert margin == pytest.approx(min(1.0, 0.2 * stop_s))
    assert kill_after(stop_s) >= 0
