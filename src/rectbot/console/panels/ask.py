"""What a panel's targets ask, and the answers.

https://prometheus.io/docs/prometheus/latest/querying/api/ and
https://grafana.com/docs/loki/latest/reference/loki-http-api/
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rectbot.console.panels.fields import number
from rectbot.console.upstream import Upstream
from rectbot.dashboards.model import Values, Variable, Window, interpolate, legend, step_of
from rectbot.logs.client.query import Entry, entries

POINTS = 240
QUANTUM_SECONDS = 5.0  # who asks within it asks for the same time, and gets the same answer
_KEPT_SECONDS = 20.0
MAX_LINES = 300


@dataclass(frozen=True)
class View:
    """Which values of the variables and which time are looked at."""

    known: tuple[Variable, ...]
    chosen: tuple[tuple[str, tuple[str, ...] | None], ...]
    start: float
    end: float

    @property
    def values(self) -> Values:
        return dict(self.chosen)

    def window(self, step: float = 15) -> Window:
        return Window(self.start, self.end, step)

    def put(self, text: str, source: str, step: float = 15) -> str:
        """The text with the variables' values."""
        return interpolate(text, source, self.known, self.values, self.window(step))


@dataclass(frozen=True)
class Series:
    """A line in a chart: moments in milliseconds and values; None where there is none."""

    name: str
    points: list[list[float | None]]


@dataclass(frozen=True)
class Sample:
    """One value with its labels, of the target `ref`."""

    ref: str
    name: str
    labels: Mapping[str, str]
    value: float


class Asker:
    """Asks for panels."""

    def __init__(self, prometheus: Upstream, loki: Upstream) -> None:
        self._servers = {"prometheus": prometheus, "loki": loki}

    async def series(self, panel: Mapping[str, Any], view: View) -> list[Series]:
        """All series of a panel over time. Raises RectbotError."""
        step = step_of(panel, view.end - view.start, POINTS)
        answers = await asyncio.gather(*(self._range(target, view, step) for target in panel.get("targets", [])))
        return [
            Series(legend(target.get("legendFormat", ""), entry["metric"]), _points(entry["values"], step))
            for target, answer in zip(panel["targets"], answers, strict=True)
            for entry in answer
        ]

    async def samples(self, panel: Mapping[str, Any], view: View) -> list[Sample]:
        """All values of a panel at the end of its time. Raises RectbotError."""
        answers = await asyncio.gather(*(self._instant(target, view) for target in panel.get("targets", [])))
        return [
            Sample(
                ref=target["refId"],
                name=legend(target["legendFormat"], entry["metric"]) if target.get("legendFormat") else "",
                labels=entry["metric"],
                value=number(entry["value"][1]),
            )
            for target, answer in zip(panel["targets"], answers, strict=True)
            for entry in answer
        ]

    async def lines(self, panel: Mapping[str, Any], view: View) -> list[Entry]:
        """The newest lines of a logs panel. Raises RectbotError."""
        found: list[Entry] = []
        for target in panel.get("targets", []):
            limit = min(int(target.get("maxLines") or MAX_LINES), MAX_LINES)
            found += await self.log(view.put(target["expr"], "loki"), view.start, view.end, limit)
        return found

    async def log(
        self, query: str, start: float, end: float, limit: int, seconds: float = QUANTUM_SECONDS
    ) -> list[Entry]:
        """The newest lines of a query. Raises RectbotError."""
        params = {
            "query": query,
            "start": str(round(start * 1e9)),
            "end": str(round(end * 1e9)),
            "limit": str(limit),
            "direction": "backward",
        }
        answer = await self._servers["loki"].get("/loki/api/v1/query_range", params, seconds)
        return entries(answer["data"]["result"])

    async def annotations(self, dashboard: Mapping[str, Any], view: View, step: float) -> list[tuple[float, str, str]]:
        """Events to mark in charts: moment in milliseconds, text, colour."""
        given = [each for each in dashboard.get("annotations", {}).get("list", []) if each.get("expr")]
        given = [each for each in given if each.get("enable", True)]
        answers = await asyncio.gather(*(self._range(each, view, step, "prometheus") for each in given))
        found = []
        for each, answer in zip(given, answers, strict=True):
            for entry in answer:
                text = legend(each.get("titleFormat") or each["name"], entry["metric"])
                before = -math.inf
                for moment, value in entry["values"]:
                    if number(value) > 0 and moment - before > 1.5 * step:
                        found.append((moment * 1000, text, each.get("iconColor", "orange")))
                    before = moment if number(value) > 0 else before
        return sorted(found)

    async def choices(self, variable: Variable, view: View) -> list[str]:
        """What a variable can be. Raises RectbotError."""
        if variable.kind != "query":
            return list(variable.choices)
        if variable.source == "loki":
            path, times = f"/loki/api/v1/label/{variable.of_label}/values", 1e9
        else:
            path, times = f"/api/v1/label/{variable.of_label}/values", 1.0
        coarse = 60.0  # a choice may come up to a minute late; each page asks, with every change of the time
        start, end = math.floor(view.start / coarse) * coarse, math.ceil(view.end / coarse) * coarse
        params = {"start": str(round(start * times)), "end": str(round(end * times))}
        if variable.metric:
            params["match[]"] = view.put(variable.metric, "prometheus")
        answer = await self._servers[variable.source].get(path, params, _KEPT_SECONDS)
        return sorted(answer.get("data") or ())

    async def _range(
        self, target: Mapping[str, Any], view: View, step: float, source: str | None = None
    ) -> list[dict[str, Any]]:
        source = source or _source(target)
        aligned = [math.floor(moment / step) * step for moment in (view.start, view.end)]
        params = {
            "query": view.put(target["expr"], source, step),
            "start": _moment(aligned[0], source),
            "end": _moment(aligned[1], source),
            "step": f"{step:g}",
        }
        path = "/loki/api/v1/query_range" if source == "loki" else "/api/v1/query_range"
        answer = await self._servers[source].get(path, params, min(step, _KEPT_SECONDS))
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    async def _instant(self, target: Mapping[str, Any], view: View) -> list[dict[str, Any]]:
        source = _source(target)
        params = {"query": view.put(target["expr"], source), "time": _moment(view.end, source)}
        path = "/loki/api/v1/query" if source == "loki" else "/api/v1/query"
        answer = await self._servers[source].get(path, params, QUANTUM_SECONDS)
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found


def _source(target: Mapping[str, Any]) -> str:
    return "loki" if target.get("queryType") else "prometheus"


def _moment(seconds: float, source: str) -> str:
    return str(round(seconds * 1e9)) if source == "loki" else f"{seconds:.3f}"


def _points(values: list[list[Any]], step: float) -> list[list[float | None]]:
    """With a None in each gap, so that no line is drawn over what is not known."""
    found: list[list[float | None]] = []
    before = math.inf
    for moment, text in values:
        if moment - before > 1.5 * step:
            found.append([(before + step) * 1000, None])
        value = number(text)
        found.append([moment * 1000, value if math.isfinite(value) else None])
        before = moment
    return found
