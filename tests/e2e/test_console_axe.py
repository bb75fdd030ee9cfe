"""Nothing that axe-core knows to be out of somebody's reach: on every page, in both themes and both languages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from consoles import PATHS, PATIENCE_MS, browser, violations, visit
from e2e.stack import Stack, until

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


def _settled(page: Page) -> None:
    """What comes later is there."""
    expect(page.locator("h1")).not_to_be_empty(timeout=PATIENCE_MS)
    for panel in page.locator("[data-panel]").all():
        drawn = panel.locator("canvas, .stat, td, .line, .prose, .note:not(:empty)")
        expect(drawn.first).to_be_visible(timeout=PATIENCE_MS)


def _in(page: Page, theme: Any) -> None:
    page.emulate_media(color_scheme=theme)  # which the page follows while it is open
    expect(page.locator("body")).to_have_class(re.compile(rf"body--{theme}"), timeout=PATIENCE_MS)


def _inks(page: Page) -> set[str]:
    """The colours of letters in canvases."""
    return set(page.eval_on_selector_all(".chart[data-ink]", "nodes => nodes.map(node => node.dataset.ink)"))


def _soft(page: Page) -> str:
    found: str = page.evaluate("getComputedStyle(document.body).getPropertyValue('--soft').trim()")
    return found


@pytest.mark.parametrize("language", ["en-US", "ja-JP"])
@pytest.mark.parametrize("path", PATHS)
def test_each_page_can_be_used_by_everybody(stack: Stack, chromium: Browser, path: str, language: str) -> None:
    until(lambda: stack.leader() == "xserver", 60, "xserver leads")
    with visit(chromium, locale=language, viewport={"width": 1280, "height": 900}) as visitor:
        page = visitor.page
        page.goto(stack.url("console") + path)
        _settled(page)
        for theme in ("light", "dark"):
            _in(page, theme)
            assert violations(page) == [], theme
            assert _inks(page) <= {_soft(page)}, f"what axe cannot see has the colour of the theme too: {theme}"


def test_each_chart_is_a_table_for_whoever_asks_by_keyboard(stack: Stack, chromium: Browser) -> None:
    until(lambda: stack.leader() == "xserver", 60, "xserver leads")
    with visit(chromium, locale="en-US", viewport={"width": 1280, "height": 900}) as visitor:
        page = visitor.page
        page.goto(stack.url("console") + "/d/rectbot-failover")
        _settled(page)
        charts = page.locator("[data-panel]:has(.chart-box)")
        assert charts.count() > 5
        for panel in charts.all():
            panel.get_by_role("button", name="As a table").press("Enter")
            expect(panel.locator(".chart-table")).to_be_visible(timeout=PATIENCE_MS)
            expect(panel.get_by_role("img")).to_be_hidden(timeout=PATIENCE_MS)
        assert violations(page) == []
        led = page.locator("[data-panel]", has=page.get_by_role("heading", name="Who led")).locator("tbody tr")
        expect(led.filter(has_text="xserver").filter(has_text="leads").first).to_be_visible(timeout=PATIENCE_MS)
        numbers = page.locator("[data-panel]", has=page.get_by_role("heading", name="Heartbeats"))
        assert numbers.locator("th").all_inner_texts() == ["Time", "oci", "xserver"]
        assert re.search(r"\d( ms| s)", numbers.locator("tbody tr").first.inner_text())
        numbers.get_by_role("button", name="As a table").press("Enter")
        expect(numbers.get_by_role("img")).to_be_visible(timeout=PATIENCE_MS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_dialogue_and_an_open_list_can_be_used_by_everybody(stack: Stack, chromium: Browser, scheme: Any) -> None:
    until(lambda: stack.leader() == "xserver", 60, "xserver leads")
    with visit(chromium, color_scheme=scheme, locale="en-US") as visitor:
        page = visitor.page
        page.goto(stack.url("console"))
        page.get_by_role("button", name="Hold").click()
        dialogue = page.get_by_role("alertdialog")
        expect(dialogue).to_be_visible(timeout=PATIENCE_MS)
        page.wait_for_timeout(500)  # it fades in
        assert violations(page) == []
        dialogue.get_by_role("combobox", name="For").click()
        expect(page.get_by_role("option", name="30 min")).to_be_visible(timeout=PATIENCE_MS)
        page.wait_for_timeout(500)
        assert violations(page) == []
