"""Where a dashboard's panels stand: rows that fold, and panels and rows that are repeated for each value of a variable.

https://grafana.com/docs/grafana/latest/panels-visualizations/configure-panel-options/#configure-repeating-panels
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

Json = Mapping[str, Any]
Chosen = Mapping[str, Sequence[str]]
"""What is chosen of each variable, with all written out."""
COLUMNS = 24
_PER_ROW = 4  # copies of a panel beside each other, where the panel does not say
_MOST_COPIES = 50


@dataclass(frozen=True)
class Placed:
    """A panel with its place in its section; `scope`: the value that a repeated variable has in it."""

    panel: Json
    key: str
    x: int
    y: int
    w: int
    h: int
    scope: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Section:
    """A row with its panels; without a key it is what stands before the first row."""

    key: str
    title: str
    folded: bool
    panels: list[Placed] = field(default_factory=list)
    scope: tuple[tuple[str, str], ...] = ()


def sections(dashboard: Json, chosen: Chosen) -> list[Section]:
    """All sections in the order of reading."""
    found: list[Section] = []
    for row, inner in _rows(dashboard.get("panels") or []):
        values = _values(row, chosen)
        for number, value in enumerate(values):
            scope = ((str(row["repeat"]), value),) if value is not None else ()
            key = f"{row.get('id', '')}-{number}" if value is not None else str(row.get("id", ""))
            panels = _arranged(inner, {**chosen, **{name: [one] for name, one in scope}}, scope, key)
            found.append(Section(key, str(row.get("title", "")), bool(row.get("collapsed")), panels, scope))
    return found


def _rows(panels: Iterable[Json]) -> list[tuple[Json, list[Json]]]:
    ordered = sorted(panels, key=lambda panel: (panel["gridPos"]["y"], panel["gridPos"]["x"]))
    found: list[tuple[Json, list[Json]]] = []
    for panel in ordered:
        if panel["type"] == "row":
            inner = sorted(panel.get("panels") or [], key=lambda each: (each["gridPos"]["y"], each["gridPos"]["x"]))
            found.append((panel, inner))
        elif found:
            found[-1][1].append(panel)
        else:
            found.append(({}, [panel]))
    return found


def _values(panel: Json, chosen: Chosen) -> Sequence[str | None]:
    name = panel.get("repeat")
    return list(chosen.get(name) or ())[:_MOST_COPIES] or [None] if name else [None]


def _arranged(panels: Sequence[Json], chosen: Chosen, scope: tuple[tuple[str, str], ...], key: str) -> list[Placed]:
    """With the copies of repeated panels; what stands below them gives way."""
    found: list[Placed] = []
    top = min((panel["gridPos"]["y"] for panel in panels), default=0)
    pushed = 0
    for panel in panels:
        place = panel["gridPos"]
        x, w, h = min(place["x"], COLUMNS - 1), max(1, place["w"]), max(1, place["h"])
        base = Placed(panel, f"{key}.{panel.get('id')}", x, place["y"] - top + pushed, min(w, COLUMNS - x), h, scope)
        copies = _copies(base, _values(panel, chosen))
        found += copies
        pushed += copies[-1].y - base.y
    return found


def _copies(base: Placed, values: Sequence[str | None]) -> list[Placed]:
    if values == [None]:
        return [base]
    panel, count = base.panel, len(values)
    down = panel.get("repeatDirection") == "v"
    beside = 1 if down else min(count, int(panel.get("maxPerRow") or _PER_ROW))
    width = base.w if down else COLUMNS // beside
    return [
        replace(
            base,
            key=f"{base.key}-{number}",
            x=base.x if down else width * (number % beside),
            y=base.y + base.h * (number // beside),
            w=width,
            scope=(*base.scope, (str(panel["repeat"]), str(value))),
        )
        for number, value in enumerate(values)
    ]
