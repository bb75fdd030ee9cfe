"""Rate limits and the budget of logins."""

from __future__ import annotations

import time

import pytest

from localdiscord.limits import Bucket, LoginBudget, RateLimits

BUCKET = Bucket("test", limit=3, per_s=60.0)


def test_a_bucket_refuses_what_is_over_its_limit_and_says_until_when() -> None:
    limits = RateLimits()
    taken = [limits.take(BUCKET, "1", "bot", counts_globally=True) for _ in range(3)]
    assert [verdict.remaining for verdict in taken] == [2, 1, 0]
    refused = limits.take(BUCKET, "1", "bot", counts_globally=True)
    assert refused.retry_after is not None
    assert 59 < refused.retry_after <= 60
    headers = refused.headers()
    assert headers["Retry-After"] == "60"
    assert headers["X-RateLimit-Remaining"] == "0"
    assert abs(float(headers["X-RateLimit-Reset"]) - time.time() - 60) < 1
    assert refused.body()["global"] is False


def test_top_level_resources_and_callers_have_their_own_windows() -> None:
    limits = RateLimits()
    for _ in range(3):
        limits.take(BUCKET, "1", "bot", counts_globally=False)
    assert limits.take(BUCKET, "2", "bot", counts_globally=False).retry_after is None
    assert limits.take(BUCKET, "1", "other", counts_globally=False).retry_after is None
    assert limits.take(BUCKET, "1", "bot", counts_globally=False).retry_after is not None


def test_a_window_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    limits, now = RateLimits(), [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for _ in range(3):
        limits.take(BUCKET, "1", "bot", counts_globally=False)
    now[0] += 59.9
    assert limits.take(BUCKET, "1", "bot", counts_globally=False).retry_after is not None
    now[0] += 0.1
    assert limits.take(BUCKET, "1", "bot", counts_globally=False).remaining == 2


def test_the_global_limit_is_fifty_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = RateLimits()
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    wide = Bucket("wide", 1000, 1.0)
    verdicts = [limits.take(wide, "", "bot", counts_globally=True) for _ in range(51)]
    assert [verdict.retry_after is None for verdict in verdicts] == [True] * 50 + [False]
    assert verdicts[-1].body()["global"] is True
    assert verdicts[-1].headers()["X-RateLimit-Scope"] == "global"
    assert limits.take(wide, "", "bot", counts_globally=False).retry_after is None


def test_logins_are_counted_over_a_day_and_spaced(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    budget = LoginBudget(total=2)
    assert budget.spend()
    assert budget.admit()
    assert not budget.admit()  # one in five seconds
    now[0] += 5
    assert budget.admit()
    assert budget.spend()
    assert budget.describe() == {"total": 2, "remaining": 0, "reset_after": 86_395_000, "max_concurrency": 1}
    assert not budget.spend()
    now[0] += 24 * 3600
    assert budget.remaining == 2
