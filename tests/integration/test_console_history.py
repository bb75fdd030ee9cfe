"""The history page and the status page in a real browser, on a history whose figures are known to the second."""

from __future__ import annotations

import csv
import io
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from consoles import PATIENCE_MS, Visitor, browser, violations, visit
from hubs import Hub, hub, wait
from rectbot.history import record
from rectbot.history.database import opened, writing
from rectbot.history.lines import moment
from rectbot.history.story import Told
from rectbot.settings import BASE_PORTS, load_settings
from servers import redis_server

pytestmark = pytest.mark.timeout(480)


def told(time: str, kind: str, site: str, epoch: int, why: str = "", renewed: str = "") -> Told:
    owner = "ann@desk" if kind == "switch" else f"{site}:{epoch}"
    return Told(_ms(time), kind, site, owner, epoch, why, _ms(renewed) if renewed else None)


def _ms(time: str) -> int:
    return moment(f"2025-{time}Z", "time")


STORY = [
    told("03-01T00:00:00", "acquired", "xserver", 1),
    told("03-01T00:00:02", "ready", "xserver", 1),
    # In Tokyo it is the morning of the next day.
    told("03-10T20:00:00", "expired", "xserver", 1, renewed="03-10T19:59:40"),
    told("03-10T20:00:00", "acquired", "oci", 2),
    told("03-10T20:00:02", "ready", "oci", 2),
    told("03-12T01:00:00", "switch", "xserver", 2),
    told("03-12T01:00:00", "handed-over", "oci", 2),
    told("03-12T01:00:01", "acquired", "xserver", 3),
    told("03-12T01:00:02", "ready", "xserver", 3),
]
FAILOVER = "xserver stopped answering; oci took over after 22.0 s without the bot"
HOSTILE = "<b>x</b>\1-1\1 =cmd()"
ALERT = {
    "status": "resolved",
    "labels": {"alertname": "FailoverSiteSilent", "severity": "warning"},
    "annotations": {"summary": HOSTILE},
    "startsAt": "2025-03-10T20:01:00Z",
    "endsAt": "2025-03-10T20:06:00Z",
}


@dataclass
class Place:
    hub: Hub
    database: Path

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.hub.console}{path}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("history")
    database = folder / "history.db"
    address = f"sqlite:///{database}"
    with opened(load_settings(rectbot_home=folder, history_database_url=address)) as engine, writing(engine) as link:
        record.add_events(link, STORY)
        record.add_alerts(link, [{"alerts": [ALERT]}])
    settings = {"HISTORY_DATABASE_URL": address, "STATUS_PAGE": "true"}
    with redis_server(folder / "redis") as redis:
        settings |= {"REDIS_PORT": str(redis.port), "REDIS_PASSWORD": redis.password}
        with hub(folder, **settings) as found:
            wait(found, "serving the console")
            yield Place(found, database)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


def _open(visitor: Visitor, place: Place, query: str) -> Page:
    page = visitor.page
    page.goto(place.url(f"/history{query}"))
    expect(page.locator(".shares dd").first).not_to_have_text(re.compile("unknown|不明"), timeout=PATIENCE_MS)
    return page


def _day(page: Page, key: str) -> Any:
    return page.locator(f'[data-day="{key}"]')


def test_a_click_on_a_day_shows_what_happened_that_day(place: Place, chromium: Browser) -> None:
    with visit(chromium, timezone_id="Asia/Tokyo", locale="en-US") as visitor:
        page = _open(visitor, place, "?period=2025-03")
        expect(_day(page, "2025-03-11")).to_have_attribute(
            "aria-label", "2025-03-11: 99.97 %, without the bot for 22.0 s"
        )
        expect(_day(page, "2025-03-10")).to_have_attribute("aria-label", "2025-03-10: 100 %, always there")
        expect(_day(page, "2025-02-28")).to_have_attribute("aria-label", "2025-02-28: unknown")
        expect(_day(page, "2025-02-28")).to_have_class(re.compile("unknown"))
        # The record begins at nine in the morning there.
        expect(_day(page, "2025-03-01")).to_have_attribute("aria-label", re.compile(r"15 h of it recorded"))
        figures = page.locator(".shares").inner_text()
        for said in (
            "Outages\n3",
            "Longest outage\n22.0 s",
            "Failovers\n1",
            "Planned moves\n1",
            "Logins\n3",
            "Alerts\n1",
        ):
            assert said in figures, figures
        _day(page, "2025-03-11").click()
        expect(page.locator(".entries li")).to_have_count(2, timeout=PATIENCE_MS)
        expect(page).to_have_url(re.compile(r"[?&]period=2025-03-11(&|$)"), timeout=PATIENCE_MS)
        expect(page.locator(".entries li").nth(1)).to_contain_text(f"2025-03-11 05:00:00 {FAILOVER}")
        first = page.locator(".entries li").first
        expect(first).to_contain_text("FailoverSiteSilent (warning): <b>x</b>-1 =cmd(); over after 5 min.")
        link = page.locator(".entries li").nth(1).get_by_role("link").get_attribute("href") or ""
        asked = parse_qs(urlsplit(link).query)
        assert asked["site"] == ["xserver", "oci"]
        assert int(asked["from"][0]) == _ms("03-10T19:59:40") - 60_000
        assert int(asked["to"][0]) == _ms("03-10T20:00:02") + 60_000
        page.go_back()
        expect(page.locator(".entries li")).to_have_count(4, timeout=PATIENCE_MS)
        assert visitor.errors == []
    with visit(chromium, timezone_id="UTC", locale="en-US") as visitor:
        page = _open(visitor, place, "?period=2025-03-10")
        expect(page.locator(".entries li").nth(1)).to_contain_text(f"2025-03-10 20:00:00 {FAILOVER}")


def test_filters_stand_in_the_address_and_in_the_download(place: Place, chromium: Browser) -> None:
    with visit(chromium, timezone_id="UTC", locale="en-US") as visitor:
        page = _open(visitor, place, "?period=2025&kind=planned")
        expect(page.locator(".entries li")).to_have_count(1, timeout=PATIENCE_MS)
        expect(page.locator(".entries li")).to_contain_text("ann@desk moved the lead from oci to xserver")
        page.get_by_role("combobox", name="Kind").click()
        page.get_by_role("option", name="Failovers and outages").click()
        page.keyboard.press("Escape")
        expect(page.locator(".entries")).to_contain_text(FAILOVER, timeout=PATIENCE_MS)
        expect(page.get_by_role("option")).to_have_count(0, timeout=PATIENCE_MS)  # the choice has closed
        page.get_by_label("Text").fill("STOPPED")
        expect(page).to_have_url(re.compile("text=STOPPED"), timeout=PATIENCE_MS)
        assert sorted(parse_qs(urlsplit(page.url).query)["kind"]) == ["failover", "planned"]
        expect(page.locator(".entries li").last).to_contain_text(FAILOVER)
        page.reload()
        expect(page.locator(".entries li").last).to_contain_text(FAILOVER, timeout=PATIENCE_MS)
        with page.expect_download() as saved:
            page.get_by_role("link", name="Download as CSV").click()
        rows = list(csv.DictReader(io.StringIO(Path(saved.value.path()).read_text())))
        assert {row["kind"] for row in rows} == {"failover"}
        assert rows[-1]["from"] == "2025-03-10T19:59:40.000Z"
        assert rows[-1]["seconds"] == "22.0"
        assert FAILOVER in rows[-1]["what"]
        assert visitor.errors == []


def test_the_calendar_is_one_stop_and_arrows_go_from_day_to_day(place: Place, chromium: Browser) -> None:
    with visit(chromium, timezone_id="UTC", locale="en-US") as visitor:
        page = _open(visitor, place, "?period=2025-03-01")
        assert page.locator(".squares [tabindex='0']").count() == 1
        _day(page, "2025-03-01").focus()
        for key in ("ArrowDown", "ArrowRight", "ArrowRight", "Enter"):
            page.keyboard.press(key)
        expect(page).to_have_url(re.compile("period=2025-03-10"), timeout=PATIENCE_MS)
        page.get_by_role("button", name="The year before").click()
        expect(page).to_have_url(re.compile("period=2024"), timeout=PATIENCE_MS)
        expect(page.locator(".shares")).to_contain_text("unknown")
        assert page.locator(".squares .full").count() == 0, "days that nobody recorded are not 100 %"
        assert page.locator(".squares a.unknown").count() == 366


@pytest.mark.parametrize("path", ["/history?period=2025-03", "/status"])
@pytest.mark.parametrize(("language", "scheme", "width"), [("en-US", "dark", 1280), ("ja-JP", "light", 390)])
def test_both_pages_can_be_used_by_everybody_in_both_languages_and_sizes(
    place: Place, chromium: Browser, path: str, language: str, scheme: Any, width: int
) -> None:
    options: dict[str, Any] = {"locale": language, "color_scheme": scheme, "viewport": {"width": width, "height": 900}}
    with visit(chromium, **options) as visitor:
        page = visitor.page
        page.goto(place.url(path))
        expect(page.locator(".entries li, .days li").first).to_be_attached(timeout=PATIENCE_MS)
        assert page.evaluate("document.documentElement.lang") == language[:2]
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out at the side"
        assert violations(page) == []
        japanese = bool(re.search("[ぁ-ん]", page.locator("body").inner_text()))
        assert japanese == (language == "ja-JP")
        assert visitor.errors == []


BLIND = {
    "en-US": ("The history's database cannot be read", "The recorder does not follow", "The history is switched off"),
    "ja-JP": ("履歴のデータベースを読めないため", "記録が遅れています", "履歴は無効です"),
}


def _says(found: Hub, chromium: Browser, place: int) -> None:
    for language, said in BLIND.items():
        with visit(chromium, timezone_id="UTC", locale=language) as visitor:
            visitor.page.goto(f"http://127.0.0.1:{found.console}/history?period=2025-03")
            expect(visitor.page.locator(".problem:not(:empty)")).to_contain_text(said[place], timeout=PATIENCE_MS)
            for other in set(said) - {said[place]}:
                expect(visitor.page.locator("body")).not_to_contain_text(other)
            full = visitor.page.locator(".squares a.full").count()
            assert (full > 0) == (place == 1), "only of a database that can be read is anything known"


def test_a_database_that_cannot_be_read_is_told_and_its_days_are_unknown(tmp_path: Path, chromium: Browser) -> None:
    (tmp_path / "history.db").write_bytes(b"this is no database" * 100)
    with hub(tmp_path, HISTORY_DATABASE_URL=f"sqlite:///{tmp_path / 'history.db'}") as found:
        wait(found, "serving the console")
        _says(found, chromium, 0)


def test_a_recorder_that_does_not_follow_is_told(tmp_path: Path, chromium: Browser) -> None:
    address = f"sqlite:///{tmp_path / 'history.db'}"
    with opened(load_settings(rectbot_home=tmp_path, history_database_url=address)) as engine, writing(engine) as link:
        record.add_events(link, STORY)
    writer = sqlite3.connect(tmp_path / "history.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")  # it can be read, and nobody else can write
    with hub(tmp_path, HISTORY_DATABASE_URL=address) as found:
        wait(found, "serving the console")
        spool = tmp_path / f"var/offset-{found.metrics - BASE_PORTS['hub']}" / "history-alerts.jsonl"
        spool.parent.mkdir(parents=True, exist_ok=True)
        spool.write_text("{}\n")
        os.utime(spool, (time.time() - 600, time.time() - 600))
        _says(found, chromium, 1)
    writer.close()


def test_a_history_that_is_switched_off_is_told(tmp_path: Path, chromium: Browser) -> None:
    with hub(tmp_path, HISTORY_ENABLED="false") as found:
        wait(found, "serving the console")
        _says(found, chromium, 2)
    assert not list(tmp_path.rglob("history*"))
