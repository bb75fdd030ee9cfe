"""What people were sent of the alerts, and whether it arrived: Alertmanager's counters, and a test of the whole way.

https://prometheus.io/docs/alerting/latest/alertmanager/
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from rectbot.console.upstream import Upstream
from rectbot.errors import RectbotError
from rectbot.samples import samples

HOURS, STEP_SECONDS = 24, 60
_ABOUT_SECONDS = 150.0  # from an alert's change to the message that tells of it: it is seen once a minute, and waits
_OURS = "webhook"  # to the hub, for the history and for services other than Discord: it has no count here
_TEST_SECONDS, _TEST_PATIENCE_SECONDS = 25, 90.0
_SENT = f'sum(alertmanager_notifications_total{{integration!="{_OURS}"}})'
_FAILED = f'sum(alertmanager_notifications_failed_total{{integration!="{_OURS}"}})'


@dataclass(frozen=True)
class Delivery:
    """Messages that were sent at about `at`, of alerts that had just begun or ended."""

    at: float
    names: tuple[str, ...]
    sent: int
    failed: int


Points = Sequence[tuple[float, float]]


class Messages:
    """Of one Alertmanager, whose counters Prometheus keeps."""

    def __init__(self, alertmanager: Upstream, prometheus: Upstream) -> None:
        self._alertmanager, self._prometheus = alertmanager, prometheus

    async def recent(self) -> tuple[Delivery, ...]:
        """Those of the last 24 hours, the newest first. Raises RectbotError."""
        end = time.time() // STEP_SECONDS * STEP_SECONDS
        sent, failed, alerts = [
            await self._range(query, end) for query in (_SENT, _FAILED, 'ALERTS{alertstate="firing"}')
        ]
        if not sent:
            raise RectbotError("Prometheus has no count of Alertmanager's messages")
        changes = [
            (moment, str(series["metric"].get("alertname", "?")))
            for series in alerts
            for moment in edges([float(point[0]) for point in series["values"]])
        ]
        return deliveries(_points(sent), _points(failed), changes)

    async def _range(self, query: str, end: float) -> list[dict[str, Any]]:
        asked = {"query": query, "start": str(end - HOURS * 3600), "end": str(end), "step": str(STEP_SECONDS)}
        found: list[dict[str, Any]] = (await self._prometheus.get("/api/v1/query_range", asked, 30))["data"]["result"]
        return found

    async def test(self, by: str) -> float:
        """Lets Alertmanager send a message of a test; returns after how many seconds it had arrived.

        Raises RectbotError with what is known of why it did not.
        """
        before, began = await self._counts(), time.monotonic()
        await self._alertmanager.send("POST", "/api/v2/alerts", [_test(by)])
        while time.monotonic() - began < _TEST_PATIENCE_SECONDS:
            await asyncio.sleep(0.5)
            sent, failed = await self._counts()
            if failed > before[1]:
                raise RectbotError("the message was refused; Alertmanager's log says why")
            if sent > before[0]:
                return time.monotonic() - began
        raise RectbotError(
            f"no message to Discord within {_TEST_PATIENCE_SECONDS:.0f} s: is DISCORD_ALERT_WEBHOOK_URL set,"
            " and is Discord reached?"
        )

    async def _counts(self) -> tuple[float, float]:
        return counts(await self._alertmanager.text("/metrics"))


def _test(by: str) -> dict[str, Any]:
    ends = datetime.now(UTC) + timedelta(seconds=_TEST_SECONDS)
    return {
        # An area of its own, so that it is not put off with another test's group.
        "labels": {"alertname": "ConsoleTest", "severity": "info", "area": f"test {secrets.token_hex(2)}"},
        "annotations": {"summary": "Only a test", "description": f"Ordered by {by}. It ends by itself."},
        "endsAt": ends.isoformat(),
    }


def counts(metrics: str) -> tuple[float, float]:
    """Messages that were tried and that failed, since Alertmanager began. Raises RectbotError."""
    sent, failed = (
        math.fsum(sample.value for sample in samples(metrics, name) if sample.labels.get("integration") != _OURS)
        for name in ("alertmanager_notifications_total", "alertmanager_notifications_failed_total")
    )
    return sent, failed


def edges(moments: Sequence[float]) -> list[float]:
    """When an alert began to fire, and when it had ceased; it is looked at each STEP_SECONDS."""
    if not moments:
        return []
    found = [moments[0]]
    for before, after in pairwise(moments):
        if after - before > 1.5 * STEP_SECONDS:
            found += [before + STEP_SECONDS, after]
    return [*found, moments[-1] + STEP_SECONDS]


def deliveries(sent: Points, failed: Points, changes: Sequence[tuple[float, str]]) -> tuple[Delivery, ...]:
    """From two counters over time; one that begins anew counts from there."""
    lost: Mapping[float, int] = dict(_grown(failed))
    found = [
        Delivery(
            at,
            tuple(sorted({name for moment, name in changes if -STEP_SECONDS <= at - moment <= _ABOUT_SECONDS})),
            count,
            min(count, lost.get(at, 0)),
        )
        for at, count in _grown(sent)
    ]
    return tuple(reversed(found))


def _grown(points: Points) -> list[tuple[float, int]]:
    grown = []
    for (_, before), (at, after) in pairwise(points):
        by = after - before if after >= before else after
        if by > 0:
            grown.append((at, round(by)))
    return grown


def _points(series: Sequence[Mapping[str, Any]]) -> Points:
    return [(float(moment), float(value)) for each in series[:1] for moment, value in each["values"]]
