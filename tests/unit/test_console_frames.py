"""Frames, transformations, calculations, mappings and colours, as Grafana has them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rectbot.console.panels.colours import COLOURS, colour, continuous
from rectbot.console.panels.fields import Fields, field_of
from rectbot.console.panels.frames import NUMBER, STRING, TIME, Cell, Column, Frame, Names, series_frames, table_frame
from rectbot.console.panels.matchers import pattern
from rectbot.console.panels.reduce import CALCULATIONS, reduced, title
from rectbot.console.panels.support import complaints
from rectbot.console.panels.transform import TRANSFORMATIONS, transformed

ANSWER = [
    {"metric": {"__name__": "up", "site": "oci", "job": "hub"}, "value": [10, "1"]},
    {"metric": {"__name__": "up", "site": "xserver", "job": "hub"}, "value": [10, "NaN"]},
]


def frame(ref: str = "A", **columns: Sequence[Cell]) -> Frame:
    kinds = {
        name: NUMBER if any(isinstance(value, float) for value in values) else STRING
        for name, values in columns.items()
    }
    return Frame(
        ref, [Column(name, TIME if name == "Time" else kinds[name], list(values)) for name, values in columns.items()]
    )


def cells(found: list[Frame]) -> list[dict[str, list[Cell]]]:
    names = Names(found)
    return [{names.of(column, each): column.values for column in each.columns} for each in found]


def test_an_answer_is_a_frame_for_each_series_or_one_table() -> None:
    series = series_frames("A", "{{site}}", ANSWER)
    assert cells(series) == [{"Time": [10_000.0], "oci": [1.0]}, {"Time": [10_000.0], "xserver": [None]}]
    assert table_frame("B", ANSWER, many=True).columns[-1].name == "Value #B"
    assert cells([table_frame("B", ANSWER, many=False)]) == [
        {
            "Time": [10_000.0, 10_000.0],
            "__name__": ["up", "up"],
            "job": ["hub", "hub"],
            "site": ["oci", "xserver"],
            "Value": [1.0, None],
        }
    ]


def test_without_a_legend_the_labels_name_a_series_and_the_only_label_by_its_value() -> None:
    names = [list(each)[1] for each in cells(series_frames("A", "__auto", ANSWER))]
    assert names == ['up{site="oci", job="hub"}', 'up{site="xserver", job="hub"}']
    only = [{"metric": {"site": site}, "value": [1, "1"]} for site in ("oci", "xserver")]
    assert [list(each)[1] for each in cells(series_frames("A", "__auto", only))] == ["oci", "xserver"]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["a", "b", "c"]),
        ({"includeByName": {"b": True, "c": True}}, ["b", "c"]),
        ({"includeByName": {"b": True, "c": False}}, ["b"]),
        ({"includeByName": {}}, ["a", "b", "c"]),
        ({"excludeByName": {"a": True, "b": False}}, ["b", "c"]),
        ({"includeByName": {"a": True, "b": True}, "excludeByName": {"a": True}}, ["b"]),
        ({"indexByName": {"c": 0, "a": 1}}, ["c", "a", "b"]),
        ({"renameByName": {"a": "A", "b": ""}}, ["A", "b", "c"]),
        ({"indexByName": {"c": 0}, "renameByName": {"c": "last"}, "excludeByName": {"b": True}}, ["last", "a"]),
    ],
)
def test_organize_hides_orders_and_renames(options: dict[str, Any], names: list[str]) -> None:
    found = transformed([frame(a=[1.0], b=[2.0], c=[3.0])], [{"id": "organize", "options": options}])
    assert list(cells(found)[0]) == names


def test_merge_makes_one_row_of_rows_that_agree() -> None:
    one = frame("A", site=["oci", "xserver"], job=["hub", "hub"], **{"Value #A": [1.0, 2.0]})
    other = frame("B", site=["oci"], job=["hub"], **{"Value #B": [3.0]})
    assert cells(transformed([one, other], [{"id": "merge"}])) == [
        {
            "site": ["oci", "xserver"],
            "job": ["hub", "hub"],
            "Value #A": [1.0, 2.0],
            "Value #B": [3.0, None],
        }
    ]
    again = frame("B", site=["oci"], job=["hub"], **{"Value #A": [9.0]})
    assert cells(transformed([one, again], [{"id": "merge"}]))[0]["Value #A"] == [1.0, 2.0, 9.0], "they differ"


@pytest.mark.parametrize(
    ("transformation", "expected"),
    [
        (
            {"id": "filterFieldsByName", "options": {"include": {"pattern": "/^v/"}}},
            {"v": [3.0, 1.0, 2.0], "v2": [1.0, 1.0, 0.0]},
        ),
        ({"id": "filterFieldsByName", "options": {"exclude": {"names": ["v", "v2"]}}}, {"who": ["b", "a", "b"]}),
        (
            {"id": "sortBy", "options": {"sort": [{"field": "v", "desc": True}]}},
            {"who": ["b", "b", "a"], "v": [3.0, 2.0, 1.0], "v2": [1.0, 0.0, 1.0]},
        ),
        ({"id": "limit", "options": {"limitField": 1}}, {"who": ["b"], "v": [3.0], "v2": [1.0]}),
        (
            {"id": "renameByRegex", "options": {"regex": "v(.*)", "renamePattern": "n$1"}},
            {"who": ["b", "a", "b"], "n": [3.0, 1.0, 2.0], "n2": [1.0, 1.0, 0.0]},
        ),
        (
            {
                "id": "groupBy",
                "options": {
                    "fields": {
                        "who": {"operation": "groupby", "aggregations": []},
                        "v": {"operation": "aggregate", "aggregations": ["sum", "max"]},
                    }
                },
            },
            {"who": ["b", "a"], "v (sum)": [5.0, 1.0], "v (max)": [3.0, 1.0]},
        ),
        (
            {"id": "reduce", "options": {"reducers": ["max", "lastNotNull"]}},
            {"Field": ["who", "v", "v2"], "Max": [None, 3.0, 1.0], "Last *": ["b", 2.0, 0.0]},
        ),
        (
            {
                "id": "calculateField",
                "options": {
                    "mode": "binary",
                    "alias": "share",
                    "timeSeries": False,
                    "replaceFields": True,
                    "binary": {"left": "v2", "operator": "/", "right": "v"},
                },
            },
            {"share": [1 / 3, 1.0, 0.0]},
        ),
        (
            {
                "id": "calculateField",
                "options": {
                    "mode": "reduceRow",
                    "timeSeries": False,
                    "replaceFields": True,
                    "reduce": {"reducer": "sum"},
                },
            },
            {"Total": [4.0, 2.0, 2.0]},
        ),
        (
            {
                "id": "filterByValue",
                "options": {
                    "type": "include",
                    "match": "any",
                    "filters": [{"fieldName": "v", "config": {"id": "greater", "options": {"value": 1}}}],
                },
            },
            {"who": ["b", "b"], "v": [3.0, 2.0], "v2": [1.0, 0.0]},
        ),
        (
            {
                "id": "filterByValue",
                "options": {
                    "type": "exclude",
                    "match": "all",
                    "filters": [{"fieldName": "who", "config": {"id": "equal", "options": {"value": "b"}}}],
                },
            },
            {"who": ["a"], "v": [1.0], "v2": [1.0]},
        ),
        (
            {"id": "sortBy", "disabled": True, "options": {"sort": [{"field": "v"}]}},
            {"who": ["b", "a", "b"], "v": [3.0, 1.0, 2.0], "v2": [1.0, 1.0, 0.0]},
        ),
        ({"id": "nobody knows it"}, {"who": ["b", "a", "b"], "v": [3.0, 1.0, 2.0], "v2": [1.0, 1.0, 0.0]}),
    ],
    ids=lambda value: value.get("id", "") if isinstance(value, dict) else "",
)
def test_transformations_of_one_frame(transformation: dict[str, Any], expected: dict[str, list[Cell]]) -> None:
    given = frame(who=["b", "a", "b"], v=[3.0, 1.0, 2.0], v2=[1.0, 1.0, 0.0])
    assert cells(transformed([given], [transformation])) == [expected]


def test_transformations_of_series() -> None:
    series = series_frames("A", "{{site}}", ANSWER)
    (joined,) = cells(transformed(series, [{"id": "joinByField", "options": {}}]))
    assert joined == {"Time": [10_000.0], "oci": [1.0], "xserver": [None]}
    (rows,) = cells(transformed(series, [{"id": "seriesToRows"}]))
    assert rows == {"Time": [10_000.0, 10_000.0], "Metric": ["oci", "xserver"], "Value": [1.0, None]}
    (labels,) = cells(transformed(series, [{"id": "labelsToFields"}]))
    assert labels["site"] == ["oci", "xserver"]
    assert labels["Value"] == [1.0, None]
    (reduced_rows,) = cells(
        transformed(series, [{"id": "reduce", "options": {"reducers": ["last"], "labelsToFields": True}}])
    )
    assert reduced_rows["site"] == ["oci", "xserver"]
    kept = transformed([*series, frame("B", v=[1.0])], [{"id": "filterByRefId", "options": {"include": "B"}}])
    assert [each.ref for each in kept] == ["B"]


@settings(deadline=None)
@given(
    st.sampled_from(sorted(TRANSFORMATIONS)),
    st.lists(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=4), max_size=3),
)
def test_no_transformation_breaks_on_what_is_empty_or_odd(name: str, columns: list[list[float | None]]) -> None:
    length = min((len(values) for values in columns), default=0)
    given = Frame("A", [Column(f"c{place}", NUMBER, [*values[:length]]) for place, values in enumerate(columns)])
    for found in transformed([given, given], [{"id": name, "options": {}}]):
        assert len({len(column.values) for column in found.columns}) <= 1, "columns are of one length"


@pytest.mark.parametrize(
    ("calculation", "value"),
    [
        ("last", None),
        ("lastNotNull", 2.0),
        ("first", 4.0),
        ("firstNotNull", 4.0),
        ("min", 1.0),
        ("max", 4.0),
        ("mean", 7 / 3),
        ("avg", 7 / 3),
        ("sum", 7.0),
        ("total", 7.0),
        ("count", 4.0),
        ("range", 3.0),
        ("diff", -2.0),
        ("diffperc", -50.0),
        ("median", 2.0),
        ("delta", 0.0),
        ("distinctCount", 4.0),
        ("changeCount", 3.0),
        ("allIsZero", False),
        ("allIsNull", False),
        ("logmin", 1.0),
        ("p50", 2.0),
        ("p99", 4.0),
        ("step", -3.0),
    ],
)
def test_calculations(calculation: str, value: float | None) -> None:
    found = reduced(calculation, [4.0, 1.0, 2.0, None])
    assert found == (pytest.approx(value) if isinstance(value, float) else value)
    assert title(calculation) != calculation or calculation == "allValues"


@settings(deadline=None)
@given(st.sampled_from(sorted(CALCULATIONS)), st.lists(st.one_of(st.none(), st.floats(allow_nan=False))))
def test_no_calculation_breaks(calculation: str, values: list[float | None]) -> None:
    reduced(calculation, list(values))


@pytest.mark.parametrize(
    ("steps", "mode", "value", "shade"),
    [
        ([{"color": "green"}, {"color": "red", "value": 80}], "absolute", 1, "green"),
        ([{"color": "green", "value": None}, {"color": "red", "value": 80}], "absolute", 80, "red"),
        ([{"color": "red", "value": 80}, {"color": "green"}], "absolute", 80, "red"),
        ([{"color": "green"}, {"color": "red", "value": 50}], "percentage", 149, "green"),
        ([{"color": "green"}, {"color": "red", "value": 50}], "percentage", 150, "red"),
        ([{}], "absolute", 1, "text"),
        ([], "absolute", 1, "text"),
    ],
)
def test_thresholds(steps: list[Any], mode: str, value: float, shade: str) -> None:
    config = {"thresholds": {"mode": mode, "steps": steps}, "color": {"mode": "thresholds"}, "min": 100, "max": 200}
    assert field_of({"fieldConfig": {"defaults": config}}).colour(value, 0) == COLOURS[shade]


@pytest.mark.parametrize(
    ("mapping", "value", "text"),
    [
        ({"type": "value", "options": {"1": {"text": "up"}}}, 1.0, "up"),
        ({"type": "value", "options": {"0.5": {"text": "half"}}}, 0.5, "half"),
        ({"type": "value", "options": {"word": {"text": "other"}}}, "word", "other"),
        ({"type": "range", "options": {"from": 1, "to": 2, "result": {"text": "some"}}}, 1.5, "some"),
        ({"type": "range", "options": {"from": None, "to": 2, "result": {"text": "few"}}}, -9.0, "few"),
        ({"type": "range", "options": {"from": 1, "result": {"text": "many"}}}, 9.0, "many"),
        ({"type": "regex", "options": {"pattern": "/^a(.)/", "result": {"text": "<$1>"}}}, "abc", "<b>c"),
        ({"type": "special", "options": {"match": "null", "result": {"text": "N/A"}}}, None, "N/A"),
        ({"type": "special", "options": {"match": "null+nan", "result": {"text": "N/A"}}}, None, "N/A"),
        ({"type": "special", "options": {"match": "empty", "result": {"text": "-"}}}, "", "-"),
        ({"type": "special", "options": {"match": "true", "result": {"text": "yes"}}}, True, "yes"),
    ],
)
def test_mappings(mapping: dict[str, Any], value: Any, text: str) -> None:
    field = field_of({"fieldConfig": {"defaults": {"mappings": [mapping]}}})
    found = field.mapped(value)
    assert found is not None
    assert found.text == text
    assert field.mapped(77.0) is None or mapping["type"] == "range"


@pytest.mark.parametrize(
    ("matcher", "hit"),
    [
        ({"id": "byName", "options": "cpu 1"}, True),
        ({"id": "byName", "options": "Value"}, True),
        ({"id": "byName", "options": "cpu"}, False),
        ({"id": "byNames", "options": {"names": ["cpu 1"]}}, True),
        ({"id": "byNames", "options": {"mode": "exclude", "names": ["cpu 1"]}}, False),
        ({"id": "byRegexp", "options": "/^cpu \\d/"}, True),
        ({"id": "byRegexp", "options": "CPU"}, False),
        ({"id": "byRegexp", "options": "/CPU/i"}, True),
        ({"id": "byType", "options": "number"}, True),
        ({"id": "byFrameRefID", "options": "A"}, True),
        ({"id": "byFrameRefID", "options": "B"}, False),
        ({"id": "byValue", "options": {"reducer": "max", "op": "gte", "value": 2}}, True),
        ({"id": "byNobody", "options": "cpu 1"}, False),
    ],
)
def test_overrides_are_for_the_columns_that_their_matcher_means(matcher: dict[str, Any], hit: bool) -> None:
    overrides = [{"matcher": matcher, "properties": [{"id": "custom.lineStyle", "value": {"fill": "dash"}}]}]
    column = Column("Value", NUMBER, [1.0, 2.0])
    field = Fields({"fieldConfig": {"overrides": overrides}}).of(column, Frame("A", [column]), "cpu 1")
    assert bool(field.custom) == hit


def test_a_pattern_that_is_none_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match="no regular expression"):
        pattern("/(/")


@pytest.mark.parametrize(
    ("name", "css"),
    [
        ("#abc", "#abc"),
        ("rgba(50, 172, 45, 0.97)", "rgba(50, 172, 45, 0.97)"),
        ("text", "inherit"),
        (None, "inherit"),
        ("url(javascript:x)", "inherit"),
        ("transparent", "transparent"),
        ("dark-red", "#9d2222"),
        ("light-blue", "#76a8f9"),
    ],
)
def test_colours(name: str | None, css: str) -> None:
    assert colour(name) == css


@settings(deadline=None)
@given(st.floats(allow_nan=False))
def test_a_continuous_colour_is_one_everywhere(share: float) -> None:
    assert colour(continuous("GrYlRd", share)).startswith("#")
    assert continuous("GrYlRd", 0) == COLOURS["green"]
    assert continuous("GrYlRd", 1) == COLOURS["red"]


@pytest.mark.parametrize(
    ("panel", "said"),
    [
        ({"transformations": [{"id": "heatmap"}]}, ["transformation heatmap"]),
        ({"transformations": [{"id": "heatmap", "disabled": True}]}, []),
        ({"transformations": [{"id": "organize", "options": {}}]}, []),
        (
            {"transformations": [{"id": "calculateField", "options": {"mode": "windowFunctions"}}]},
            ["transformation calculateField: windowFunctions"],
        ),
        ({"fieldConfig": {"overrides": [{"matcher": {"id": "byX"}, "properties": []}]}}, ["override byX"]),
        ({"fieldConfig": {"defaults": {"custom": {"fillBelowTo": "min"}}}}, ["custom.fillBelowTo min"]),
        ({"fieldConfig": {"defaults": {"custom": {"lineInterpolation": "smooth", "gradientMode": "none"}}}}, []),
        ({"fieldConfig": {"defaults": {"custom": {"newThing": 3}}}}, ["custom.newThing"]),
        ({"fieldConfig": {"defaults": {"mappings": [{"type": "new"}]}}}, ["mapping new"]),
        ({"fieldConfig": {"defaults": {"color": {"mode": "continuous-Odd"}}}}, ["color continuous-Odd"]),
        ({"options": {"reduceOptions": {"calcs": ["nope"]}}}, ["calculation nope"]),
        ({"options": {"xField": "Time"}}, ["options.xField"]),
        ({"targets": [{"refId": "A", "datasource": {"type": "__expr__"}, "type": "math"}]}, ["data source __expr__"]),
    ],
)
def test_what_is_not_drawn_as_in_grafana_is_said(panel: dict[str, Any], said: list[str]) -> None:
    assert complaints(panel) == said


def test_an_infinite_value_is_one() -> None:
    assert field_of({}).cell(math.inf)["text"] == "∞"
