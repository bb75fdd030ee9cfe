"""What is unknown, since when; which clicks come late; what an act came to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from rectbot.console.alerts import Alert, firing_in, merged
from rectbot.console.asked import Asked
from rectbot.console.looks import LATE_SECONDS, Looks
from rectbot.console.outcome import hold_text, login_seconds
from rectbot.console.reach import Reach, Unreachable
from rectbot.console.upstream import Shared, Upstream, open_http
from rectbot.console.words import Words
from rectbot.errors import RectbotError
from rectbot.failover.events import Event, Hold


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_part_is_unknown_from_its_first_silence_until_it_answers() -> None:
    clock = Clock()
    reach = Reach(clock)
    assert reach.unknown("loki") is None
    clock.now = 110
    assert reach.failed("loki", "gone").unknown.answered is None
    clock.now = 120
    reach.answered("loki")
    for clock.now, reason in ((130, "gone"), (140, "gone again")):
        reach.failed("loki", reason)
    (found,) = reach.all()
    assert (found.since, found.answered, found.reason) == (130, 120, "gone again")
    assert reach.unknown("prometheus", "loki") == found
    assert reach.unknown("prometheus") is None


async def _answers(handle: Callable[[web.Request], Awaitable[web.Response]], path: str = "/x") -> tuple[Any, Reach]:
    app, reach = web.Application(), Reach()
    app.router.add_get("/x", handle)
    server = TestServer(app)
    await server.start_server()
    http = open_http()
    try:
        upstream = Upstream("prometheus", str(server.make_url("")), http, Shared(), reach, patience=0.3)
        return await asyncio.gather(upstream.get(path), return_exceptions=True), reach
    finally:
        await http.close()
        await server.close()


@pytest.mark.parametrize(
    ("status", "text", "raised", "unknown"),
    [
        (200, "[]", None, False),
        (400, '{"error": "parse error"}', RectbotError, False),
        (422, '{"error": "no such thing"}', RectbotError, False),
        (503, '{"error": "query timed out"}', RectbotError, False),  # of one question, as Prometheus has it
        (200, "<html>", Unreachable, True),  # something else listens there
    ],
)
async def test_a_refusal_is_not_silence(status: int, text: str, raised: type[Exception] | None, unknown: bool) -> None:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(text=text, status=status)

    (found,), reach = await _answers(handle)
    assert (type(found) if isinstance(found, Exception) else None) == raised
    assert (reach.unknown("prometheus") is not None) == unknown


async def test_a_server_that_hangs_or_is_not_there_is_unknown() -> None:
    async def handle(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    (found,), reach = await _answers(handle)
    assert isinstance(found, Unreachable)
    assert reach.unknown("prometheus") == found.unknown


async def test_the_last_answer_stands_in_and_is_known_by_its_age() -> None:
    answers: list[Any] = [1, RectbotError("no"), 2]

    async def ask() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return int(answer)

    asked = Asked("prometheus", ask, every=0)
    assert await asked.look(5)
    first = asked.at
    assert asked.answer == 1
    assert asked.refused is None
    assert await asked.look(5)
    assert (asked.answer, asked.at) == (1, first)
    assert asked.refused is not None
    assert asked.refused.answered == first
    assert await asked.look(5)
    assert asked.answer == 2


def test_a_click_from_a_page_that_has_heard_nothing_newer_is_late() -> None:
    clock = Clock()
    looks = Looks(clock)
    look = looks.sent()
    clock.now += LATE_SECONDS
    assert not looks.is_late(look)
    clock.now += 0.1
    assert looks.is_late(look)
    assert not looks.is_late(looks.sent())
    odd: list[Any] = ["", "99", None, 1, [], {"look": "1"}]
    for forged in odd:
        assert looks.is_late(forged), forged


def _alert(name: str, since: float = 0, **labels: str) -> Alert:
    return Alert(tuple(sorted({"alertname": name, **labels}.items())), "", "", since)


def test_an_alert_that_alertmanager_was_never_told_of_is_shown_as_such() -> None:
    told = [_alert("A", site="oci", cluster="added by Prometheus on the way")]
    firing = [_alert("A", site="oci"), _alert("A", site="xserver"), _alert("B", since=950)]
    found = merged(told, firing, now=1000)
    assert [(alert.name, dict(alert.labels)["site"], alert.told) for alert in found] == [
        ("A", "oci", True),
        ("A", "xserver", False),
    ], "one that has just begun may still be under way"


def test_what_is_pending_does_not_fire() -> None:
    alerts = [
        {"labels": {"alertname": name}, "state": state, "activeAt": "2026-11-27T19:00:00.123456789Z"}
        for name, state in (("A", "pending"), ("B", "firing"))
    ]
    assert [alert.name for alert in firing_in({"data": {"alerts": alerts}})] == ["B"]


def test_a_login_took_from_the_grant_to_the_readiness_of_that_lease() -> None:
    events = [
        Event("1", 10.0, "acquired", "xserver", "", 4, ""),
        Event("2", 11.0, "ready", "xserver", "", 4, ""),
        Event("3", 20.0, "acquired", "oci", "", 5, ""),
    ]
    assert login_seconds(events, 4) == 1.0
    assert login_seconds(events, 5) is None


def test_a_hold_says_when_it_ends() -> None:
    words = Words("en")
    assert "until \x011800.000\x01" in hold_text(words, Hold(1700, "oci", "by me"), 100)
    assert "until somebody ends it" in hold_text(words, Hold(100 * 365 * 86400, "oci", "by me"), 100)
