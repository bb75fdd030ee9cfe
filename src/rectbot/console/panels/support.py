"""What of a panel the console does not draw as Grafana does. It is said in the panel, so that nobody is misled.

A table of what is known: an option that is set to something else than in it is named. Options that only move things by
some pixels are in `_MINOR`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rectbot.console.panels.colours import CONTINUOUS
from rectbot.console.panels.compute import CALCULATE_MODES, FUNCTIONS, OPERATORS, VALUE_TESTS
from rectbot.console.panels.fields import MAPPING_TYPES
from rectbot.console.panels.matchers import MATCHERS
from rectbot.console.panels.reduce import CALCULATIONS
from rectbot.console.panels.transform import TRANSFORMATIONS

Json = Mapping[str, Any]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ANY: frozenset[Any] = frozenset()
_OFF = frozenset({None, False, "", "none", "off", "auto"})
_STANDARD: Mapping[str, frozenset[Any]] = dict.fromkeys(
    _names("""unit decimals min max noValue displayName description mappings thresholds color links custom filterable
    fieldMinMax displayNameFromDS path writeable nullValueMode"""),
    _ANY,
)
_MINOR = _names("""
    axisBorderShow axisColorMode axisGridShow axisWidth barAlignment barWidthFactor barMaxWidth pointSize
    pointSymbol lineWidth width minWidth filterable inspect wrapText footer showValue insertNulls spanNulls
    fillOpacity axisLabel hidden viz tooltip legend align neutral wrapHeaderText showHeader hideValue
""")
_CUSTOM: Mapping[str, frozenset[Any]] = {
    "drawStyle": frozenset({"line", "bars", "points"}),
    "lineInterpolation": frozenset({"linear", "smooth", "stepBefore", "stepAfter"}),
    "gradientMode": frozenset({"none", "opacity"}),
    "showPoints": frozenset({"auto", "never", "always"}),
    "transform": frozenset({"negative-Y", "constant"}) | _OFF,
    "axisPlacement": frozenset({"auto", "left", "right", "hidden"}),
    "axisCenteredZero": frozenset({False, True}),
    "axisSoftMin": _ANY,
    "axisSoftMax": _ANY,
    "fillBelowTo": _OFF,
    "fillColor": _OFF,
    "lineColor": _OFF,
    "pointColor": _OFF,
    "hideFrom": _ANY,
    "lineStyle": _ANY,
    "stacking": _ANY,
    "scaleDistribution": _ANY,
    "thresholdsStyle": _ANY,
    "cellOptions": _ANY,
    "displayMode": _ANY,
    **dict.fromkeys(_MINOR, _ANY),
}
_CELLS = {
    "",
    *_names("auto color-text color-background color-background-solid gradient-gauge"),
    *_names("lcd-gauge gauge basic string json-view"),
}
_COLOUR_MODES = {"fixed", "shades", "thresholds", "palette-classic", "palette-classic-by-name", ""}
_OPTIONS = _names("""
    reduceOptions textMode colorMode graphMode legend tooltip orientation justifyMode wideLayout
    showPercentChange percentChangeColorMode sortBy showHeader cellHeight footer frameIndex content mode code
    showTime wrapLogMessage sortOrder enableLogDetails dedupStrategy prettifyLogMessage showLabels
    showCommonLabels mergeValues showValue rowHeight alignValue displayMode valueMode namePlacement minVizWidth
    minVizHeight maxVizHeight sizing showUnfilled text perPage showThresholdLabels showThresholdMarkers timezone
    dataLinks alertThreshold enablePagination enableInfiniteScrolling showControls pieType displayLabels
    fieldOptions sort neutral barShape segmentCount segmentSpacing sparkline effects endpointMarker
    barWidthFactor shape gradient glow spotlight barGlow centerGlow sorting fontSize syntaxHighlighting
    showLogAttributes detailsMode unwrappedColumns colWidth
""")


def complaints(panel: Json) -> list[str]:
    """What is not drawn as in Grafana, by the names of Grafana's JSON."""
    return list(
        dict.fromkeys((*_of_transformations(panel), *_of_fields(panel), *_of_options(panel), *_of_targets(panel)))
    )


def _of_transformations(panel: Json) -> Iterator[str]:
    for each in panel.get("transformations") or []:
        name, options = str(each.get("id")), each.get("options") or {}
        if each.get("disabled"):
            continue
        if name not in TRANSFORMATIONS:
            yield f"transformation {name}"
        elif name == "calculateField":
            yield from _of_calculation(options)
        elif name == "filterByValue":
            for condition in options.get("filters") or []:
                if (condition.get("config") or {}).get("id") not in VALUE_TESTS:
                    yield f"transformation filterByValue: {(condition.get('config') or {}).get('id')}"
        elif name == "reduce":
            yield from (f"reducer {one}" for one in options.get("reducers") or [] if one not in CALCULATIONS)
        elif name == "groupBy":
            yield from _of_groups(options)


def _of_groups(options: Json) -> Iterator[str]:
    for each in (options.get("fields") or {}).values():
        operation = (each or {}).get("operation")
        if operation not in (None, "groupby", "aggregate", "count"):
            yield f"transformation groupBy: {operation}"
        yield from (f"reducer {one}" for one in (each or {}).get("aggregations") or [] if one not in CALCULATIONS)


def _of_calculation(options: Json) -> Iterator[str]:
    mode = options.get("mode") or "reduceRow"
    if mode not in CALCULATE_MODES:
        yield f"transformation calculateField: {mode}"
    for part, known in (("binary", OPERATORS), ("unary", FUNCTIONS)):
        operator = (options.get(part) or {}).get("operator")
        if mode == part and operator is not None and operator not in known:
            yield f"transformation calculateField: {operator}"
    if mode == "binary" and ((options.get("binary") or {}).get("left") or {}) and _by_type(options["binary"]["left"]):
        yield "transformation calculateField: matcher byType"


def _by_type(side: object) -> bool:
    return isinstance(side, Mapping) and (side.get("matcher") or {}).get("id") == "byType"


def _of_fields(panel: Json) -> Iterator[str]:
    config = panel.get("fieldConfig") or {}
    defaults = config.get("defaults") or {}
    for name, value in defaults.items():
        yield from _of_property(name, value)
    for name, value in (defaults.get("custom") or {}).items():
        yield from _of_property(f"custom.{name}", value)
    for override in config.get("overrides") or []:
        matcher = str((override.get("matcher") or {}).get("id"))
        if matcher not in MATCHERS:
            yield f"override {matcher}"
        for entry in override.get("properties") or []:
            yield from _of_property(str(entry.get("id")), entry.get("value"))


def _of_property(name: str, value: Any) -> Iterator[str]:
    first, _, rest = name.partition(".")
    if first == "custom" and rest:
        yield from _of_custom(rest, value)
    elif first not in _STANDARD:
        yield name
    elif name == "color":
        yield from _of_colour(value)
    elif name == "mappings":
        for each in value or []:
            if each.get("type") not in MAPPING_TYPES:
                yield f"mapping {each.get('type')}"
    elif name == "thresholds" and (value or {}).get("mode") not in (None, "absolute", "percentage"):
        yield f"thresholds {value.get('mode')}"


def _of_colour(value: Any) -> Iterator[str]:
    mode = str((value or {}).get("mode") or "")
    if mode not in _COLOUR_MODES and mode.removeprefix("continuous-") not in CONTINUOUS:
        yield f"color {mode}"


def _of_custom(name: str, value: Any) -> Iterator[str]:
    first = name.partition(".")[0]
    known = _CUSTOM.get(first)
    if known is None:
        if not _is_off(value):
            yield f"custom.{name}"
        return
    if known and not (_is_off(value) or (value.__hash__ is not None and value in known)):
        yield f"custom.{name} {value}"
    if name in ("cellOptions", "displayMode"):
        kind = value.get("type") if isinstance(value, Mapping) else value
        if kind not in _CELLS:
            yield f"cell {kind}"
    if name == "scaleDistribution" and (value or {}).get("type") not in (None, "linear", "log"):
        yield f"scale {value.get('type')}"


def _is_off(value: Any) -> bool:
    return value in ({}, []) if isinstance(value, dict | list) else value in _OFF


def _of_options(panel: Json) -> Iterator[str]:
    options = panel.get("options") or {}
    reduce_options = options.get("reduceOptions") or {}
    yield from (f"calculation {one}" for one in reduce_options.get("calcs") or [] if one not in CALCULATIONS)
    legend = options.get("legend") or {}
    yield from (f"calculation {one}" for one in legend.get("calcs") or [] if one not in CALCULATIONS)
    for name, value in options.items():
        if name not in _OPTIONS and not _is_off(value):
            yield f"options.{name}"
    if options.get("showPercentChange"):
        yield "options.showPercentChange"
    if (options.get("footer") or {}).get("show"):
        yield "options.footer"


def _of_targets(panel: Json) -> Iterator[str]:
    for each in panel.get("targets") or []:
        if each.get("hide"):
            continue
        if each.get("format") == "heatmap":
            yield "format heatmap"
        if not each.get("expr"):
            kind = (each.get("datasource") or {}).get("type") if isinstance(each.get("datasource"), Mapping) else ""
            if kind not in ("", None, "prometheus", "loki"):
                yield f"data source {kind}"
