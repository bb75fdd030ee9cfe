"""The value axes of a chart: one for each unit and side, with ticks that are round in their unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rectbot.console.panels.ask import View
from rectbot.console.panels.fields import Field

if TYPE_CHECKING:
    from rectbot.console.panels.charts import Line

_BINARY = ("bits", "bytes", "kbytes", "mbytes", "gbytes", "tbytes", "pbytes", "binBps", "binbps")
_TICKS = 4
_ROUND = (1, 2, 2.5, 4, 5, 10, 16, 20, 25, 32, 40, 50, 64, 100, 128, 200, 250, 256, 400, 500, 512, 1024)


@dataclass(frozen=True)
class Axis:
    """A value axis: its side, its unit, and what its lines reach."""

    right: bool
    unit: str
    field: Field
    least: float
    most: float
    shares: bool = False

    def holds(self, line: Line) -> bool:
        return (self.right, self.unit) == (_is_right(line), _unit(line))

    def options(self, text: dict[str, Any], grid: str) -> dict[str, Any]:
        """As ECharts has it."""
        custom = self.field.custom
        hidden = custom.get("axisPlacement") == "hidden"
        scale = custom.get("scaleDistribution") or {}
        name = str(custom.get("axisLabel") or "")
        found: dict[str, Any] = {
            "type": "log" if scale.get("type") == "log" else "value",
            "logBase": scale.get("log") or 10,
            "position": "right" if self.right else "left",
            "min": self.field.config.get("min"),
            "max": 1 if self.shares else self.field.config.get("max"),
            "format": {"unit": "percentunit", "decimals": None} if self.shares else self.field.format,
            "softMin": custom.get("axisSoftMin"),
            "softMax": custom.get("axisSoftMax"),
            "centred": bool(custom.get("axisCenteredZero")),
            "axisLabel": {**text, "show": not hidden},
            "splitLine": {"show": not self.right, "lineStyle": {"color": grid}},
            "splitNumber": _TICKS,
            "minInterval": self._smallest(),
            "name": name,
            "nameTextStyle": text,
            "nameLocation": "middle",
            "nameGap": 48,
        }
        return found if found["type"] == "log" else found | self._ticks(found)

    def _smallest(self) -> float:
        decimals = self.field.decimals
        return 10**-decimals if decimals is not None and self.unit == "none" else 0

    def _ticks(self, found: dict[str, Any]) -> dict[str, Any]:
        """Of a fixed range quarters; of what is counted in 1024s a round number of those."""
        if found["min"] is not None and found["max"] is not None and self.unit.startswith("percent"):
            return {"interval": (float(found["max"]) - float(found["min"])) / _TICKS}
        if self.unit not in _BINARY or found["max"] is not None or found["softMax"] is not None or self.most <= 0:
            return {}
        interval = _round((self.most - min(0.0, self.least)) / _TICKS)
        lowest = math.floor(self.least / interval) * interval if self.least < 0 else 0
        least = found["min"] if found["min"] is not None else lowest
        return {"interval": interval, "max": math.ceil(self.most / interval) * interval, "min": least}


def _round(step: float) -> float:
    base = 1024 ** math.floor(math.log(step, 1024)) if step >= 1 else 1
    return base * next((number for number in _ROUND if number * base >= step), 1024)


def axes_of(lines: Sequence[Line], field: Field) -> list[Axis]:
    """The axes that the lines need, the left ones first."""
    keys = sorted({(_is_right(line), _unit(line)) for line in lines}, key=lambda key: key[0])
    found = []
    for right, unit in keys[:2]:
        mine = [line for line in lines if (_is_right(line), _unit(line)) == (right, unit)]
        least, most = _reach(mine)
        shares = all(line.shares for line in mine)
        found.append(Axis(right, unit, mine[0].field, least, most, shares))
    return found or [Axis(False, field.unit, field, 0.0, 0.0)]


def _is_right(line: Line) -> bool:
    return line.field.custom.get("axisPlacement") == "right"


def _unit(line: Line) -> str:
    return line.field.unit


def _reach(lines: Sequence[Line]) -> tuple[float, float]:
    """The least and the most of the lines, with what is stacked as its sum."""
    sums: dict[tuple[str, float | None], float] = {}
    for number, line in enumerate(lines):
        for moment, value in line.points:
            key = (line.stack or f"#{number}", moment)
            sums[key] = sums.get(key, 0.0) + (value or 0.0)
    return (min(sums.values(), default=0.0), max(sums.values(), default=0.0))


def time_axis(view: View, text: dict[str, Any], grid: str) -> dict[str, Any]:
    """The axis of the time that is looked at; the browser writes it in its own zone."""
    return {
        "type": "time",
        "min": view.start * 1000,
        "max": view.end * 1000,
        "axisLabel": {**text, "hideOverlap": True},
        "axisLine": {"lineStyle": {"color": grid}},
        "splitLine": {"show": False},
    }
