"""The logs of the running stack: both bots ship theirs through the push proxy, and one can ask for them."""

from __future__ import annotations

import json

import pytest
import urllib3

from e2e.stack import Stack, until

pytestmark = pytest.mark.timeout(480)


def _lines(stack: Stack, query: str) -> list[dict[str, str]]:
    shown = stack.run("logs", "query", query, "-o", "json", "-n", "1000").stdout.splitlines()
    return [json.loads(json.loads(line)["line"]) for line in shown]


@pytest.mark.parametrize("site", ["xserver", "oci"])
def test_what_a_bot_logs_can_be_found(site: str, stack: Stack) -> None:
    found = until(lambda: _lines(stack, f'{{job="bot", site="{site}"}}'), 30, "lines of the bot")
    printed = stack.run("logs", f"bot-{site}", "-n", "1000").stdout
    assert all(line["msg"].splitlines()[0] in printed for line in found)


def test_a_host_that_was_killed_ships_again(stack: Stack) -> None:
    """Its spool is not held by the dead, and what was left in it is sent."""
    query = '{job="bot", site="oci"}'
    before = len(until(lambda: _lines(stack, query), 30, "lines of the bot"))
    stack.run("site", "kill", "oci")
    stack.run("site", "start", "oci")
    until(lambda: len(_lines(stack, query)) > before, 60, "new lines")
    until(lambda: not list((stack.var / "spool" / "bot-oci").glob("*.gz")), 30, "the spool is empty")


def test_prometheus_watches_the_log_store(stack: Stack) -> None:
    def health() -> bool:
        answer = urllib3.request("GET", f"{stack.url('prometheus')}/api/v1/targets", timeout=5).json()
        return [t["health"] for t in answer["data"]["activeTargets"] if t["labels"]["job"] == "loki"] == ["up"]

    until(health, 60, "the target loki is up")
