"""What Alertmanager hands over, as plain text: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config.

Labels may be anybody's words: each becomes one line, and what a service would act on is taken apart.
"""

from __future__ import annotations

import json
import re
from typing import Any

from foundation.terminal import one_line

_MOST_CHARACTERS = 3500
_ACTING = re.compile(r"[@<]")  # a mention in most services, and in Slack
_APART = "\u200b"


def title_and_text(body: bytes) -> tuple[str, str]:
    """Of one notification. Raises ValueError when it is none."""
    told = json.loads(body)
    alerts = _list(told["alerts"]) if isinstance(told, dict) else []
    if not alerts:
        raise ValueError("no alerts")
    common = _dict(told.get("commonLabels"))
    firing = told.get("status") == "firing"
    kind = _plain(common.get("severity") or "alert", 20).upper() if firing else "RESOLVED"
    name = _plain(common.get("alertname") or "several alerts", 100)
    parts = [_entry(alert) for alert in sorted(alerts, key=lambda each: _dict(each).get("status") != "firing")]
    text, cut = "", _count(told.get("truncatedAlerts"))
    for place, part in enumerate(parts):
        if len(text) + len(part) > _MOST_CHARACTERS:
            cut += len(parts) - place
            break
        text += part
    return f"{kind}: {name}", f"{text}and {cut} more" if cut else text.rstrip()


def _entry(alert: Any) -> str:
    alert = _dict(alert)
    notes = _dict(alert.get("annotations"))
    summary, begin = _plain(notes.get("summary", ""), 100), _moment(alert.get("startsAt"))
    if alert.get("status") != "firing":
        return f"Over: {summary}\nFrom {begin} to {_moment(alert.get('endsAt'))} UTC.\n\n"
    runbook = _plain(notes.get("runbook_url", ""), 150)
    what = f" What to do: {runbook}" if runbook else ""
    return f"{summary}\n{_plain(notes.get('description', ''), 600)}\nSince {begin} UTC.{what}\n\n"


def _moment(text: Any) -> str:
    return _plain(str(text or "?")[:19].replace("T", " "), 19)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _plain(text: Any, limit: int) -> str:
    return _ACTING.sub(lambda match: match[0] + _APART, " ".join(one_line(text).split())[:limit])


def _dict(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError("not as Alertmanager writes it")  # noqa: TRY004
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("not as Alertmanager writes it")  # noqa: TRY004
    return value
