"""What the four dashboards are built of: queries, panels, variables, annotations, links.

Only what the console can show as well is used; docs/dashboards.md lists it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self, TypeVar

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    gauge,
    logs,
    loki,
    prometheus,
    stat,
    statetimeline,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.cog import builder, variants
from grafana_foundation_sdk.models import common as c
from grafana_foundation_sdk.models import dashboard as d
from grafana_foundation_sdk.models import prometheus as p

PROMETHEUS = d.DataSourceRef(type_val="prometheus", uid="prometheus")
LOKI = d.DataSourceRef(type_val="loki", uid="loki")

NO_PUSH = "No push yet: on the site's host run 'rectbot push'"
NO_HUB = "The hub tells nothing: is Redis up? Try 'rectbot doctor'"
NO_LINES = "No such lines in this time"

LEVEL_COLOURS = {"critical": "purple", "error": "red", "warn": "orange", "info": "green", "debug": "blue"}
Steps = Sequence[tuple[float | None, str]]
"""Thresholds: from which value on which colour; None is the least."""

Panel = TypeVar("Panel", bound="PanelBuilder")
AnyPanel = builder.Builder[d.Panel]


class PanelBuilder(Protocol):
    """What the builders of all panels have in common."""

    def title(self, title: str) -> Self: ...
    def description(self, description: str) -> Self: ...
    def datasource(self, datasource: d.DataSourceRef) -> Self: ...
    def targets(self, targets: list[builder.Builder[variants.Dataquery]]) -> Self: ...
    def span(self, w: int) -> Self: ...
    def height(self, h: int) -> Self: ...
    def no_value(self, no_value: str) -> Self: ...
    def unit(self, unit: str) -> Self: ...
    def decimals(self, decimals: float) -> Self: ...
    def min(self, min_val: float) -> Self: ...
    def max(self, max_val: float) -> Self: ...
    def interval(self, interval: str) -> Self: ...
    def mappings(self, mappings: list[d.ValueMapping]) -> Self: ...
    def thresholds(self, thresholds: builder.Builder[d.ThresholdsConfig]) -> Self: ...
    def color_scheme(self, color: builder.Builder[d.FieldColor]) -> Self: ...
    def override_by_name(self, name: str, properties: list[d.DynamicConfigValue]) -> Self: ...


class Query:
    """A query: `legend` names its series; `instant` asks for one value, not for a range; `rows` is for tables."""

    def __init__(
        self, expr: str, legend: str = "", *, instant: bool = False, rows: bool = False, lines: int | None = None
    ) -> None:
        self.expr = " ".join(expr.split())
        self.legend, self.instant, self.rows, self.lines = legend, instant or rows, rows, lines

    def build(self, source: d.DataSourceRef, ref_id: str) -> builder.Builder[variants.Dataquery]:
        """The query to `source`."""
        if source is LOKI:
            query = loki.Dataquery().datasource(source).ref_id(ref_id).expr(self.expr).legend_format(self.legend)
            query = query.query_type("instant" if self.instant else "range")
            return query if self.lines is None else query.max_lines(self.lines)
        asked = prometheus.Dataquery().datasource(source).ref_id(ref_id).expr(self.expr).legend_format(self.legend)
        asked = asked.format(p.PromQueryFormat.TABLE if self.rows else p.PromQueryFormat.TIME_SERIES)
        return asked.instant() if self.instant else asked.range()


def _panel(
    panel: Panel,
    title: str,
    description: str,
    queries: Sequence[Query],
    *,
    size: tuple[int, int],
    source: d.DataSourceRef = PROMETHEUS,
    unit: str = "none",
    decimals: int | None = None,
    none: str = NO_HUB,
) -> Panel:
    """What every panel with queries has. `size`: of 24 columns, and in rows; `none` is said when there is no data."""
    refs = "ABCDEFGH"
    built = [query.build(source, refs[place]) for place, query in enumerate(queries)]
    panel = panel.title(title).description(description).datasource(source).targets(built)
    panel = panel.span(size[0]).height(size[1]).unit(unit).no_value(none)
    return panel if decimals is None else panel.decimals(decimals)


def stat_panel(
    title: str,
    description: str,
    *queries: Query,
    steps: Steps = ((None, "text"),),
    show: c.BigValueTextMode = c.BigValueTextMode.VALUE,
    size: tuple[int, int] = (4, 4),
    **rest: Any,
) -> stat.Panel:
    """One large value, or with `show` a name, for each series."""
    for query in queries:
        query.instant = True
    panel = _panel(stat.Panel(), title, description, queries, size=size, **rest)
    panel = panel.text_mode(show).color_mode(c.BigValueColorMode.VALUE).graph_mode(c.BigValueGraphMode.NONE)
    panel = panel.justify_mode(c.BigValueJustifyMode.AUTO).orientation(c.VizOrientation.AUTO)
    return coloured(panel.reduce_options(_last()), steps)


def gauge_panel(
    title: str, description: str, query: Query, *, steps: Steps, size: tuple[int, int] = (4, 6), **rest: Any
) -> gauge.Panel:
    """A share of a whole, from 0 to 1."""
    query.instant = True
    panel = _panel(gauge.Panel(), title, description, [query], size=size, unit="percentunit", **rest).min(0).max(1)
    panel = panel.reduce_options(_last()).show_threshold_markers(True).show_threshold_labels(False)
    return coloured(panel, steps)


def graph(
    title: str,
    description: str,
    *queries: Query,
    bars: bool = False,
    limits: Steps = (),
    colours: Mapping[str, str] | None = None,
    size: tuple[int, int] = (12, 8),
    **rest: Any,
) -> timeseries.Panel:
    """Lines over time, or stacked bars. A gap stays a gap. `limits` are dashed lines, each in its colour."""
    panel = _panel(timeseries.Panel(), title, description, queries, size=size, **rest)
    panel = panel.draw_style(c.GraphDrawStyle.BARS if bars else c.GraphDrawStyle.LINE).line_width(0 if bars else 1)
    panel = panel.fill_opacity(80 if bars else 8).show_points(c.VisibilityMode.NEVER if bars else c.VisibilityMode.AUTO)
    panel = panel.span_nulls(False).stacking(
        common.StackingConfig().mode(c.StackingMode.NORMAL if bars else c.StackingMode.NONE)
    )
    dashed = c.GraphThresholdsStyleMode.DASHED if limits else c.GraphThresholdsStyleMode.OFF
    panel = panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(dashed)).legend(_legend())
    tooltip = common.VizTooltipOptions().mode(c.TooltipDisplayMode.MULTI).sort(c.SortOrder.DESCENDING)
    panel = panel.tooltip(tooltip).color_scheme(_colour(d.FieldColorModeId.PALETTE_CLASSIC))
    for name, colour in (colours or {}).items():
        panel = panel.override_by_name(name, [fixed_colour(colour)])
    return panel.thresholds(_thresholds(limits or ((None, "green"),)))


def timeline(
    title: str,
    description: str,
    *queries: Query,
    states: Mapping[int, tuple[str, str]],
    size: tuple[int, int] = (24, 6),
    **rest: Any,
) -> statetimeline.Panel:
    """Who was in which state, and when; `states` gives the text and the colour of each value."""
    panel = _panel(statetimeline.Panel(), title, description, queries, size=size, **rest)
    panel = panel.merge_values(True).show_value(c.VisibilityMode.NEVER).row_height(0.8)
    panel = panel.line_width(0).fill_opacity(80).legend(_legend())
    panel = panel.tooltip(common.VizTooltipOptions().mode(c.TooltipDisplayMode.SINGLE).sort(c.SortOrder.NONE))
    return coloured(panel.mappings([mapping(states)]), [(None, "text")])


def table_panel(
    title: str,
    description: str,
    *queries: Query,
    columns: Mapping[str, str],
    overrides: Mapping[str, Sequence[d.DynamicConfigValue]] | None = None,
    size: tuple[int, int] = (12, 6),
    **rest: Any,
) -> table.Panel:
    """Rows of the labels and values that `columns` names, by their shown names, in that order."""
    for query in queries:
        query.instant = query.rows = True
    panel = _panel(table.Panel(), title, description, queries, size=size, **rest).show_header(True)
    panel = panel.cell_height(c.TableCellHeight.SM).align(c.FieldTextAlignment.AUTO)
    if len(queries) > 1:
        panel = panel.with_transformation(d.DataTransformerConfig(id_val="merge", options={}))
    options = {
        "includeByName": dict.fromkeys(columns, True),
        "excludeByName": {},
        "indexByName": {name: place for place, name in enumerate(columns)},
        "renameByName": dict(columns),
    }
    panel = panel.with_transformation(d.DataTransformerConfig(id_val="organize", options=options))
    first = next(iter(columns.values()))
    panel = panel.sort_by([common.TableSortByFieldState().display_name(first).desc(False)])
    for name, properties in (overrides or {}).items():
        panel = panel.override_by_name(name, list(properties))
    return coloured(panel, [(None, "text")])


def log_panel(title: str, description: str, expr: str, *, size: tuple[int, int] = (24, 14)) -> logs.Panel:
    """Log lines, the newest first."""
    query = Query(expr, lines=500)
    panel = _panel(logs.Panel(), title, description, [query], size=size, source=LOKI, none=NO_LINES)
    panel = panel.show_time(True).wrap_log_message(True).sort_order(c.LogsSortOrder.DESCENDING).enable_log_details(True)
    panel = panel.dedup_strategy(c.LogsDedupStrategy.NONE).prettify_log_message(False)
    return panel.show_labels(False).show_common_labels(False)


def text_panel(title: str, content: str, *, size: tuple[int, int] = (24, 4)) -> text.Panel:
    """Words, in Markdown."""
    panel = text.Panel().title(title).description("Where to look next.").content(content)
    return panel.span(size[0]).height(size[1])


def coloured(panel: Panel, steps: Steps) -> Panel:
    """Coloured by its value."""
    return panel.color_scheme(_colour(d.FieldColorModeId.THRESHOLDS)).thresholds(_thresholds(steps))


def mapping(states: Mapping[int, tuple[str, str]]) -> d.ValueMap:
    """Text and colour in place of a value."""
    shown = enumerate(states.items())
    return d.ValueMap(
        {str(value): d.ValueMappingResult(text=word, color=hue, index=place) for place, (value, (word, hue)) in shown}
    )


def fixed_colour(colour: str) -> d.DynamicConfigValue:
    """As a property of a column or a series."""
    return d.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour})


def column_states(states: Mapping[int, tuple[str, str]]) -> list[d.DynamicConfigValue]:
    """A column whose values are shown as words in colours."""
    return [
        d.DynamicConfigValue(id_val="mappings", value=[mapping(states)]),
        d.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}),
    ]


def column_unit(unit: str, decimals: int = 0) -> list[d.DynamicConfigValue]:
    """A column's unit."""
    properties: dict[str, object] = {"unit": unit, "decimals": decimals}
    return [d.DynamicConfigValue(id_val=name, value=value) for name, value in properties.items()]


def column_link(title: str, url: str) -> list[d.DynamicConfigValue]:
    """A column whose values lead elsewhere."""
    return [d.DynamicConfigValue(id_val="links", value=[{"title": title, "url": url}])]


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    built = [d.Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard.ThresholdsConfig().mode(d.ThresholdsMode.ABSOLUTE).steps(built)


def _colour(mode: d.FieldColorModeId) -> dashboard.FieldColor:
    return dashboard.FieldColor().mode(mode)


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(c.LegendDisplayMode.LIST)
        .placement(c.LegendPlacement.BOTTOM)
        .calcs([])
    )
