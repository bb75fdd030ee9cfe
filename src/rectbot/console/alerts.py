"""Firing alerts and their silences: Alertmanager's API v2.

https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from rectbot.console.upstream import Upstream

_ORDER = {"critical": 0, "warning": 1}
_UNTOLD_SECONDS = 60.0  # Prometheus tells Alertmanager within seconds, and again and again


@dataclass(frozen=True)
class Alert:
    """One alert; `since` in Unix time, `silences` by their ids. `told`: Alertmanager knows it, so that others may."""

    labels: tuple[tuple[str, str], ...]
    summary: str
    description: str
    since: float
    silences: tuple[str, ...] = ()
    inhibited: bool = False
    runbook: str = ""
    told: bool = True

    @property
    def name(self) -> str:
        return dict(self.labels).get("alertname", "?")

    @property
    def severity(self) -> str:
        return dict(self.labels).get("severity", "")


class Alerts:
    """Asks and tells one Alertmanager."""

    def __init__(self, alertmanager: Upstream) -> None:
        self._alertmanager = alertmanager

    async def firing(self) -> tuple[Alert, ...]:
        """All that Alertmanager knows, in order. Raises RectbotError."""
        answer: list[dict[str, Any]] = await self._alertmanager.get("/api/v2/alerts")
        return _ordered([_alert(entry) for entry in answer])

    async def silence(self, alert: Alert, duration: timedelta, by: str, why: str) -> str:
        """Silences exactly this alert; returns the silence's id. Raises RectbotError."""
        now = datetime.now(UTC)
        body = {
            "matchers": [{"name": n, "value": v, "isRegex": False, "isEqual": True} for n, v in alert.labels],
            "startsAt": now.isoformat(),
            "endsAt": (now + duration).isoformat(),
            "createdBy": by,
            "comment": why,
        }
        answer = await self._alertmanager.send("POST", "/api/v2/silences", body)
        return str(answer["silenceID"])

    async def unsilence(self, alert: Alert) -> None:
        """Ends the silences that this alert is under. Raises RectbotError."""
        for name in alert.silences:
            await self._alertmanager.send("DELETE", f"/api/v2/silence/{name}")


def firing_in(answer: Any) -> tuple[Alert, ...]:
    """Those that fire in Prometheus's own words (/api/v1/alerts), in order; whom it told of them is not known."""
    given = [entry for entry in answer["data"]["alerts"] if entry["state"] == "firing"]
    return _ordered([_noted(entry, entry["activeAt"]) for entry in given])


def merged(told: Sequence[Alert], firing: Sequence[Alert], now: float) -> tuple[Alert, ...]:
    """What Alertmanager knows, and what it should know for some time and does not: of that nobody is notified."""
    known = [set(alert.labels) for alert in told]
    untold = [
        replace(alert, told=False)
        for alert in firing
        if now - alert.since > _UNTOLD_SECONDS and not any(known_labels >= set(alert.labels) for known_labels in known)
    ]
    return _ordered([*told, *untold])


def _ordered(alerts: Sequence[Alert]) -> tuple[Alert, ...]:
    """The worst first, silenced ones last."""
    return tuple(sorted(alerts, key=lambda a: (bool(a.silences), _ORDER.get(a.severity, 2), a.name, a.labels)))


def _alert(entry: dict[str, Any]) -> Alert:
    found = _noted(entry, entry["startsAt"])
    status = entry["status"]
    return replace(found, silences=tuple(status["silencedBy"]), inhibited=bool(status["inhibitedBy"]))


def _noted(entry: dict[str, Any], since: str) -> Alert:
    notes = entry.get("annotations", {})
    return Alert(
        labels=tuple(sorted(entry["labels"].items())),
        summary=notes.get("summary", ""),
        description=notes.get("description", ""),
        since=datetime.fromisoformat(since).timestamp(),
        runbook=notes.get("runbook_url", ""),
    )
