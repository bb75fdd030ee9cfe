"""The console in a real browser, on a real stack: what it shows, and what its acts do."""

from __future__ import annotations

import json
import re
import sqlite3
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

import psutil
import pytest
from playwright.sync_api import Browser, Page, expect

from consoles import PATHS, PATIENCE_MS, Visitor, browser, visit
from e2e.stack import TTL_SECONDS, Stack, until
from localdiscord.journal import sessions

pytestmark = pytest.mark.timeout(480)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture
def visitor(stack: Stack, chromium: Browser) -> Iterator[Visitor]:
    """On the first page, with everything as it should be; at the end nothing went wrong in the page."""
    until(lambda: stack.leader() == "xserver" and _all_healthy(stack), 60, "xserver leads and all is well")
    with visit(chromium) as visitor:
        visitor.page.goto(stack.url("console"))
        expect(_leader(visitor.page)).to_have_text("xserver", timeout=PATIENCE_MS)
        yield visitor
        assert visitor.errors == []
        assert visitor.hosts == {urlsplit(stack.url("console")).netloc}


def _all_healthy(stack: Stack) -> bool:
    return all(part["healthy"] for part in stack.status()["components"].values())


def _leader(page: Page) -> Any:
    return page.locator("[data-name=leader]")


def _act(page: Page, site: str, button: str) -> None:
    page.locator(f"[data-name=site-{site}]").get_by_role("button", name=button).click()


def _confirm(page: Page, says: str) -> None:
    dialogue = page.get_by_role("alertdialog")
    expect(dialogue).to_contain_text(says, timeout=PATIENCE_MS)
    dialogue.get_by_label("Reason").fill("a test")
    dialogue.locator("button.danger").click()


def _live(stack: Stack) -> list[str | None]:
    return [session.site for session in sessions(stack.journal()) if session.closed is None]


@pytest.mark.parametrize(("language", "scheme", "width"), [("en-US", "light", 1280), ("ja-JP", "dark", 390)])
@pytest.mark.parametrize("path", PATHS)
def test_each_page_renders_without_an_error_and_without_a_request_to_elsewhere(
    stack: Stack, chromium: Browser, path: str, language: str, scheme: Any, width: int
) -> None:
    options: dict[str, Any] = {"locale": language, "color_scheme": scheme, "viewport": {"width": width, "height": 900}}
    with visit(chromium, **options) as visitor:
        page = visitor.page
        page.goto(stack.url("console") + path)
        expect(page.locator("h1")).not_to_be_empty(timeout=PATIENCE_MS)
        assert page.evaluate("document.documentElement.lang") == language[:2]
        for panel in page.locator("[data-panel]").all():
            drawn = panel.locator("canvas, .stat, td, .line, .prose, .note:not(:empty)")
            expect(drawn.first).to_be_visible(timeout=PATIENCE_MS)
        assert page.locator(".problem:not(:empty)").all_inner_texts() == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out at the side"
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", dark)[:3])) < 200) == (scheme == "dark")
        assert visitor.errors == []
        assert visitor.hosts == {urlsplit(stack.url("console")).netloc}


def test_what_is_there_does_not_jump_when_the_rest_comes(stack: Stack, chromium: Browser) -> None:
    shifts = """new Promise(done => { let sum = 0;
        new PerformanceObserver(list => list.getEntries().forEach(entry => sum += entry.value))
            .observe({type: 'layout-shift', buffered: true});
        setTimeout(() => done(sum), 300); })"""
    with visit(chromium, viewport={"width": 1280, "height": 900}) as visitor:
        for path in ("/", "/d/rectbot-overview"):
            visitor.page.goto(stack.url("console") + path)
            expect(visitor.page.locator("h1")).to_be_visible(timeout=PATIENCE_MS)
            visitor.page.wait_for_timeout(1_500)  # what would jump, jumps when data and events arrive
            assert visitor.page.evaluate(shifts) < 0.1, "good, by https://web.dev/articles/cls"


def test_the_page_shows_the_new_leader_after_a_kill_and_the_reason(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    stack.run("site", "kill", "xserver")
    changed = until(lambda: time.monotonic() if stack.leader() == "oci" else None, TTL_SECONDS + 10, "oci leads")
    expect(_leader(page)).to_have_text("oci", timeout=PATIENCE_MS)
    assert time.monotonic() - changed < 3
    expect(page.locator("[data-name=site-xserver] .state")).to_have_text("silent", timeout=PATIENCE_MS)
    expect(page.locator(".events")).to_contain_text("expired", timeout=PATIENCE_MS)
    happened = re.compile(r"xserver stopped answering; oci took over after \d+\.\d s without the bot")
    expect(page.locator(".moves li").first).to_contain_text(happened, timeout=60_000)
    stack.run("site", "start", "xserver")
    expect(_leader(page)).to_have_text("xserver", timeout=40_000)


def test_a_switch_from_the_page_really_switches(stack: Stack, visitor: Visitor) -> None:
    page, began = visitor.page, time.time()
    _act(page, "oci", "Switch to oci")
    _confirm(page, "The bot logs out at xserver and logs in at oci: one login")
    until(lambda: _live(stack) == ["oci"], 30, "Discord sees the bot at oci, and nowhere else")
    expect(_leader(page)).to_have_text("oci", timeout=PATIENCE_MS)
    expect(page.locator(".events")).to_contain_text("a test", timeout=PATIENCE_MS)
    outcome = re.compile(r"^oci leads since \d\d:\d\d:\d\d, logged in after \d+\.\d s\.$")
    expect(page.locator(".outcome")).to_have_text(outcome, timeout=PATIENCE_MS)
    _act(page, "xserver", "Switch to xserver")
    _confirm(page, "The bot logs out at oci and logs in at xserver")
    until(lambda: _live(stack) == ["xserver"], 30, "Discord sees the bot at xserver again")
    logins = [session.site for session in sessions(stack.journal()) if session.opened_time >= began]
    assert logins == ["oci", "xserver"], "one login each"
    history = json.loads(stack.run("failover", "history", "--json", "-n", "50").stdout.splitlines()[-1])
    assert history["kind"] in ("acquired", "ready")


def test_hold_and_drain_say_what_they_will_do_and_do_it(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    page.get_by_role("button", name="Hold").click()
    page.get_by_role("combobox", name="For").click()
    page.get_by_role("option", name="30 min").click()
    _confirm(page, "if xserver dies, the bot stays offline")
    expect(page.locator(".orders")).to_contain_text(re.compile("On hold until .+: only xserver"), timeout=PATIENCE_MS)
    held = json.loads(stack.run("failover", "status", "--json").stdout)["hold"]
    assert 1_700 < held["remaining_s"] <= 1_800
    ends = page.locator(".orders time").get_attribute("datetime") or ""
    assert abs(datetime.fromisoformat(ends).timestamp() - time.time() - held["remaining_s"]) < 15
    page.get_by_role("button", name="End hold").click()
    _confirm(page, "Sites move automatically again")
    expect(page.locator(".orders")).not_to_contain_text("On hold", timeout=PATIENCE_MS)
    _act(page, "oci", "Drain")
    _confirm(page, "oci does not lead now, and will not until it is undrained")
    expect(page.locator("[data-name=site-oci] .state")).to_have_text("drained", timeout=PATIENCE_MS)
    _act(page, "xserver", "Drain")
    expect(page.get_by_role("alertdialog")).to_contain_text("the bot is OFFLINE", timeout=PATIENCE_MS)
    page.get_by_role("button", name="Cancel").click()
    _act(page, "oci", "Undrain")
    _confirm(page, "oci may lead again")
    expect(page.locator("[data-name=site-oci] .state")).to_have_text("stands by", timeout=PATIENCE_MS)
    assert stack.leader() == "xserver"


def test_acts_can_be_reached_and_left_by_keyboard(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText") == "Hold":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("alertdialog")).to_be_visible(timeout=PATIENCE_MS)
    inside = "document.querySelector('[role=alertdialog]').contains(document.activeElement)"
    page.wait_for_function(f"() => {inside}")
    page.keyboard.press("Escape")
    expect(page.get_by_role("alertdialog")).to_be_hidden(timeout=PATIENCE_MS)


def test_the_log_tail_moves(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(stack.url("console") + "/logs?query=%7Bjob%3D%22console-test%22%7D")
    expect(page.locator(".lines .hint")).to_contain_text("No line in this time", timeout=PATIENCE_MS)
    for number in range(3):
        _log(stack, f"the line <b>{number}</b>")
        expect(page.locator(".line .text").first).to_have_text(f"the line <b>{number}</b>", timeout=PATIENCE_MS)
    expect(page.locator(".line")).to_have_count(3, timeout=PATIENCE_MS)
    page.locator(".line summary").first.click()
    expect(page.locator(".line dl").first).to_contain_text("console-test", timeout=PATIENCE_MS)


def test_a_search_stands_in_its_address_and_in_the_browsers_history(stack: Stack, visitor: Visitor) -> None:
    page, console = visitor.page, stack.url("console")
    for text in ("it took (5 ms)", "it took [6 ms]", '{"msg": "in JSON", "level": "error", "took": 7}'):
        _log(stack, text, job="search-test")
    page.goto(f"{console}/logs?job=search-test&text=TOOK+(&from=now-1h&to=now")
    expect(page.locator(".line .text")).to_have_text(["it took (5 ms)"], timeout=PATIENCE_MS)
    page.get_by_label("Text").fill("json")
    expect(page.locator(".line .text")).to_have_text(["in JSON"], timeout=PATIENCE_MS)
    page.wait_for_url(re.compile(r"job=search-test&text=json&from=now-1h&to=now"))
    page.reload()
    expect(page.get_by_label("Text")).to_have_value("json", timeout=PATIENCE_MS)
    expect(page.locator(".line .text")).to_have_text(["in JSON"], timeout=PATIENCE_MS)
    page.go_back()
    expect(page.get_by_label("Text")).to_have_value("TOOK (", timeout=PATIENCE_MS)
    expect(page.locator(".line .text")).to_have_text(["it took (5 ms)"], timeout=PATIENCE_MS)
    page.locator(".line summary").first.click()
    page.get_by_role("link", name="What was logged around it").click()
    expect(page.locator(".line")).to_have_count(3, timeout=PATIENCE_MS)
    expect(page.locator(".line.marked .text")).to_have_text("it took (5 ms)", timeout=PATIENCE_MS)


def test_a_query_that_computes_is_drawn_and_not_overwritten(stack: Stack, visitor: Visitor) -> None:
    page, query = visitor.page, 'sum(count_over_time({job="compute-test"} [1m]))'
    _log(stack, "one", job="compute-test")
    page.goto(stack.url("console") + f"/logs?query={quote(query)}&from=now-15m&to=now")
    expect(page.get_by_text("This query computes numbers")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator("canvas").first).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_label("Query (LogQL)")).to_have_value(query, timeout=PATIENCE_MS)
    expect(page.get_by_label("Text")).to_be_disabled(timeout=PATIENCE_MS)
    page.get_by_role("button", name="Back to filters").click()
    expect(page.get_by_label("Text")).to_be_enabled(timeout=PATIENCE_MS)
    expect(page.locator(".line").first).to_be_visible(timeout=PATIENCE_MS)


def test_times_of_every_kind_go_into_the_address_and_back(stack: Stack, visitor: Visitor) -> None:
    page, console = visitor.page, stack.url("console")
    page.goto(f"{console}/d/rectbot-failover?from=now%2Fd&to=now%2Fd&refresh=2m")
    expect(page.get_by_role("button", name="now/d - now/d")).to_be_visible(timeout=PATIENCE_MS)
    shown = page.locator(".time-picker [aria-haspopup]")
    shown.click()
    page.locator(".quick").get_by_role("button", name="Last 1h", exact=True).click()
    page.wait_for_url(re.compile(r"from=now-1h&to=now&refresh=2m"))
    expect(page.locator(".quick")).to_be_hidden(timeout=PATIENCE_MS)
    shown.click()
    page.get_by_label("From").fill("2026-01-02 03:04")
    page.get_by_label("To", exact=True).fill("2026-01-02 05:04:05")
    page.get_by_role("button", name="Apply").click()
    zone = page.evaluate("new Date('2026-01-02T03:04').getTime()")
    page.wait_for_url(re.compile(rf"from={zone}&to={zone + 7_205_000}&refresh=2m"))
    page.go_back()
    expect(shown).to_have_text("Last 1h", timeout=PATIENCE_MS)
    page.go_back()
    expect(shown).to_have_text("now/d - now/d", timeout=PATIENCE_MS)
    for bad in ("refresh=bogus", "refresh=1500ms", "from=nowhere&to=9", "from=9&to=1", "from=now-1h&to=now-2h"):
        page.goto(f"{console}/d/rectbot-failover?{bad}")
        expect(shown).to_have_text("Last 6h", timeout=PATIENCE_MS)


def test_dragging_over_a_chart_zooms_and_the_menu_keeps_the_time(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(stack.url("console") + "/d/rectbot-failover?from=now-1h&to=now")
    chart = page.locator("[data-panel]", has=page.get_by_role("heading", name="Heartbeats", exact=True)).locator(
        "canvas"
    )
    expect(chart).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator(".panel.waiting")).to_have_count(0, timeout=PATIENCE_MS)
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 3
    page.mouse.move(box["x"] + box["width"] * 0.5, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, middle, steps=4)
    page.mouse.up()
    page.wait_for_url(re.compile(r"from=\d{13}&to=\d{13}"))
    start, end = (int(text) for text in re.findall(r"(?:from|to)=(\d{13})", page.url))
    assert 10 * 60_000 < end - start < 20 * 60_000, "a quarter of an hour's chart"
    logs = page.get_by_role("navigation").get_by_role("link", name="Log search")
    expect(logs).to_have_attribute("href", f"/logs?from={start}&to={end}", timeout=PATIENCE_MS)


def test_anything_can_be_asked_with_names_completed(stack: Stack, visitor: Visitor) -> None:
    page, console = visitor.page, stack.url("console")
    page.goto(f"{console}/explore")
    field = page.get_by_role("textbox", name="Query")
    names = page.get_by_role("option")
    for _ in range(20):  # until the names are there
        field.fill("")
        field.press_sequentially("failover_site_prio")
        if names.count():
            break
        page.wait_for_timeout(500)
    expect(names.first).to_have_text("rectbot_failover_site_priority", timeout=PATIENCE_MS)
    field.press("Tab")
    expect(field).to_have_value("rectbot_failover_site_priority", timeout=PATIENCE_MS)
    field.press("Enter")
    page.wait_for_url(re.compile(r"explore\?source=prometheus&expr=rectbot_failover_site_priority&from=now-1h&to=now"))
    expect(page.locator("canvas")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator("tbody tr")).to_have_count(2, timeout=PATIENCE_MS)
    page.goto(f"{console}/explore?source=loki&expr=sum({{")
    expect(page.locator(".note.problem").first).to_contain_text("parse error", timeout=PATIENCE_MS)
    page.goto(f"{console}/d/rectbot-failover?from=now-1h&var-site=oci")
    sites = page.locator("[data-panel]", has=page.get_by_role("heading", name="Sites", exact=True))
    sites.get_by_role("link", name="Explore this panel's query").click()
    expect(page.get_by_role("textbox", name="Query")).to_have_value(re.compile('site=~"oci"'), timeout=PATIENCE_MS)
    expect(page.locator("tbody tr")).to_have_count(1, timeout=PATIENCE_MS)


def test_own_dashboards_are_shown_and_a_broken_one_is_named(stack: Stack, visitor: Visitor) -> None:
    folder = stack.home / "docker/monitoring/grafana/dashboards"
    panel = {
        "id": 1,
        "type": "stat",
        "title": "Own $site",
        "gridPos": {"x": 0, "y": 1, "w": 6, "h": 4},
        "repeat": "site",
    }
    panel["targets"] = [{"refId": "A", "expr": 'rectbot_failover_site_priority{site="$site"}', "instant": True}]
    bars = {**panel, "id": 2, "type": "bargauge", "title": "Bars", "repeat": "", "transformations": [{"id": "odd"}]}
    bars["fieldConfig"] = {"defaults": {"thresholds": {"mode": "percentage", "steps": [{"color": "green"}]}}}
    bars["targets"] = [{"refId": "A", "expr": "rectbot_failover_site_priority", "legendFormat": "{{site}}"}]
    broken = {
        "id": 3,
        "type": "table",
        "title": "Odd",
        "targets": panel["targets"],
        "transformations": [{"id": "limit", "options": 3}],
    }
    query = {"name": "site", "type": "query", "multi": True, "includeAll": True, "datasource": {"type": "prometheus"}}
    query["query"] = "label_values(rectbot_failover_site_priority, site)"
    rows = [{"type": "row", "title": "Folded", "collapsed": True, "gridPos": {"y": 9}, "panels": [broken, bars]}]
    own = {"uid": "own", "title": "Own", "panels": [panel, *rows], "templating": {"list": [query]}}
    try:
        (folder / "own.json").write_text(json.dumps(own))
        (folder / "cut.json").write_text("{")
        page = visitor.page
        until(lambda: "Own" in _html(stack, "/d/rectbot-overview"), 15, "the folder is read again")
        page.goto(stack.url("console") + "/d/own")
        expect(page.get_by_role("heading", name="Own xserver")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_role("heading", name="Own oci")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.locator(".stat")).to_have_count(2, timeout=PATIENCE_MS)
        expect(page.get_by_text("cut.json is not shown")).to_be_visible(timeout=PATIENCE_MS)
        page.get_by_role("button", name="Folded").click()
        expect(page.locator(".bar-row")).to_have_count(2, timeout=PATIENCE_MS)
        expect(page.locator(".note.problem")).to_contain_text("cannot be drawn", timeout=PATIENCE_MS)
        page.locator(".lacking summary").click()
        expect(page.locator(".lacking .explanation")).to_contain_text("transformation odd", timeout=PATIENCE_MS)
    finally:
        (folder / "own.json").unlink()
        (folder / "cut.json").unlink()


def test_a_query_that_is_wrong_is_explained(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(stack.url("console") + "/logs?query=%7Bjob%3D")
    expect(page.locator(".problem:not(:empty)")).to_contain_text(
        "The log store does not answer this", timeout=PATIENCE_MS
    )


def test_an_alert_is_shown_and_silenced(stack: Stack, visitor: Visitor) -> None:
    page, manager = visitor.page, stack.url("alertmanager") + "/api/v2"
    alert = {"labels": {"alertname": "ConsoleTest", "severity": "warning"}, "annotations": {"summary": "only a test"}}
    _post(f"{manager}/alerts", [alert])
    row = page.locator(".alert", has_text="ConsoleTest")
    expect(row).to_contain_text("only a test", timeout=PATIENCE_MS)
    row.get_by_role("button", name="Silence").click()
    _confirm(page, "Discord is not told")
    expect(row).to_contain_text("silenced", timeout=PATIENCE_MS)
    with urllib.request.urlopen(f"{manager}/silences") as answer:
        silences = [entry for entry in json.load(answer) if entry["status"]["state"] == "active"]
    assert [(entry["comment"], entry["createdBy"][:15]) for entry in silences] == [("a test", "console (admin)")]
    row.get_by_role("button", name="End silence").click()
    expect(row).not_to_contain_text("silenced", timeout=PATIENCE_MS)
    until(lambda: any(by for by, _ in _answers(stack)), 60, "the history knows who took notice")
    assert _answers(stack) == [("console (admin)", "a test")], "of one alert, whoever told of it first"


def _answers(stack: Stack) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(stack.var / "history.db")) as history:
        found = history.execute("SELECT acknowledged_by, acknowledged_why FROM alert WHERE name = 'ConsoleTest'")
        return [(by[:15], why) if by else ("", "") for by, why in found]


def test_a_dashboard_follows_its_variables_and_keeps_them_in_its_address(stack: Stack, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(stack.url("console") + "/d/rectbot-failover?from=now-1h&var-site=oci")
    table = page.locator("[data-panel]", has=page.get_by_role("heading", name="Sites", exact=True))
    expect(table.locator("tbody tr")).to_have_count(1, timeout=PATIENCE_MS)
    expect(table.locator("tbody")).to_contain_text("oci", timeout=PATIENCE_MS)
    page.wait_for_url(re.compile(r"from=now-1h&to=now&var-site=oci"))
    link = page.locator(".links a", has_text="Logs")
    expect(link).to_have_attribute("href", "/d/rectbot-logs?var-site=oci&from=now-1h&to=now", timeout=PATIENCE_MS)


def test_the_hub_stays_small_with_its_pages_open(stack: Stack, visitor: Visitor) -> None:
    visitor.page.goto(stack.url("console") + "/d/rectbot-failover")
    expect(visitor.page.locator("canvas").first).to_be_visible(timeout=PATIENCE_MS)
    processes = map(psutil.Process, stack.leftovers())
    hub = next(process for process in processes if process.cmdline()[-2:] == ["hub", "serve"])
    assert hub.memory_info().rss < 120 * 10**6


def test_the_toolkit_leaves_no_files(stack: Stack, visitor: Visitor) -> None:
    assert list(stack.home.rglob(".nicegui")) == []


def _html(stack: Stack, path: str) -> str:
    with urllib.request.urlopen(stack.url("console") + path) as answer:
        return str(answer.read().decode())


def _log(stack: Stack, text: str, job: str = "console-test") -> None:
    streams = [{"stream": {"job": job}, "values": [[str(time.time_ns()), text]]}]
    _post(stack.url("loki") + "/loki/api/v1/push", {"streams": streams})


def _post(url: str, body: object) -> None:
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)) as answer:
        assert answer.status < 300
