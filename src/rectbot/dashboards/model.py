"""Reading dashboards as Grafana does: their files, their steps, and the queries that come of both.

Without the SDK, which only building them needs. Sources: Grafana's documentation of variables
(https://grafana.com/docs/grafana/latest/dashboards/variables/), and of `$__rate_interval`
(https://grafana.com/docs/grafana/latest/datasources/prometheus/template-variables/).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rectbot.dashboards.interpolation import Values, Window, chosen_pattern, interpolate, quoted_inside
from rectbot.dashboards.variables import Variable, variables
from rectbot.errors import RectbotError

__all__ = [
    "Values",
    "Variable",
    "Window",
    "chosen_pattern",
    "interpolate",
    "quoted_inside",
    "variables",
]
NAMES = ("overview", "hosts", "failover", "logs")
Json = Mapping[str, Any]

_STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_UNITS = {"y": 365 * 86400, "w": 7 * 86400, "d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}
_DURATION = re.compile(r"([0-9]+)(ms|[ywdhms])")
_LONGEST = 16  # characters of a duration


def load(folder: Path) -> dict[str, dict[str, Any]]:
    """Our own dashboards by uid, in their order. Raises RectbotError when one cannot be read."""
    dashboards = {}
    for name in NAMES:
        path = folder / f"{name}.json"
        try:
            dashboard = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RectbotError(f"{path}: cannot be read ({error}); make it anew: rectbot dashboards build") from None
        dashboards[dashboard["uid"]] = dashboard
    return dashboards


def panels(dashboard: Json) -> list[dict[str, Any]]:
    """The panels, in the order of reading."""
    found: list[dict[str, Any]] = dashboard.get("panels", [])
    return found


def targets(dashboard: Json) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each panel with each of its queries."""
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            yield panel, target


def source_of(panel: Json, target: Json, known: Sequence[Variable]) -> str:
    """Which kind of server a query goes to: prometheus, loki, or the name of what we do not have."""
    for each in (target.get("datasource"), panel.get("datasource")):
        found = _kind(each, known)
        if found and found != "mixed":
            return found
    return "prometheus"


def _kind(given: object, known: Sequence[Variable]) -> str:
    """A data source may be an object, a name, or a variable; older files have only the name."""
    if isinstance(given, Mapping):
        kind = str(given.get("type") or "")
        return kind if kind and not kind.startswith("$") else _kind(given.get("uid"), known)
    text = str(given or "")
    name = text.strip("${}")
    for variable in known:
        if variable.kind == "datasource" and variable.name == name:
            return variable.source
    if "mixed" in text.lower():
        return "mixed"
    if text.startswith("--"):
        return text.strip("- ").lower()
    return "" if not text else "loki" if "loki" in text.lower() else "prometheus"


def seconds(text: str) -> float:
    """The seconds of a duration such as 90s or 1h30m. Raises RectbotError."""
    if len(text) > _LONGEST or not re.fullmatch(f"(?:{_DURATION.pattern})+", text):
        raise RectbotError(f"{text[:_LONGEST]!r} is no duration; write for example 15m or 6h")
    return sum(int(count) * _UNITS[unit] for count, unit in _DURATION.findall(text))


def lenient_seconds(text: object) -> float:
    """The same of what a dashboard's file says, such as >10s; 0 where that is no duration."""
    try:
        return seconds(str(text or "").strip().lstrip(">").strip())
    except RectbotError:
        return 0.0


def step_of(panel: Json, length: float, points: int = 300, scrape: float = 15) -> float:
    """The step for a panel that shows `length` seconds in about so many points: round, and no less than is sensible.

    That is the scrape interval or, where the panel has one, its own `interval`.
    """
    least = max(scrape, seconds(panel["interval"]) if panel.get("interval") else 0)
    return max(least, next((step for step in _STEPS if step * points >= length), _STEPS[-1]))


def legend(template: str, labels: Mapping[str, str]) -> str:
    """A series' name: `{{label}}` in the template is replaced; without a template it is what Prometheus writes."""
    if not template:
        inner = ", ".join(f"{name}={json.dumps(value)}" for name, value in labels.items() if name != "__name__")
        return f"{labels.get('__name__', '')}{{{inner}}}"
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), template)
