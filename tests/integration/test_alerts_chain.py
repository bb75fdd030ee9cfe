"""Prometheus -> Alertmanager -> Discord, with the committed configuration, made faster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from servers_monitoring import (
    CONFIG,
    HTTP,
    Discord,
    alertmanager,
    firing,
    local_discord,
    prometheus,
    pushgateway,
    until,
)

RULE = """
groups:
  - name: test
    rules:
      - alert: TooHot
        expr: rectbot_host_load1{job!="xserver-bot"} > 90
        labels: {severity: critical, area: test}
        annotations:
          summary: It is too hot
          description: '{{ $value }} degrees in {{ $labels.job }}, @everyone'
          runbook_url: docs/operations.md#toohot
"""
FAST_SCRAPES = {"scrape_interval: 15s": "scrape_interval: 1s", "evaluation_interval: 15s": "evaluation_interval: 1s"}
FAST_GROUPS = {"group_wait: 10s": "group_wait: 1s", "group_interval: 30s": "group_interval: 1s"}


@dataclass(frozen=True)
class Chain:
    pushgateway: int
    prometheus: int
    alertmanager: int
    discord: Discord

    def push(self, **temperatures: int) -> None:
        """As the only measurement of a room's own job: of what is pushed Prometheus lets in what it knows."""
        for room, value in temperatures.items():
            url = f"http://127.0.0.1:{self.pushgateway}/metrics/job/{room}"
            assert HTTP.request("PUT", url, body=f"rectbot_host_load1 {value}\n").status == 200

    def states(self) -> dict[str, str]:
        """By room; the committed rules' alerts may be pending beside it, when a scrape on a busy machine takes long."""
        alerts = [alert for alert in firing(self.prometheus) if alert["labels"]["alertname"] == "TooHot"]
        return {alert["labels"]["job"]: alert["state"] for alert in alerts}

    def notifications(self) -> float:
        """How many messages Alertmanager has sent, or tried to."""
        text = HTTP.request("GET", f"http://127.0.0.1:{self.alertmanager}/metrics").data.decode()
        name = 'alertmanager_notifications_total{integration="discord"} '
        return next(float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name))


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    rules = tmp_path / "rules"
    rules.mkdir()
    for committed in (CONFIG / "prometheus" / "alerts").glob("*.yml"):
        (rules / committed.name).symlink_to(committed)
    (rules / "test.yml").write_text(RULE)
    with ExitStack() as stack:
        discord = stack.enter_context(local_discord(tmp_path))
        behind = stack.enter_context(pushgateway(tmp_path))
        manager = stack.enter_context(alertmanager(tmp_path / "alertmanager", discord.webhook_url, FAST_GROUPS))
        targets = {"pushgateway": behind, "alertmanager": manager, "hub": manager}  # any server: no target is down
        server = stack.enter_context(prometheus(tmp_path / "prometheus", targets, FAST_SCRAPES, rules))
        yield Chain(behind, server, manager, discord)


def embed(message: dict[str, Any]) -> tuple[str, str]:
    (only,) = message["embeds"]
    return only["title"], only["description"]


def test_an_alert_and_its_end_reach_discord_once_each(chain: Chain) -> None:
    chain.push(kitchen=95, cellar=12)
    until(chain.discord.taken, "the alert reaches Discord")
    title, text = embed(chain.discord.taken()[0])
    assert title == "CRITICAL: TooHot"
    first, second, third = text.splitlines()
    assert (first, second) == ("**It is too hot**", "95 degrees in kitchen, @\u200beveryone")
    assert third.startswith("Since 2")
    assert third.endswith(" UTC. What to do: docs/operations.md#toohot")
    assert chain.states() == {"kitchen": "firing"}

    chain.push(kitchen=20, cellar=12)
    until(lambda: len(chain.discord.taken()) == 2, "its end reaches Discord")
    title, text = embed(chain.discord.taken()[1])
    assert title == "RESOLVED: TooHot"
    assert text.startswith("**Over: It is too hot**\nFrom 2")

    until(lambda: chain.states() == {}, "Prometheus has forgotten it")
    # Another alert comes and goes: had the first been repeated, there would be more messages.
    chain.push(kitchen=20, cellar=99)
    until(lambda: len(chain.discord.taken()) == 3, "the next alert reaches Discord")
    assert "99 degrees in cellar" in embed(chain.discord.taken()[2])[1]
    assert chain.notifications() == len(chain.discord.received()) == 3


def test_alerts_of_one_kind_come_in_one_message(chain: Chain) -> None:
    chain.push(kitchen=95, cellar=96, attic=97)
    until(chain.discord.taken, "the alerts reach Discord")
    (message,) = chain.discord.taken()
    assert embed(message)[1].count("**It is too hot**") == 3


def test_a_message_that_discord_did_not_take_is_sent_again(chain: Chain) -> None:
    chain.discord.fail(500, times=1)
    chain.push(kitchen=95)
    until(chain.discord.taken, "the alert reaches Discord in the end")
    assert [entry["status"] // 100 for entry in chain.discord.received()] == [5, 2]
