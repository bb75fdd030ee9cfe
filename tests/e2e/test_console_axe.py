"""Nothing that axe-core knows to be out of somebody's reach: on every page, in both themes and both languages.

https://github.com/dequelabs/axe-core/blob/develop/doc/rule-descriptions.md
"""

from __future__ import annotations

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


@pytest.mark.parametrize(("scheme", "language"), [("light", "en-US"), ("dark", "ja-JP")])
@pytest.mark.parametrize("path", PATHS)
def test_each_page_can_be_used_by_everybody(
    stack: Stack, chromium: Browser, path: str, scheme: Any, language: str
) -> None:
    until(lambda: stack.leader() == "xserver", 60, "xserver leads")
    size = {"width": 1280, "height": 900}
    with visit(chromium, color_scheme=scheme, locale=language, viewport=size) as visitor:
        visitor.page.goto(stack.url("console") + path)
        _settled(visitor.page)
        assert violations(visitor.page) == []


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
