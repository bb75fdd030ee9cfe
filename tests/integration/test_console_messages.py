"""The console's test message goes the whole way to where people read it, or it is said that it did not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, expect

from consoles import browser, visit
from hubs import Hub, hub, wait
from servers_monitoring import Discord, alertmanager, local_discord, prometheus

pytestmark = pytest.mark.timeout(240)
PATIENCE_MS = 90_000
FAST = {"scrape_interval: 15s": "scrape_interval: 1s", "evaluation_interval: 15s": "evaluation_interval: 1s"}


@dataclass
class Way:
    hub: Hub
    discord: Discord


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    folder = tmp_path_factory.mktemp("messages")
    with ExitStack() as stack:
        discord = stack.enter_context(local_discord(folder))
        discord.start_afresh()
        manager = stack.enter_context(
            alertmanager(folder / "alertmanager", discord.webhook_url, {"group_wait: 10s": "group_wait: 1s"})
        )
        no_rules = folder / "rules"
        no_rules.mkdir()
        asked = stack.enter_context(prometheus(folder / "prometheus", {"alertmanager": manager}, FAST, no_rules))
        urls = {"PROMETHEUS": asked, "ALERTMANAGER": manager}
        served = stack.enter_context(
            hub(folder, **{f"CONSOLE_{name}_URL": f"http://127.0.0.1:{port}" for name, port in urls.items()})
        )
        wait(served, "serving the console")
        yield Way(served, discord)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


def test_a_test_message_arrives_or_it_is_said_that_it_did_not(way: Way, chromium: Browser) -> None:
    with visit(chromium, locale="en-US") as visitor:
        page = visitor.page
        page.goto(f"http://127.0.0.1:{way.hub.console}/")
        send = page.get_by_role("button", name="Send a test message")
        send.click()
        expect(page.locator(".outcome")).to_contain_text("The test message arrived at", timeout=PATIENCE_MS)
        assert any("ConsoleTest" in str(message) for message in way.discord.taken())
        way.discord.fail(400)
        expect(send).to_be_enabled(timeout=PATIENCE_MS)
        send.click()
        expect(page.locator(".outcome")).to_contain_text("Not done: the message was refused", timeout=PATIENCE_MS)
