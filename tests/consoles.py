"""What the console's tests share: a browser, and pages that notice everything that goes wrong in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, Response, sync_playwright

CHROMIUM = "/usr/bin/chromium"
PATIENCE_MS = 40_000  # for a condition; what it really takes is measured by bench/console.py
DASHBOARDS = ("rectbot-overview", "rectbot-hosts", "rectbot-failover", "rectbot-logs")
PATHS = ("/", "/history", "/logs", "/explore", *(f"/d/{uid}" for uid in DASHBOARDS))


def launch(playwright: Playwright) -> Browser:
    """Debian's Chromium, without a window; the sandbox cannot be had by root."""
    return playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser of the caller's own."""
    with sync_playwright() as playwright:
        started = launch(playwright)
        try:
            yield started
        finally:
            started.close()


AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def violations(page: Page) -> list[str]:
    """What axe-core finds to be out of somebody's reach: each as rule, place and reason."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:160]}: {node['failureSummary'][:300]}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


@dataclass
class Visitor:
    """A page, and what happened in it: requests by host, messages of errors, answers that were refusals."""

    page: Page
    hosts: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc or request.url[:40]))
        self.page.on("websocket", lambda socket: self.hosts.add(urlsplit(socket.url).netloc))
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.errors.append(f"{error}"))
        self.page.on("response", self._answered)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.errors.append(f"{response.status} {response.url}")


@contextmanager
def visit(browser: Browser, **options: Any) -> Iterator[Visitor]:
    """A visitor with a profile of its own."""
    context: BrowserContext = browser.new_context(**options)
    try:
        yield Visitor(context.new_page())
    finally:
        context.close()
