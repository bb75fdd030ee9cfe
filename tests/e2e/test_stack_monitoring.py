"""The monitoring around the bot, on its real servers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import urllib3

from e2e.stack import Stack, until

pytestmark = pytest.mark.timeout(480)

RULE = """groups:
  - name: test
    interval: 1s
    rules:
      - alert: EndToEnd
        expr: rectbot_host_load1{job="end-to-end"} == 1
        labels: {severity: warning, area: test}
        annotations: {summary: "an end-to-end test", description: "value {{ $value }}"}
"""


def _get_json(url: str) -> Any:
    return json.loads(urllib3.request("GET", url, timeout=5).data)


def _push(stack: Stack, value: int) -> None:
    url = f"{stack.url('pushgateway')}/metrics/job/end-to-end"
    body = f"# TYPE rectbot_host_load1 gauge\nrectbot_host_load1 {value}\n"  # the type that others push it with
    assert urllib3.request("PUT", url, body=body.encode(), timeout=5).status in (200, 202)


def _reload_prometheus(stack: Stack) -> None:
    """With a signal: over HTTP any page in somebody's browser could do it."""
    refused = urllib3.request("POST", f"{stack.url('prometheus')}/-/reload", timeout=5)
    assert refused.status == 403, "lifecycle requests are off"
    loaded = "prometheus_config_last_reload_success_timestamp_seconds "
    before = urllib3.request("GET", f"{stack.url('prometheus')}/metrics", timeout=5).data.decode()
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error):
            if process.info["name"] == "prometheus" and process.environ().get("RECTBOT_STACK") == str(stack.var):
                process.send_signal(signal.SIGHUP)
    line = next(line for line in before.splitlines() if line.startswith(loaded))
    metrics = f"{stack.url('prometheus')}/metrics"
    until(lambda: line not in urllib3.request("GET", metrics, timeout=5).data.decode(), 20, "Prometheus has reloaded")


def _messages(stack: Stack, word: str) -> list[str]:
    texts = [json.dumps(entry["payload"]) for entry in _get_json(f"{stack.url('discord')}/webhooks")]
    return [text for text in texts if word in text]


def test_an_alert_reaches_discord_once_and_so_does_its_resolution(stack: Stack) -> None:
    rule = stack.home / "docker" / "monitoring" / "prometheus" / "alerts" / "end-to-end.yml"
    rule.write_text(RULE)
    try:
        _reload_prometheus(stack)
        # For some seconds after it Prometheus knows no Alertmanager; an alert of then is sent a minute later.
        known = f"{stack.url('prometheus')}/api/v1/alertmanagers"
        until(lambda: _get_json(known)["data"]["activeAlertmanagers"], 20, "Prometheus knows Alertmanager")
        _push(stack, 1)
        began = time.monotonic()
        until(lambda: _messages(stack, "EndToEnd"), 60, "the alert is in Discord")
        assert time.monotonic() - began < 60
        _push(stack, 0)
        until(lambda: len(_messages(stack, "EndToEnd")) >= 2, 90, "its resolution is in Discord")
        first, second, *more = _messages(stack, "EndToEnd")
        assert more == []
        assert "resolved" not in first.lower()
        assert "resolved" in second.lower()
    finally:
        rule.unlink()
        _reload_prometheus(stack)
        urllib3.request("DELETE", f"{stack.url('pushgateway')}/metrics/job/end-to-end", timeout=5)


def test_prometheus_scrapes_everything_and_sees_the_leader(stack: Stack) -> None:
    def all_up() -> bool:
        targets = _get_json(f"{stack.url('prometheus')}/api/v1/targets")["data"]["activeTargets"]
        expected = {"prometheus", "pushgateway", "alertmanager", "hub", "loki"}
        healthy = all(target["health"] == "up" for target in targets)
        return {target["labels"]["job"] for target in targets} >= expected and healthy

    until(all_up, 60, "all targets are up")
    query = f"{stack.url('prometheus')}/api/v1/query?query=rectbot_failover_leader"
    samples = until(lambda: _get_json(query)["data"]["result"], 60, "the leader is known")
    assert {sample["metric"]["site"]: sample["value"][1] for sample in samples} == {"xserver": "1", "oci": "0"}


def test_what_dies_is_restarted(stack: Stack) -> None:
    before = _pid_of(stack, "prometheus-alertmanager")
    os.kill(before, signal.SIGKILL)
    until(lambda: _pid_of(stack, "prometheus-alertmanager") not in (0, before), 20, "a new Alertmanager")
    until(lambda: stack.status()["components"]["alertmanager"]["healthy"], 20, "it is healthy")


def _pid_of(stack: Stack, name: str) -> int:
    for pid in stack.leftovers():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
        except OSError:
            continue
        if command.decode().endswith(name):
            return pid
    return 0


def test_no_secret_is_in_a_log_or_a_process_list(stack: Stack) -> None:
    secrets = [
        line.partition("=")[2]
        for line in (stack.home / ".env").read_text().splitlines()
        if "PASSWORD=" in line and not line.endswith("=")
    ]
    assert len(secrets) >= 3, "the passwords that init has made"
    listed = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    logged = "".join(path.read_text(errors="replace") for path in (stack.var / "log").iterdir())
    assert "GET" in logged or len(logged) > 1000
    for secret in secrets:
        assert secret not in listed
        assert secret not in logged


def test_everything_listens_on_loopback_only(stack: Stack) -> None:
    pids = set(stack.leftovers())
    listening = [
        connection.laddr.ip
        for connection in psutil.net_connections("inet")
        if connection.laddr and connection.pid in pids and connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 9
    assert set(listening) == {"127.0.0.1"}


def test_logs_shows_a_components_output(stack: Stack) -> None:
    assert "Server is ready" in stack.run("logs", "prometheus", "-n", "1000").stdout
    unknown = stack.run("logs", "nobody", check=False)
    assert unknown.returncode == 2
    assert "prometheus" in unknown.stderr
