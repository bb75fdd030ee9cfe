"""For everybody, where STATUS_PAGE is set: whether the bot is up, and its last 90 days; a page, and a badge.

Nothing in them names a site, a host or a reason. Both are made for all who ask, and no more often than every few
seconds, so that nobody can make this process work by asking.
"""

from __future__ import annotations

import asyncio
import html
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from fastapi import FastAPI, Request
from fastapi.responses import Response

from rectbot.console import own
from rectbot.console.desk import Desk
from rectbot.console.happened import Day, days_of, described, percent, tone
from rectbot.console.live import Now
from rectbot.console.words import Words, choose
from rectbot.history.known import Known
from rectbot.history.period import DAY_MS
from rectbot.history.story import Span

DAYS = 90
FRESH_SECONDS, SOON_SECONDS = 15.0, 3.0  # for which an answer stands; and one that lacks the past
_PATIENCE_SECONDS = 2.0  # with the program that reads the past
_TONES = ((0.999, "good"), (0.99, "warning"), (0.0, "error"))
_COLOURS = {"up": "#15803d", "down": "#b91c1c", "unknown": "#5a6472"}
State = Literal["up", "down", "unknown"]


@dataclass(frozen=True)
class Status:
    """What everybody may know, as of a Unix time; `days` are UTC's, the oldest first."""

    state: State
    at: float
    days: Sequence[Day] = ()
    share: float | None = None
    made: dict[tuple[str, str], bytes] = field(default_factory=dict)


class Statuses:
    """The last status, which is made anew when somebody asks and it has grown old."""

    def __init__(self, desk: Desk, clock: Callable[[], float] = time.monotonic) -> None:
        self._desk, self._clock = desk, clock
        self._due = float("-inf")
        self._last = Status("unknown", 0.0)
        self._task: asyncio.Task[Status] | None = None

    async def now(self) -> Status:
        """Made once for all who ask at a time."""
        if self._task is None and self._clock() >= self._due:
            self._task = asyncio.create_task(self._make())
        if self._task is not None:
            self._last = await asyncio.shield(self._task)
        return self._last

    async def _make(self) -> Status:
        try:
            now = await self._desk.live.now()
            past = self._desk.past
            past.known(now)
            whole = await past.settled(_PATIENCE_SECONDS)
            found = status(now, past.known(now))
            self._due = self._clock() + (FRESH_SECONDS if whole else SOON_SECONDS)
            return found
        finally:
            self._task = None


def status(now: Now, found: Known | None) -> Status:
    """What is known at this look."""
    today = int(now.time * 1000) // DAY_MS
    days = [Span(day * DAY_MS, (day + 1) * DAY_MS) for day in range(today - DAYS + 1, today + 1)]
    known = found or Known()
    (whole,) = days_of(known, [Span(days[0].start, days[-1].end)])
    return Status(_state(now), now.time, days_of(known, days), whole.share)


def _state(now: Now) -> State:
    if now.snapshot is None:
        return "unknown"
    leader = now.snapshot.leader
    return "up" if leader is not None and now.snapshot.state_of(leader.site) == "leads" else "down"


def add_routes(app: FastAPI, desk: Desk) -> tuple[str, ...]:
    """Adds both; returns their paths."""
    statuses = Statuses(desk)
    kinds = {"/status": ("text/html", as_page), "/status.svg": ("image/svg+xml", as_badge)}
    for path, (kind, write) in kinds.items():
        app.add_api_route(path, _answer(statuses, path, kind, write), methods=["GET", "HEAD"])
    return tuple(kinds)


def _answer(statuses: Statuses, path: str, kind: str, write: Callable[[Words, Status], str]) -> Callable[..., object]:
    async def answer(request: Request) -> Response:
        words = choose(request.cookies, request.headers.get("accept-language", ""))
        found = await statuses.now()
        key = (path, words.language)
        if key not in found.made:
            found.made[key] = write(words, found).encode()
        return Response(found.made[key], media_type=kind, headers=_HEADERS)

    return answer


_HEADERS = {"Cache-Control": f"public, max-age={FRESH_SECONDS:.0f}", "Vary": "Accept-Language, Cookie"}


def as_page(words: Words, found: Status) -> str:
    """A whole page, without a script."""
    bars = "".join(_bar(words, day) for day in found.days)
    share = words("status.share", share=percent(found.share)) if found.share is not None else words("status.nothing")
    at = f"{datetime.fromtimestamp(found.at, UTC):%Y-%m-%d %H:%M} UTC"
    return f"""<!doctype html>
<html lang="{words.language}"><head><meta charset="utf-8"><title>{words("status.title")}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<link rel="stylesheet" href="{own.STYLE}"><link rel="icon" href="/favicon.ico" type="image/svg+xml"></head>
<body class="login status"><main><h1>{words("status.title")}</h1>
<p class="who {found.state}">{words(f"status.{found.state}")}</p>
<p class="hint">{words("status.at", at=at)}</p>
<h2>{words("status.days", days=DAYS)}</h2>
<p>{share}</p>
<ol class="days" aria-label="{html.escape(words("status.days", days=DAYS))}">{bars}</ol>
<p class="hint">{words("status.hint")}</p></main></body></html>"""


def _bar(words: Words, day: Day) -> str:
    date = f"{datetime.fromtimestamp(day.span.start / 1000, UTC):%Y-%m-%d}"
    said = html.escape(f"{date}: {described(words, day)}")
    return f'<li class="{tone(day, _TONES)}" title="{said}"><span class="unseen">{said}</span></li>'


def as_badge(words: Words, found: Status) -> str:
    """The state in an image."""
    name, state = words("status.badge"), words(f"status.{found.state}.short")
    if found.share is not None and found.state != "unknown":
        state = f"{state} · {percent(found.share)}"
    left, right = _width(name), _width(state)
    label = html.escape(f"{name}: {state}")
    texts = "".join(
        f'<text x="{x:.0f}" y="14" text-anchor="middle">{html.escape(text)}</text>'
        for x, text in ((left / 2, name), (left + right / 2, state))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" aria-label="{label}">'
        f'<title>{label}</title><rect width="{left + right}" height="20" rx="3" fill="#374151"/>'
        f'<rect x="{left}" width="{right}" height="20" rx="3" fill="{_COLOURS[found.state]}"/>'
        f'<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">{texts}</g></svg>'
    )


def _width(text: str) -> int:
    """Pixels, roughly: letters of East Asia are twice as wide."""
    return 12 + sum(7 if letter.isascii() else 12 for letter in text)
