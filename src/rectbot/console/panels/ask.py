"""What a panel's targets ask, and the answers.

https://prometheus.io/docs/prometheus/latest/querying/api/ and
https://grafana.com/docs/loki/latest/reference/loki-http-api/
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rectbot.console.panels.frames import Frame, number, series_frames, table_frame
from rectbot.console.upstream import Upstream
from rectbot.dashboards.model import Values, Variable, Window, interpolate, legend, lenient_seconds, source_of, step_of
from rectbot.errors import RectbotError
from rectbot.logs.client.query import Entry, entries

POINTS = 240
QUANTUM_SECONDS = 5.0  # who asks within it asks for the same time, and gets the same answer
_KEPT_SECONDS = 20.0
MAX_LINES = 300
Json = Mapping[str, Any]


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

    def of(self, panel: Json) -> View:
        """The time of a panel that has one of its own (`timeFrom`), or one that is shifted (`timeShift`)."""
        found = self
        if length := lenient_seconds(panel.get("timeFrom")):
            found = replace(found, start=found.end - length)
        if shift := lenient_seconds(panel.get("timeShift")):
            found = replace(found, start=found.start - shift, end=found.end - shift)
        return found


class Asker:
    """Asks for panels."""

    def __init__(self, prometheus: Upstream, loki: Upstream) -> None:
        self._servers = {"prometheus": prometheus, "loki": loki}

    async def frames(self, panel: Json, view: View) -> list[Frame]:
        """The answers to all of a panel's queries, in their order. Raises RectbotError."""
        targets = [each for each in panel.get("targets") or [] if not each.get("hide") and each.get("expr")]
        tables = sum(each.get("format") == "table" for each in targets)
        answers = await asyncio.gather(*(self._target(panel, each, view, many=tables > 1) for each in targets))
        return [frame for answer in answers for frame in answer]

    async def _target(self, panel: Json, target: Json, view: View, *, many: bool) -> list[Frame]:
        source, ref = source_of(panel, target, view.known), str(target.get("refId", ""))
        step = self.step(panel, view, target)
        answer = await (self._instant if _is_instant(target) else self._range)(target, source, view, step)
        if target.get("format") == "table":
            return [table_frame(ref, answer, many=many)]
        return series_frames(ref, view.put(target.get("legendFormat") or "", ""), answer)

    @staticmethod
    def step(panel: Json, view: View, target: Json | None = None) -> float:
        """Seconds between two values of a panel, or of one of its queries."""
        target = target or {}
        least = lenient_seconds(view.put(str(target.get("interval") or panel.get("interval") or ""), ""))
        points = int(panel.get("maxDataPoints") or POINTS)
        found = step_of(
            {"interval": f"{least:.0f}s"} if least else {}, view.end - view.start, max(2, min(points, 1_000))
        )
        return found * max(1, int(target.get("intervalFactor") or 1))

    async def lines(self, panel: Json, view: View) -> list[Entry]:
        """The newest lines of a logs panel. Raises RectbotError."""
        found: list[Entry] = []
        for target in panel.get("targets") or []:
            if target.get("hide") or not target.get("expr"):
                continue
            limit = min(int(target.get("maxLines") or MAX_LINES), MAX_LINES)
            found += await self.log(view.put(target["expr"], "loki"), view.start, view.end, limit)
        return found

    async def log(
        self,
        query: str,
        start: float,
        end: float,
        limit: int,
        seconds: float = QUANTUM_SECONDS,
        *,
        forward: bool = False,
    ) -> list[Entry]:
        """The newest lines of a query, or the oldest. Raises RectbotError."""
        params = {
            "query": query,
            "start": str(round(start * 1e9)),
            "end": str(round(end * 1e9)),
            "limit": str(limit),
            "direction": "forward" if forward else "backward",
        }
        answer = await self._servers["loki"].get("/loki/api/v1/query_range", params, seconds)
        if answer["data"].get("resultType") != "streams":
            raise RectbotError("this query computes numbers; it brings no lines")
        return entries(answer["data"]["result"])

    async def annotations(self, dashboard: Json, view: View, step: float) -> list[tuple[float, str, str]]:
        """Events to mark in charts: moment in milliseconds, text, colour."""
        given = [each for each in (dashboard.get("annotations") or {}).get("list") or [] if each.get("expr")]
        given = [each for each in given if each.get("enable", True) and source_of(each, {}, view.known) == "prometheus"]
        answers = await asyncio.gather(*(self._range(each, "prometheus", view, step) for each in given))
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
        if variable.query:
            return await self._results(variable, view)
        coarse = 60.0  # a choice may come up to a minute late; each page asks, with every change of the time
        start, end = math.floor(view.start / coarse) * coarse, math.ceil(view.end / coarse) * coarse
        path = f"/api/v1/label/{variable.of_label}/values"
        params = {
            "start": _moment(start, variable.source, whole=True),
            "end": _moment(end, variable.source, whole=True),
        }
        if variable.metric:
            params["query" if variable.source == "loki" else "match[]"] = view.put(variable.metric, variable.source)
        answer = await self._server(variable.source).get(_prefix(variable.source) + path, params, _KEPT_SECONDS)
        return variable.kept(answer.get("data") or ())

    async def label_names(self, source: str, view: View) -> list[str]:
        """The names of all labels. Raises RectbotError."""
        params = {name: _moment(at, source, whole=True) for name, at in (("start", view.start), ("end", view.end))}
        answer = await self._server(source).get(_prefix(source) + "/api/v1/labels", params, _KEPT_SECONDS)
        return sorted(answer.get("data") or ())

    async def _results(self, variable: Variable, view: View) -> list[str]:
        """Each series of a query, as Grafana writes them: name{labels} value time."""
        answer = await self._instant({"expr": variable.query}, variable.source, view, 15)
        return variable.kept(
            f"{legend('', each['metric'])} {each['value'][1]} {each['value'][0] * 1000:.0f}" for each in answer
        )

    def _server(self, source: str) -> Upstream:
        if source not in self._servers:
            raise RectbotError(f"the console asks Prometheus and Loki only, not the data source {source!r}")
        return self._servers[source]

    async def _range(self, target: Json, source: str, view: View, step: float) -> list[dict[str, Any]]:
        aligned = [math.floor(moment / step) * step for moment in (view.start, view.end)]
        params = {
            "query": view.put(target["expr"], source, step),
            "start": _moment(aligned[0], source),
            "end": _moment(aligned[1], source),
            "step": f"{step:g}",
        }
        path = _prefix(source) + "/api/v1/query_range"
        return _result(await self._server(source).get(path, params, min(step, _KEPT_SECONDS)))

    async def _instant(self, target: Json, source: str, view: View, step: float) -> list[dict[str, Any]]:
        params = {"query": view.put(target["expr"], source, step), "time": _moment(view.end, source)}
        return _result(await self._server(source).get(_prefix(source) + "/api/v1/query", params, QUANTUM_SECONDS))


def _is_instant(target: Json) -> bool:
    return target.get("queryType") == "instant" or (bool(target.get("instant")) and not target.get("range"))


def _result(answer: Any) -> list[dict[str, Any]]:
    """The series of an answer; a scalar is one without labels."""
    data = answer["data"]
    if data.get("resultType") in ("scalar", "string"):
        return [{"metric": {}, "value": data["result"]}]
    if data.get("resultType") == "streams":
        raise RectbotError("this query brings lines; a graph needs numbers, such as count_over_time(... [1m])")
    found: list[dict[str, Any]] = data["result"]
    return found


def _prefix(source: str) -> str:
    return "/loki" if source == "loki" else ""


def _moment(seconds: float, source: str, *, whole: bool = False) -> str:
    if source == "loki":
        return str(round(seconds * 1e9))
    return str(round(seconds)) if whole else f"{seconds:.3f}"


def points(moments: Sequence[Any], values: Sequence[Any], step: float) -> list[list[float | None]]:
    """With a None in each gap of more than one and a half steps, so that no line is drawn over what is not known."""
    found: list[list[float | None]] = []
    before = math.inf
    for moment, value in zip(moments, values, strict=True):
        if moment - before > 1500 * step:
            found.append([before + 1000 * step, None])
        found.append([moment, value if isinstance(value, float) and math.isfinite(value) else None])
        before = moment
    return found
