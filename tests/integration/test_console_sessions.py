"""Sessions of open pages: how they end, how they last, and that one gets back to where one was."""

from __future__ import annotations

import json
import signal
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Response, expect

from consoles import browser, visit
from hubs import hub, wait
from servers import free_port

PATIENCE_MS = 30_000
PATH = "/logs?last=6h&text=took"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


def _login(page: Page, password: str) -> None:
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def test_after_a_changed_password_an_open_page_goes_to_the_login_and_then_back(
    tmp_path: Path, chromium: Browser
) -> None:
    settings = {"CONSOLE_LOGIN": "true", "CONSOLE_SECRET": "one and the same", "CONSOLE_PORT": str(free_port())}
    with visit(chromium, locale="en-US") as visitor:
        page = visitor.page
        with hub(tmp_path, **settings, DASHBOARD_ADMIN_PASSWORD="the-first-one") as served:
            wait(served, "serving the console")
            page.goto(f"http://127.0.0.1:{served.console}{PATH}")
            _login(page, "the-first-one")
            expect(page.locator("h1")).to_have_text("Log search", timeout=PATIENCE_MS)
            page.wait_for_function("() => location.search.includes('from=')", timeout=PATIENCE_MS)  # in its final form
            where = page.evaluate("location.pathname + location.search")
        expect(page.locator(".lost-link")).to_be_visible(timeout=PATIENCE_MS)
        with hub(tmp_path, **settings, DASHBOARD_ADMIN_PASSWORD="the-second-one") as served:
            wait(served, "serving the console")
            expect(page.get_by_label("Password")).to_be_visible(timeout=PATIENCE_MS)
            _login(page, "the-second-one")
            expect(page.locator("h1")).to_have_text("Log search", timeout=PATIENCE_MS)
            assert page.evaluate("location.pathname + location.search") == where


def test_after_a_restart_with_the_same_password_an_open_page_comes_back_by_itself(
    tmp_path: Path, chromium: Browser
) -> None:
    settings = {"CONSOLE_LOGIN": "true", "CONSOLE_SECRET": "one and the same", "CONSOLE_PORT": str(free_port())}
    settings["DASHBOARD_ADMIN_PASSWORD"] = "the-first-one"
    with visit(chromium, locale="en-US") as visitor:
        page = visitor.page
        with hub(tmp_path, **settings) as served:
            wait(served, "serving the console")
            page.goto(f"http://127.0.0.1:{served.console}/")
            _login(page, "the-first-one")
            expect(page.locator("[data-name=leader]")).to_have_text("unknown", timeout=PATIENCE_MS)
            page.wait_for_function("() => window.did_handshake")
            served.process.send_signal(signal.SIGTERM)
            served.process.wait(20)
        expect(page.locator(".lost-link")).to_be_visible(timeout=PATIENCE_MS)
        with hub(tmp_path, **settings) as served:
            wait(served, "serving the console")
            expect(page.locator(".lost-link")).to_be_hidden(timeout=PATIENCE_MS)
            expect(page.locator("[data-name=leader]")).to_have_text("unknown", timeout=PATIENCE_MS)


def test_the_use_of_an_open_page_renews_the_cookie(tmp_path: Path, chromium: Browser) -> None:
    settings = {"CONSOLE_LOGIN": "true", "DASHBOARD_ADMIN_PASSWORD": "the-first-one"}
    with hub(tmp_path, **settings) as served, visit(chromium, locale="en-US") as visitor:
        wait(served, "serving the console")
        page, name = visitor.page, f"rectbot_console_{served.console}"
        page.clock.install()
        page.goto(f"http://127.0.0.1:{served.console}/")
        _login(page, "the-first-one")
        expect(page.locator("h1")).to_be_visible(timeout=PATIENCE_MS)

        def used(cookie: str) -> bool:
            """Whether it holds when an open page was used; each request renews a cookie, but without that."""
            return "used" in json.loads(b64decode(cookie.partition(".")[0]))

        page.locator("h1").click()
        page.wait_for_timeout(300)
        kept = next(each["value"] for each in page.context.cookies() if each["name"] == name)
        assert not used(kept), "the visit itself was just now"
        page.clock.fast_forward("06:00")
        with page.expect_response(_is_use, timeout=PATIENCE_MS) as answered:
            page.locator("h1").click()
        assert answered.value.status == 204
        given, _, renewed = (answered.value.header_value("set-cookie") or "").partition("=")
        assert given == name
        assert used(renewed)


def _is_use(answer: Response) -> bool:
    """A page whose clock leaps also asks, by GET, whether its session lasts."""
    return answer.request.method == "POST" and answer.url.endswith("/session")
