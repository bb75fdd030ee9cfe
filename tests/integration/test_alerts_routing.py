"""Which alerts are told, how often, and which are left out because another one says it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rectbot.alerts.alertmanager import render_native
from servers_monitoring import CONFIG, HTTP, alertmanager, until

COMMITTED = CONFIG / "alertmanager" / "alertmanager.yml"
RULES = sorted((CONFIG / "prometheus" / "alerts").glob("*.yml"))
LABELS = {
    rule["alert"]: rule["labels"]
    for file in RULES
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}

Alert = dict[str, str]


def alert(name: str, **labels: str) -> Alert:
    """A committed alert, with the labels that its rule gives it and those of its series."""
    return {"alertname": name, **LABELS[name], **labels}


# What fires together, and which of it is told.
TOGETHER: dict[str, tuple[list[Alert], set[str]]] = {
    "missing says more than stale": (
        [alert("XserverPushMissing", job="xserver-bot"), alert("XserverPushStale", job="xserver-bot")],
        {"XserverPushMissing"},
    ),
    "another job's missing says nothing of this one": (
        [alert("XserverPushMissing", job="other"), alert("XserverPushStale", job="xserver-bot")],
        {"XserverPushMissing", "XserverPushStale"},
    ),
    "nothing is known without the Pushgateway": (
        [alert("PushgatewayDown"), alert("XserverPushStale", job="xserver-bot"), alert("DiskFilling", job="hub")],
        {"PushgatewayDown", "DiskFilling"},
    ),
    "no push comes through a dead proxy": (
        [alert("PushProxyDown"), alert("XserverPushMissing", job="xserver-bot"), alert("XserverHighCPU")],
        {"PushProxyDown", "XserverHighCPU"},
    ),
    "no Redis, no leader": (
        [alert("RedisDown", job="hub"), alert("FailoverNoLeader"), alert("FailoverSiteSilent", site="oci")],
        {"RedisDown"},
    ),
    "no hub, no news of the failover": (
        [alert("TargetDown", job="hub"), alert("RedisDown", job="hub"), alert("FailoverNoLeader")],
        {"TargetDown"},
    ),
    "another target's absence is no reason": (
        [alert("TargetDown", job="loki"), alert("RedisDown", job="hub")],
        {"TargetDown", "RedisDown"},
    ),
    "a silent site cannot lead": (
        [alert("FailoverSiteSilent", site="xserver"), alert("FailoverNotPreferred", site="xserver")],
        {"FailoverSiteSilent"},
    ),
    "the other site's silence is no reason": (
        [alert("FailoverSiteSilent", site="oci"), alert("FailoverNotPreferred", site="xserver")],
        {"FailoverSiteSilent", "FailoverNotPreferred"},
    ),
    "two leaders are the news": (
        [alert("FailoverTwoLeaders"), alert("FailoverFlapping"), alert("FailoverLoginBudgetLow")],
        {"FailoverTwoLeaders", "FailoverLoginBudgetLow"},
    ),
}


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    changes = {"group_wait: 10s": "group_wait: 10ms"}
    folder = tmp_path_factory.mktemp("routing")
    with alertmanager(folder, "http://127.0.0.1:9/api/webhooks/1/nobody", changes) as port:
        yield port


@pytest.mark.parametrize(("together", "told"), TOGETHER.values(), ids=TOGETHER)
def test_what_follows_from_another_alert_is_not_told(together: list[Alert], told: set[str], manager: int) -> None:
    url = f"http://127.0.0.1:{manager}/api/v2/alerts"
    assert HTTP.request("POST", url, json=[{"labels": labels} for labels in together]).status == 200

    def states() -> dict[str, str]:
        known: list[dict[str, Any]] = HTTP.request("GET", url).json()
        return {entry["labels"]["alertname"]: entry["status"]["state"] for entry in known}

    wanted = {each["alertname"]: "active" if each["alertname"] in told else "suppressed" for each in together}
    try:
        until(lambda: states() == wanted, f"{wanted}, not {states()}", timeout=10)
    finally:
        ended = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 1))
        HTTP.request("POST", url, json=[{"labels": labels, "endsAt": ended} for labels in together])
        until(lambda: states() == {}, "it is over", timeout=10)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("amtool") / "alertmanager.yml"
    path.write_text(render_native(COMMITTED, "http://127.0.0.1:9/api/webhooks/1/nobody"))
    return path


@pytest.mark.parametrize("name", LABELS)
def test_every_alert_reaches_discord(name: str, rendered: Path) -> None:
    labels = [f"{key}={value}" for key, value in alert(name).items()]
    command = ["amtool", "config", "routes", "test", f"--config.file={rendered}", "--verify.receivers=discord"]
    result = subprocess.run([*command, *labels], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_what_is_critical_is_repeated_sooner(rendered: Path) -> None:
    route = yaml.safe_load(rendered.read_text())["route"]
    (critical,) = route["routes"]
    assert critical == {"matchers": ["severity = critical"], "repeat_interval": "4h"}
    assert route["repeat_interval"] == "1d"
    command = ["amtool", "config", "routes", "show", f"--config.file={rendered}"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert '{severity="critical"}  receiver: discord' in shown
