"""Rate limits as Discord applies them, and the budget of logins.

https://discord.com/developers/docs/topics/rate-limits and .../events/gateway#session-start-limit-object
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import deque
from dataclasses import dataclass

GLOBAL_PER_SECOND = 50
DAY_S = 24 * 3600.0


@dataclass(frozen=True)
class Bucket:
    """A named limit: so many requests in so many seconds, for each top-level resource."""

    name: str
    limit: int
    per_s: float

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Verdict:
    """What one request met: the state of its bucket, and for how long to wait if it was refused."""

    bucket: Bucket
    remaining: int
    reset_after: float
    retry_after: float | None = None
    is_global: bool = False

    def headers(self) -> dict[str, str]:
        """The rate limit headers of the answer."""
        if self.is_global:
            return {"X-RateLimit-Global": "true", "X-RateLimit-Scope": "global", **self._retry()}
        headers = {
            "X-RateLimit-Limit": str(self.bucket.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": f"{time.time() + self.reset_after:.3f}",
            "X-RateLimit-Reset-After": f"{self.reset_after:.3f}",
            "X-RateLimit-Bucket": self.bucket.hash,
        }
        return headers if self.retry_after is None else {**headers, "X-RateLimit-Scope": "user", **self._retry()}

    def _retry(self) -> dict[str, str]:
        return {"Retry-After": str(math.ceil(self.retry_after or 0))}

    def body(self) -> dict[str, object]:
        """The JSON of the 429."""
        return {
            "message": "You are being rate limited.",
            "retry_after": round(self.retry_after or 0, 3),
            "global": self.is_global,
        }


class RateLimits:
    """Counts requests in fixed windows: a window opens with its first request and forgets them all at its end."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str, str], tuple[float, int]] = {}
        self._global = Bucket("global", GLOBAL_PER_SECOND, 1.0)

    def take(self, bucket: Bucket, major: str, caller: str, *, counts_globally: bool) -> Verdict:
        """Counts one request of a caller on a top-level resource, or refuses it."""
        if counts_globally:
            verdict = self._take(self._global, "", caller)
            if verdict.retry_after is not None:
                return Verdict(bucket, 0, verdict.reset_after, verdict.retry_after, is_global=True)
        return self._take(bucket, major, caller)

    def _take(self, bucket: Bucket, major: str, caller: str) -> Verdict:
        now = time.monotonic()
        key = (bucket.name, major, caller)
        ends, used = self._windows.get(key, (0.0, 0))
        if now >= ends:
            self._forget(now)
            ends, used = now + bucket.per_s, 0
        if used >= bucket.limit:
            return Verdict(bucket, 0, ends - now, retry_after=ends - now)
        self._windows[key] = (ends, used + 1)
        return Verdict(bucket, bucket.limit - used - 1, ends - now)

    def _forget(self, now: float) -> None:
        if len(self._windows) > 10_000:
            self._windows = {key: window for key, window in self._windows.items() if window[0] > now}


class LoginBudget:
    """The session start limit: IDENTIFYs in 24 hours, and how many may come at once within a few seconds."""

    def __init__(self, total: int = 1000, max_concurrency: int = 1, window_s: float = 5.0) -> None:
        self.total = total
        self.max_concurrency = max_concurrency
        self.window_s = window_s
        self._day: deque[float] = deque()
        self._recent: deque[float] = deque()

    @property
    def remaining(self) -> int:
        self._expire()
        return max(0, self.total - len(self._day))

    def reset(self, total: int) -> None:
        """A new day with another limit."""
        self.total = total
        self._day.clear()

    def spend(self) -> bool:
        """Counts one IDENTIFY; False when it goes past the day's limit, which costs the token."""
        self._expire()
        self._day.append(time.monotonic())
        return len(self._day) <= self.total

    def admit(self) -> bool:
        """Whether an IDENTIFY may start a session now, or comes too soon after the last (max_concurrency)."""
        now = time.monotonic()
        while self._recent and now - self._recent[0] >= self.window_s:
            self._recent.popleft()
        if len(self._recent) >= self.max_concurrency:
            return False
        self._recent.append(now)
        return True

    def describe(self) -> dict[str, int]:
        """The session start limit object of `GET /gateway/bot`; times in milliseconds."""
        remaining = self.remaining
        reset_s = DAY_S - (time.monotonic() - self._day[0]) if self._day else 0
        return {
            "total": self.total,
            "remaining": remaining,
            "reset_after": int(reset_s * 1000),
            "max_concurrency": self.max_concurrency,
        }

    def _expire(self) -> None:
        now = time.monotonic()
        while self._day and now - self._day[0] >= DAY_S:
            self._day.popleft()
