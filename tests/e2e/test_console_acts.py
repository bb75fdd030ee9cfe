"""Acts from the console when something is in the way: a lost connection, a second click, a state that changes."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from consoles import PATIENCE_MS, browser, visit
from e2e.stack import Stack, until

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture
def page(stack: Stack, chromium: Browser) -> Iterator[Page]:
    """The live page, with both sites as they should be."""
    until(lambda: stack.leader() == "xserver" and _stands_by(stack), 90, "xserver leads, and oci stands by")
    with visit(chromium, locale="en-US") as visitor:
        visitor.page.goto(stack.url("console"))
        expect(visitor.page.locator("[data-name=leader]")).to_have_text("xserver", timeout=PATIENCE_MS)
        expect(_site(visitor.page, "oci").locator(".state")).to_have_text("stands by", timeout=PATIENCE_MS)
        yield visitor.page


def _stands_by(stack: Stack) -> bool:
    sites = _status(stack)["sites"]
    return "oci" in sites and bool(sites["oci"]["eligible"])


def _status(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stack.run("failover", "status", "--json").stdout)
    return found


def _events(stack: Stack) -> list[tuple[str, str]]:
    lines = stack.run("failover", "history", "--json", "-n", "60").stdout.splitlines()
    return [(event["id"], event["kind"]) for event in map(json.loads, lines)]


def _site(page: Page, name: str) -> Locator:
    return page.locator(f"[data-name=site-{name}]")


def _open(page: Page, site: str, button: str) -> Locator:
    """The dialogue; gives its button."""
    _site(page, site).get_by_role("button", name=button).click()
    go = page.get_by_role("alertdialog").locator("button.danger")
    expect(go).to_be_visible(timeout=PATIENCE_MS)
    return go


@contextmanager
def _hanging_console(stack: Stack) -> Iterator[None]:
    """The browser notices nothing of it at first: its connection is there, and what it sends waits."""
    processes = [each for each in map(psutil.Process, stack.leftovers()) if each.name() != "redis-server"]
    hub = next(each for each in processes if each.cmdline()[-2:] == ["hub", "serve"])
    console = next(each for each in hub.children() if each.cmdline()[-2:] == ["hub", "console"])
    os.kill(console.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(console.pid, signal.SIGCONT)


def test_a_click_that_comes_late_orders_nothing(stack: Stack, page: Page) -> None:
    before = _events(stack)
    go = _open(page, "oci", "Drain oci")
    expect(go).to_have_text("Drain oci")
    with _hanging_console(stack):
        go.click()
        time.sleep(6)  # of which the browser sees nothing but silence
        expect(go).to_be_disabled(timeout=PATIENCE_MS)
        expect(page.locator(".lost-link")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("Nothing was ordered: this click came late")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator(".lost-link")).to_be_hidden(timeout=PATIENCE_MS)
    assert _events(stack) == before
    assert _status(stack)["drained"] == {}


def test_two_clicks_make_one_event_also_when_both_reach_the_server(stack: Stack, page: Page) -> None:
    before = len([kind for _, kind in _events(stack) if kind == "hold"])
    page.evaluate(
        """() => { const emit = window.socket.emit.bind(window.socket);
                   window.socket.emit = (...args) => { emit(...args); return emit(...args); }; }"""
    )
    page.get_by_role("button", name="Hold").click()
    go = page.get_by_role("alertdialog").locator("button.danger")
    expect(go).to_have_text("Hold at xserver", timeout=PATIENCE_MS)
    go.dblclick()
    expect(page.locator(".orders")).to_contain_text("until somebody ends it", timeout=PATIENCE_MS)
    expect(page.locator(".outcome")).to_contain_text("only xserver may lead", timeout=PATIENCE_MS)
    assert len([kind for _, kind in _events(stack) if kind == "hold"]) == before + 1
    stack.run("failover", "unhold")


def test_the_dialogue_says_what_would_happen_now_and_not_when_it_was_opened(stack: Stack, page: Page) -> None:
    go = _open(page, "oci", "Drain oci")
    dialogue = page.get_by_role("alertdialog")
    expect(dialogue).to_contain_text("oci does not lead now")
    stack.run("failover", "switch", "oci")
    expect(dialogue).to_contain_text("The bot logs out at oci and logs in at xserver", timeout=PATIENCE_MS)
    expect(dialogue).to_contain_text("The state has changed")
    expect(go).to_be_enabled()
    dialogue.get_by_role("button", name="Cancel").click()
    stack.run("failover", "switch", "xserver")


def test_a_click_on_what_has_changed_meanwhile_orders_nothing(stack: Stack, page: Page) -> None:
    """The change and the click cross each other on their way."""
    go = _open(page, "oci", "Drain oci")
    before = _status(stack)["drained"]
    with _hanging_console(stack):
        go.click()
        stack.run("failover", "switch", "oci")
    expect(page.get_by_role("alertdialog")).to_contain_text("The state has changed", timeout=PATIENCE_MS)
    assert _status(stack)["drained"] == before == {}
    stack.run("failover", "switch", "xserver")


def test_what_cannot_be_done_is_not_offered_and_the_reason_is_the_right_one(stack: Stack, page: Page) -> None:
    stack.run("site", "stop", "oci")
    try:
        expect(_site(page, "oci").locator(".state")).to_have_text("silent", timeout=PATIENCE_MS)
        go = _open(page, "oci", "Switch to oci")
        dialogue = page.get_by_role("alertdialog")
        expect(dialogue).to_contain_text("it is not running, or is cut off from Redis", timeout=PATIENCE_MS)
        expect(go).to_be_disabled()
        dialogue.get_by_role("button", name="Cancel").click()
    finally:
        stack.run("site", "start", "oci")


def test_the_outcome_of_a_drain_is_the_real_one(stack: Stack, page: Page) -> None:
    _open(page, "xserver", "Drain xserver").click()
    outcome = re.compile(r"^oci leads since \d\d:\d\d:\d\d, logged in after \d+\.\d s\.$")
    expect(page.locator(".outcome")).to_have_text(outcome, timeout=60_000)
    assert _status(stack)["leader"]["site"] == "oci"
    go = _open(page, "xserver", "Undrain xserver")
    expect(go).to_have_text("Undrain xserver")
    go.click()
    expect(page.locator(".outcome")).to_contain_text("xserver is drained no more", timeout=PATIENCE_MS)
