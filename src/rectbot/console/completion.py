"""A field for a query that completes names: of metrics, of labels, of functions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from nicegui.element import Element

from rectbot.console.panels.ask import Asker, View
from rectbot.console.widgets import packed
from rectbot.dashboards.variables import Variable
from rectbot.errors import RectbotError


def _names(text: str) -> list[str]:
    return text.split()


FUNCTIONS = {
    "prometheus": _names("""
        sum avg min max count topk bottomk rate irate increase delta changes resets histogram_quantile
        avg_over_time max_over_time min_over_time sum_over_time count_over_time last_over_time
        quantile_over_time present_over_time absent label_replace time timestamp clamp_max clamp_min round
        abs by without on ignoring group_left offset bool and or unless
    """),
    "loki": _names("""
        sum avg min max count topk rate count_over_time bytes_over_time bytes_rate sum_over_time
        avg_over_time max_over_time quantile_over_time absent_over_time json logfmt pattern regexp
        line_format label_format unwrap drop keep decolorize by without
    """),
}
_MOST_NAMES = 5_000


class Completion(Element, component="static/completion.js"):
    """It tells of `ask` with the query, when Enter or the button is pressed."""

    def __init__(self, label: str, value: str) -> None:
        super().__init__()
        self._props.update({"label": label, "value": value, "names": [], "look": 0})

    def offer(self, names: Sequence[str]) -> None:
        """The names that may be completed."""
        self._props["names"] = packed(list(names))
        self.update()

    def show(self, value: str) -> None:
        """Holds this query."""
        self._props["value"] = value
        self._props["look"] += 1
        self.update()


async def names_of(asker: Asker, source: str, view: View) -> list[str]:
    """Metrics, labels and functions; what cannot be asked is left out."""
    labels = ("__name__", "job", "instance", "site") if source == "prometheus" else ("job", "site", "level")
    found = await asyncio.gather(
        _label_names(asker, source, view), *(_values(asker, source, each, view) for each in labels)
    )
    names = dict.fromkeys(name for each in (found[1], found[0], *found[2:]) for name in each[:_MOST_NAMES])
    return [*names, *(name for name in FUNCTIONS[source] if name not in names)]


async def _label_names(asker: Asker, source: str, view: View) -> list[str]:
    try:
        return await asker.label_names(source, view)
    except RectbotError:
        return []


async def _values(asker: Asker, source: str, label: str, view: View) -> list[str]:
    try:
        return await asker.choices(Variable(label, label, "query", source, "", label), view)
    except RectbotError:
        return []
