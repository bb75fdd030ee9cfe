"""From a panel and its answers to what its element shows: plain data, made once for all who look at the same."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from rectbot.console.panels import charts, dials
from rectbot.console.panels.ask import Asker, View, points
from rectbot.console.panels.charts import Line
from rectbot.console.panels.data import Data, Value
from rectbot.console.panels.fields import Field
from rectbot.console.panels.frames import NUMBER, TIME
from rectbot.console.panels.table import table
from rectbot.console.upstream import Shared
from rectbot.console.widgets import log_lines, packed
from rectbot.errors import RectbotError

log = logging.getLogger(__name__)
Json = Mapping[str, Any]
Drawing = dict[str, Any]  # what the panel's element shows, packed; and `empty`: whether that is nothing
_KEPT_SECONDS = 5.0
_MOST_COURSE = 60  # points of a stat's course


class Artist:
    """Draws panels; who asks for the same panel, time and variables gets the same drawing."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._shared = Shared()
        self._told: set[tuple[str, object, str]] = set()
        self._kinds: dict[str, Callable[[Json, Json, View], Awaitable[Drawing]]] = {
            "timeseries": self._timeseries,
            "state-timeline": self._state_timeline,
            "status-history": self._state_timeline,
            "gauge": self._gauge,
            "bargauge": self._bars,
            "piechart": self._pie,
            "stat": self._stat,
            "table": self._table,
            "logs": self._logs,
        }

    def can(self, kind: str) -> bool:
        """Whether panels of this type are known."""
        return kind in self._kinds

    async def draw(self, dashboard: Json, panel: Json, view: View) -> Drawing:
        """The drawing of one panel. Raises RectbotError: what the server says, or what is wrong in the panel."""
        question = (dashboard["uid"], dashboard.get("language"), panel["id"], view.chosen, view.start, view.end)
        draw = self._kinds[panel["type"]]

        async def pack() -> Drawing:
            try:
                drawing = await draw(dashboard, panel, view.of(panel))
                return {name: value if isinstance(value, bool) else packed(value) for name, value in drawing.items()}
            except RectbotError:
                raise
            except Exception as error:
                raise self._fault(dashboard, panel, error) from error

        drawing: Drawing = await self._shared.get(question, _KEPT_SECONDS, pack)
        return drawing

    def _fault(self, dashboard: Json, panel: Json, error: Exception) -> RectbotError:
        """What stands in the panel; the first time it is in the log too, with where it comes from."""
        reason = f"{type(error).__name__}: {error}"
        what = (str(dashboard["uid"]), panel["id"], reason)
        if what not in self._told:
            self._told.add(what)
            log.error("console: panel %r of %s cannot be drawn", panel.get("title"), dashboard["uid"], exc_info=error)
        return RectbotError(f"this panel's JSON cannot be drawn ({reason[:200]}); the hub's log says more")

    async def _data(self, panel: Json, view: View) -> Data:
        return Data(panel, await self._asker.frames(panel, view), view)

    def _lines(self, data: Data, step: float) -> list[Line]:
        found = []
        for each in data.numbers:
            time = next((column for column in each.frame.columns if column.kind == TIME), None)
            if time is not None:
                found.append(Line(each.name, points(time.values, each.column.values, step), each.field, each.index))
        return found

    async def _timeseries(self, dashboard: Json, panel: Json, view: View) -> Drawing:
        step = max([self._asker.step(panel, view), *(self._asker.step(panel, view, each) for each in _targets(panel))])
        lines = self._lines(await self._data(panel, view), step)
        marks = await self._asker.annotations(dashboard, view, self._asker.step({}, view))
        options = charts.timeseries(panel, lines, view, step, marks)
        return {"options": options, "empty": not any(line.points for line in lines)}

    async def _state_timeline(self, _: Json, panel: Json, view: View) -> Drawing:
        step = self._asker.step(panel, view)
        lines = self._lines(await self._data(panel, view), step)
        return {"options": dials.state_timeline(panel, lines, view, step), "empty": not lines}

    async def _gauge(self, _: Json, panel: Json, view: View) -> Drawing:
        values = _finite((await self._data(panel, view)).values())
        return {"options": dials.gauge(values), "empty": not values}

    async def _pie(self, _: Json, panel: Json, view: View) -> Drawing:
        values = _finite((await self._data(panel, view)).values())
        return {"options": dials.pie(panel, values), "empty": not values}

    async def _bars(self, _: Json, panel: Json, view: View) -> Drawing:
        items = []
        for name, value, field in _finite((await self._data(panel, view)).values()):
            items.append({"name": name, "share": field.share(value), "cell": field.cell(value)})
        return {"items": items, "empty": not items}

    async def _stat(self, _: Json, panel: Json, view: View) -> Drawing:
        data = await self._data(panel, view)
        options = panel.get("options") or {}
        values = [each for each in data.values() if not isinstance(each.value, float) or math.isfinite(each.value)]
        items = [
            self._stat_item(each, options, many=len(values) > 1) | data.link(each, data.columns) for each in values
        ]
        return {"items": items, "empty": not items}

    @staticmethod
    def _stat_item(value: Value, options: Json, *, many: bool) -> dict[str, Any]:
        mode, colours = options.get("textMode") or "auto", str(options.get("colorMode") or "value")
        shown = value.of
        cell = shown.field.cell(value.value, shown.index)
        # Where values stand alone, several need their names all the same.
        named = mode in ("name", "value_and_name") or (mode in ("auto", "value") and many)
        return {
            "name": shown.name if named else "",
            "cell": None if mode in ("name", "none") else cell,
            "colour": "inherit" if colours == "none" else cell["colour"],
            "background": colours.startswith("background") and cell["colour"] not in ("inherit", "transparent"),
            "course": _course(shown.column.values) if options.get("graphMode") == "area" else "",
        }

    async def _table(self, _: Json, panel: Json, view: View) -> Drawing:
        return table(await self._data(panel, view))

    async def _logs(self, _: Json, panel: Json, view: View) -> Drawing:
        entries = await self._asker.lines(panel, view)
        return {"lines": log_lines(entries), "empty": not entries}


def _targets(panel: Json) -> Sequence[Json]:
    return [each for each in panel.get("targets") or [] if not each.get("hide")]


def _finite(values: Sequence[Value]) -> list[tuple[str, float, Field]]:
    return [
        (each.of.name, each.value, each.of.field)
        for each in values
        if isinstance(each.value, float) and math.isfinite(each.value) and each.of.column.kind == NUMBER
    ]


def _course(values: Sequence[Any]) -> str:
    """The points of a polyline in a box of 100 by 20."""
    numbers = [value for value in values if isinstance(value, float) and math.isfinite(value)]
    if len(numbers) < 2:
        return ""
    numbers = numbers[:: max(1, len(numbers) // _MOST_COURSE)]
    least, height = min(numbers), (max(numbers) - min(numbers)) or 1.0
    width = 100 / max(1, len(numbers) - 1)
    return " ".join(f"{at * width:.1f},{19 - 18 * (number - least) / height:.1f}" for at, number in enumerate(numbers))
