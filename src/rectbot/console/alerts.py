"""Firing alerts and their silences: Alertmanager's API v2.

https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rectbot.console.upstream import Upstream

_ORDER = {"critical": 0, "warning": 1}


@dataclass(frozen=True)
class Alert:
    """One alert; `since` in Unix time, `silences` by their ids."""

    labels: tuple[tuple[str, str], ...]
    summary: str
    description: str
    since: float
    silences: tuple[str, ...]
    inhibited: bool

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

    async def firing(self, seconds: float) -> tuple[Alert, ...]:
        """All that fire, at most `seconds` old; the worst first, silenced ones last. Raises RectbotError."""
        answer: list[dict[str, Any]] = await self._alertmanager.get("/api/v2/alerts", seconds=seconds)
        found = (_alert(entry) for entry in answer)
        return tuple(sorted(found, key=lambda a: (bool(a.silences), _ORDER.get(a.severity, 2), a.name, a.labels)))

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


def _alert(entry: dict[str, Any]) -> Alert:
    notes = entry.get("annotations", {})
    return Alert(
        labels=tuple(sorted(entry["labels"].items())),
        summary=notes.get("summary", ""),
        description=notes.get("description", ""),
        since=datetime.fromisoformat(entry["startsAt"]).timestamp(),
        silences=tuple(entry["status"]["silencedBy"]),
        inhibited=bool(entry["status"]["inhibitedBy"]),
    )
