"""Pushes stop, and come again: what Discord is told meanwhile, on the real servers, a minute in a second.

The rules are the committed ones; only their times are scaled down here, so that they cannot drift from a second copy.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from servers_monitoring import (
    CONFIG,
    Discord,
    alertmanager,
    changed,
    firing,
    local_discord,
    prometheus,
    pushed_groups,
    pushgateway,
    until,
)

pytestmark = pytest.mark.timeout(480)

FAST = {"scrape_interval: 15s": "scrape_interval: 250ms", "evaluation_interval: 15s": "evaluation_interval: 250ms"}
FAST_GROUPS = {"group_wait: 10s": "group_wait: 150ms", "group_interval: 30s": "group_interval: 500ms"}

THIS_HOST = {"> 0.85": "> 85", "> 2 * 1024 ^ 3": "> 2 * 1024 ^ 6"}  # how busy it is, is not the subject


def a_minute_in_a_second(rules: str) -> str:
    """The rules with minutes as seconds, and with the ages that they compare in seconds divided by 60."""
    scaled = re.sub(r"\b(\d+)m\b", r"\1s", rules)
    return changed(scaled, {"> 180": "> 3", "<= 180": "<= 3", ">= 480": ">= 8"} | THIS_HOST)


@contextmanager
def pushing(port: int) -> Iterator[None]:
    """The push agent, once a second."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = kept | {"PUSHGATEWAY_URL": f"http://127.0.0.1:{port}/metrics/job/xserver-bot", "RECTBOT_HOME": "/"}
    command = [sys.executable, "-m", "rectbot", "push", "--every", "1"]
    agent = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        agent.terminate()
        assert agent.wait(20) == 0


def titles(discord: Discord) -> list[str]:
    """The titles of the messages that Discord took, oldest first."""
    return [embed["title"] for message in discord.taken() for embed in message["embeds"]]


def test_a_silence_is_told_step_by_step_and_no_refusal_of_discord_s_loses_a_message(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    committed = CONFIG / "prometheus" / "alerts" / "xserver.yml"
    (rules / "xserver.yml").write_text(a_minute_in_a_second(committed.read_text()))
    with (
        local_discord(tmp_path) as discord,
        pushgateway(tmp_path) as behind,
        alertmanager(tmp_path / "alertmanager", discord.webhook_url, FAST_GROUPS) as manager,
        prometheus(tmp_path / "prometheus", {"pushgateway": behind, "alertmanager": manager}, FAST, rules) as server,
    ):

        def quiet() -> bool:
            return firing(server) == []

        with pushing(behind):
            until(lambda: "xserver-bot" in pushed_groups(behind), "a push arrives")
            until(quiet, "a push a second is no news")
        assert discord.received() == []

        discord.fail(429, times=2)
        until(lambda: titles(discord) == ["WARNING: XserverPushStale"], "the last push is told to be stale")
        discord.fail(500, times=2)
        missing = ["WARNING: XserverPushStale", "CRITICAL: XserverPushMissing"]
        until(lambda: titles(discord) == missing, "pushes are told to be missing")

        discord.fail(429, times=1)
        with pushing(behind):
            until(quiet, "pushes arrive again")
            until(lambda: len(titles(discord)) == 4, "that is told as well")
            assert titles(discord)[:2] == missing
            assert set(titles(discord)[2:]) == {"RESOLVED: XserverPushStale", "RESOLVED: XserverPushMissing"}

        statuses = sorted(entry["status"] // 100 * 100 for entry in discord.received())
        assert statuses == [200] * 4 + [400] * 3 + [500] * 2, "nothing is told twice"
