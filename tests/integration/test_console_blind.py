"""What the console says while a part of the stack is silent: real servers, stopped one by one, in both languages.

The table says what has to stand on each page while a part hangs, and what must not: nothing reassuring may be concluded
from silence, and what was there stays. Afterwards the part goes on, and so does the page, by itself.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, Page, expect

from consoles import browser, visit
from hubs import Hub, hub, wait
from logs_server import log_server
from servers import RedisServer, redis_server
from servers_monitoring import CONFIG, alertmanager, prometheus

pytestmark = pytest.mark.timeout(300)
PATIENCE_MS = 45_000  # until a scrape, the store's silence in it, and a panel's refresh
LANGUAGES = {"en": "en-US", "ja": "ja-JP"}


@dataclass(frozen=True)
class Case:
    """While `part` hangs: on `page`, by language, what is said and what is not."""

    part: str
    page: str
    said: dict[str, tuple[str, ...]]
    unsaid: dict[str, tuple[str, ...]]


CASES = [
    Case(
        "store",
        "/",
        {"en": ("Redis does not answer", "Last known: oci", "unknown"), "ja": ("Redis が応答しない", "不明", "oci")},
        {"en": ("nobody leads", "No bot is online"), "ja": ("どのボットもオンラインではありません",)},
    ),
    Case(
        "store",
        "/d/rectbot-failover?refresh=5s",
        {"en": ("Redis does not answer", "unknown"), "ja": ("Redis が応答しない", "不明")},
        {"en": ("Nobody leads", "None: moves are automatic"), "ja": ("リーダーなし", "自動切替")},
    ),
    Case(
        "prometheus",
        "/",
        {
            "en": ("Prometheus does not answer", "Unknown whether an alert fires", "Unknown whether newer pushes came"),
            "ja": ("Prometheus が応答しない", "アラートの有無は不明です", "新しいプッシュの有無は不明です"),
        },
        {"en": ("No alert is firing",), "ja": ("発生中のアラートはありません",)},
    ),
    Case(
        "prometheus",
        "/d/rectbot-overview?refresh=5s",
        {"en": ("Prometheus does not answer",), "ja": ("Prometheus が応答しない",)},
        {"en": ("Nothing fires",), "ja": ("発生なし",)},
    ),
    Case(
        "alertmanager",
        "/",
        {
            "en": ("nobody is notified of alerts", "alerts cannot be shown as it knows them"),
            "ja": ("アラートは通知されず",),
        },
        {"en": ("No alert is firing",), "ja": ("発生中のアラートはありません",)},
    ),
    Case(
        "loki",
        "/logs",
        {"en": ("The log store does not answer",), "ja": ("ログストアが応答しない",)},
        {"en": (), "ja": ()},
    ),
    Case(
        "console",
        "/",
        {"en": ("has not been heard since", "unknown"), "ja": ("コンソールの応答がありません", "不明")},
        {"en": ("Trying to reconnect",), "ja": ("Trying to reconnect",)},
    ),
    Case(
        "console",
        "/d/rectbot-overview",
        {"en": ("has not been heard since",), "ja": ("コンソールの応答がありません",)},
        {"en": ("Trying to reconnect",), "ja": ("Trying to reconnect",)},
    ),
]


@dataclass
class Parts:
    """The servers, and the console that asks them."""

    hub: Hub
    pids: dict[str, int]

    @contextmanager
    def hanging(self, part: str) -> Iterator[None]:
        """It takes connections and says nothing: no error tells of it."""
        os.kill(self.pids[part], signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pids[part], signal.SIGCONT)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    folder = tmp_path_factory.mktemp("blind")
    home, watching = folder / "home", folder / "prometheus"
    shutil.copytree(CONFIG / "grafana", home / "docker/monitoring/grafana")
    # No faster: a scrape's patience is its interval, and the exporter gives a silent store five seconds.
    fast = {"scrape_interval: 15s": "scrape_interval: 8s", "evaluation_interval: 15s": "evaluation_interval: 1s"}
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder / "redis"))
        logs = stack.enter_context(log_server(folder / "logs"))
        manager = stack.enter_context(alertmanager(folder / "alertmanager", "http://127.0.0.1:9/api/webhooks/1/x", {}))
        asked = stack.enter_context(prometheus(watching, {"alertmanager": manager}, fast, CONFIG / "prometheus/alerts"))
        stack.enter_context(_site(folder, redis))
        served = stack.enter_context(
            hub(
                home,
                **_settings(redis),
                CONSOLE_PROMETHEUS_URL=f"http://127.0.0.1:{asked}",
                CONSOLE_ALERTMANAGER_URL=f"http://127.0.0.1:{manager}",
                CONSOLE_LOKI_URL=logs.url,
            )
        )
        (watching / "targets/hub.yml").write_text(f'- targets: ["127.0.0.1:{served.metrics}"]\n')
        wait(served, "serving the console")
        assert redis.process is not None
        assert logs.process is not None
        (console,) = psutil.Process(served.process.pid).children()
        ours = {each.name()[:15]: each.pid for each in psutil.Process().children()}
        pids = {"store": redis.process.pid, "loki": logs.process.pid, "console": console.pid}
        yield Parts(served, pids | {"prometheus": ours["prometheus"], "alertmanager": ours["prometheus-aler"]})


def _settings(redis: RedisServer) -> dict[str, str]:
    return {"REDIS_PORT": str(redis.port), "REDIS_PASSWORD": redis.password, "LOCK_TTL_MS": "6000"}


@contextmanager
def _site(folder: Path, redis: RedisServer) -> Iterator[None]:
    """oci leads."""
    settings = {"FAILOVER_ENABLED": "true", "SITE_ID": "oci", "RECTBOT_HOME": str(folder), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-m", "rectbot", "failover", "run", "--", "sleep", "1000"]
    with (folder / "site.log").open("wb") as log:
        process = subprocess.Popen(command, env=settings | _settings(redis), cwd=folder, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


def _well(page: Page, path: str) -> None:
    """Everything is known."""
    expect(page.locator(".banner")).to_have_count(0, timeout=PATIENCE_MS)
    if path == "/":
        expect(page.locator("[data-name=leader]")).to_have_text("oci", timeout=PATIENCE_MS)


@pytest.mark.parametrize("part", dict.fromkeys(case.part for case in CASES))
def test_silence_is_told_and_nothing_is_concluded_from_it(parts: Parts, chromium: Browser, part: str) -> None:
    with ExitStack() as stack:
        open_pages = []
        for case in (each for each in CASES if each.part == part):
            for language, locale in LANGUAGES.items():
                page = stack.enter_context(visit(chromium, locale=locale)).page
                page.goto(f"http://127.0.0.1:{parts.hub.console}{case.page}")
                _well(page, case.page)
                open_pages.append((page, case, language))
        with parts.hanging(part):
            for page, case, language in open_pages:
                _is_blind(page, case, language)
        for page, case, _ in open_pages:
            _well(page, case.page)


def _is_blind(page: Page, case: Case, language: str) -> None:
    banner = page.locator(f".banner[data-part={case.part}]")
    expect(banner).to_be_visible(timeout=PATIENCE_MS)
    assert banner.locator("time").count() > 0, "since when"
    for text in case.said[language]:
        expect(page.locator("body")).to_contain_text(text, use_inner_text=True, timeout=PATIENCE_MS)
    for text in case.unsaid[language]:
        expect(page.locator("body")).not_to_contain_text(text, use_inner_text=True, timeout=PATIENCE_MS)
    expect(page.locator(".banner")).to_have_count(1, timeout=PATIENCE_MS)
    blind = case.part in ("store", "console")
    assert page.title().startswith("?" if blind else "oci"), "the tab does not reassure either"
    if blind and case.page == "/":
        _cannot_act(page, language)


def _cannot_act(page: Page, language: str) -> None:
    acts = page.locator(".leader button.act, .site button.act")
    assert acts.count() == 5
    for act in acts.all():
        expect(act).to_be_disabled(timeout=PATIENCE_MS)
    unknown = {"en": "unknown", "ja": "不明"}[language]
    expect(page.locator("[data-name=leader]")).to_have_text(unknown, timeout=PATIENCE_MS)
    expect(page.locator(".site .state")).to_have_text([unknown, unknown], timeout=PATIENCE_MS)
    expect(page.locator(".leader .ticker .number")).to_have_text("-", timeout=PATIENCE_MS)
