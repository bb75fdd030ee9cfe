"""The history of a stack that runs: who leads, what Alertmanager tells, and a report of it."""

from __future__ import annotations

import json
import urllib.request
from datetime import UTC, datetime
from typing import Any

from e2e.stack import Stack, until


def _report(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stack.run("report", "--since", "1h", "--format", "json").stdout)
    return found


def test_the_hub_records_leaders_and_alerts(stack: Stack) -> None:
    until(stack.leader, 60, "a leader")
    alert = [{"labels": {"alertname": "Proof", "severity": "warning"}, "startsAt": datetime.now(UTC).isoformat()}]
    address, kind = f"{stack.url('alertmanager')}/api/v2/alerts", {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(address, json.dumps(alert).encode(), kind)).close()

    def recorded() -> dict[str, Any] | None:
        found = _report(stack)
        return found if found["logins"] and found["alerts"].get("Proof") else None

    found = until(recorded, 90, "a login and an alert in the history")
    assert stack.leader() in found["by_site"]
    assert 0 < found["availability"] <= 1
    first = found["outages"][0]
    assert first["cause"].startswith("no bot had logged in yet"), "until the first login it is down"
    kinds = [json.loads(line)["kind"] for line in stack.run("history", "export").stdout.splitlines()]
    assert kinds.index("acquired") < kinds.index("ready")
    assert "rectbot_history_up 1.0" in urllib.request.urlopen(f"{stack.url('hub')}/metrics").read().decode()
