"""From a panel's JSON and the servers' answers to what is drawn."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from rectbot.console.panels import charts, dials
from rectbot.console.panels.ask import Asker, View
from rectbot.console.panels.cards import CARDS
from rectbot.console.panels.charts import Line
from rectbot.console.panels.colours import COLOURS, PALETTE
from rectbot.console.panels.data import Data
from rectbot.console.panels.draw import Artist
from rectbot.console.panels.fields import Look, field_of
from rectbot.console.panels.frames import series_frames
from rectbot.console.panels.support import complaints
from rectbot.console.panels.table import table
from rectbot.console.upstream import Shared, Upstream
from rectbot.dashboards.model import load, panels
from rectbot.errors import RectbotError

ROOT = Path(__file__).resolve().parents[2]
VIEW = View((), (), 0.0, 600.0)


def _panel(**defaults: Any) -> dict[str, Any]:
    return {"id": 1, "type": "timeseries", "title": "", "targets": [], "fieldConfig": {"defaults": defaults}}


class Answers(Upstream):
    """A server whose answers are known."""

    def __init__(self, result: list[Any]) -> None:
        self.asked: list[dict[str, str]] = []
        self._result = result

    async def get(self, path: str, params: dict[str, str] | None = None, seconds: float = 0) -> Any:
        self.asked.append(params or {})
        return {"data": {"result": self._result}}


def test_every_panel_of_every_dashboard_can_be_shown() -> None:
    for dashboard in load(ROOT / "docker/monitoring/grafana/dashboards").values():
        for panel in panels(dashboard):
            assert panel["type"] in CARDS, panel["title"]


def test_thresholds_mappings_and_overrides_decide_how_a_value_looks() -> None:
    steps = [{"value": None, "color": "green"}, {"value": 80, "color": "red"}]
    panel = _panel(thresholds={"steps": steps}, color={"mode": "thresholds"}, unit="s")
    panel["fieldConfig"]["overrides"] = [
        {
            "matcher": {"id": "byName", "options": "b"},
            "properties": [
                {"id": "unit", "value": "bytes"},
                {"id": "custom.cellOptions", "value": {"type": "color-text"}},
                {"id": "mappings", "value": [{"type": "value", "options": {"1": {"text": "up", "color": "blue"}}}]},
            ],
        }
    ]
    field = field_of(panel, "a")
    assert [field.colour(value, 0) for value in (0, 79.9, 80)] == [COLOURS["green"], COLOURS["green"], COLOURS["red"]]
    assert field.colour(None, 1) == PALETTE[1]
    assert field.mapped(1.0) is None
    other = field_of(panel, "b")
    assert (other.unit, field.unit) == ("bytes", "s")
    assert other.mapped(1.0) == Look("up", COLOURS["blue"])
    assert other.custom["cellOptions"] == {"type": "color-text"}
    assert "custom" not in panel["fieldConfig"]["defaults"], "the panel itself is left as it is"


def _matrix(metric: dict[str, str], *values: list[Any]) -> dict[str, Any]:
    return {"metric": metric, "values": list(values)}


async def _drawn(panel: dict[str, Any], result: list[Any]) -> dict[str, Any]:
    server = Answers(result)
    drawing = await Artist(Asker(server, server)).draw({"uid": "d"}, panel, VIEW)
    return {
        key: value if isinstance(value, bool) else json.loads(orjson.dumps(value)) for key, value in drawing.items()
    }


async def test_a_series_has_gaps_where_samples_are_missing_and_where_they_are_no_numbers() -> None:
    values = [[0, "1"], [15, "2"], [60, "NaN"], [75, "+Inf"], [90, "3"]]
    panel = _panel() | {"targets": [{"refId": "A", "expr": "up", "legendFormat": "{{site}}", "range": True}]}
    series = (await _drawn(panel, [_matrix({"site": "oci"}, *values)]))["options"]["series"][0]
    points = [point["value"] if isinstance(point, dict) else point for point in series["data"]]
    assert series["name"] == "oci"
    assert points == [
        [0, 1.0], [15_000, 2.0], [30_000, None], [60_000, None], [75_000, None], [90_000, 3.0]
    ]  # fmt: skip


async def test_an_annotation_is_the_beginning_of_each_run_of_samples() -> None:
    values = [[0, "1"], [15, "1"], [30, "0"], [300, "2"]]
    server = Answers([{"metric": {"kind": "expired"}, "values": values}])
    dashboard = {"annotations": {"list": [{"name": "x", "expr": "e", "titleFormat": "{{kind}}", "iconColor": "red"}]}}
    marks = await Asker(server, server).annotations(dashboard, VIEW, 15)
    assert marks == [(0, "expired", "red"), (300_000, "expired", "red")]


ROWS = [{"metric": {"site": "oci", "job": "hub"}, "value": [0, "1"]}, {"metric": {"site": "x y"}, "value": [0, "2"]}]


def _table(*, links: list[Any], renamed: dict[str, str]) -> list[list[dict[str, Any]]]:
    panel = _panel(links=links) | {"type": "table"}
    panel["transformations"] = [{"id": "organize", "options": {"renameByName": renamed}}]
    frames = series_frames("A", "", ROWS)
    panel["transformations"].insert(0, {"id": "labelsToFields"})
    found: list[list[dict[str, Any]]] = table(Data(panel, frames, VIEW))["rows"]
    return found


@pytest.mark.parametrize(
    ("url", "first", "second"),
    [
        ("/d/x?var-site=${__data.fields.site}", "/d/x?var-site=oci", "/d/x?var-site=x%20y"),
        ("/d/x?var-site=${__data.fields.Site}", "/d/x?var-site=oci", "/d/x?var-site=x%20y"),
        ('/d/x?var-site=${__data.fields["Site"]}', "/d/x?var-site=oci", "/d/x?var-site=x%20y"),
        ("/d/x?n=${__data.fields.Value}", "/d/x?n=1", "/d/x?n=2"),
        ("/d/x?v=${__value.raw}&f=${__field.name}", "/d/x?v=1&f=Value", "/d/x?v=2&f=Value"),
        ("/d/x?from=${__from}", "/d/x?from=0", "/d/x?from=0"),
        ("https://wiki.example/${__data.fields.Site}", "https://wiki.example/oci", "https://wiki.example/x%20y"),
        ("javascript:alert(1)", "", ""),
        ("//elsewhere.example/", "", ""),
        ("/\\elsewhere.example/", "", ""),
        ("${__data.fields.Site}", "", ""),
    ],
)
def test_a_link_knows_the_other_columns_by_both_their_names_and_leads_nowhere_odd(
    url: str, first: str, second: str
) -> None:
    rows = _table(links=[{"title": "", "url": url}], renamed={"site": "Site"})
    assert [row[-1].get("link", "") for row in rows] == [first, second]


async def test_an_alerts_table_shows_what_it_includes_and_no_raw_labels() -> None:
    panel = _panel() | {
        "type": "table",
        "targets": [{"refId": "A", "expr": "ALERTS", "format": "table", "instant": True}],
    }
    panel["transformations"] = [
        {"id": "organize", "options": {"includeByName": {"site": True}, "renameByName": {"site": "Site"}}}
    ]
    drawn = await _drawn(panel, ROWS)
    assert [column["title"] for column in drawn["columns"]] == ["Site"]
    assert [[cell["text"] for cell in row] for row in drawn["rows"]] == [["oci"], ["x y"]]


@pytest.mark.parametrize(
    ("calculation", "value"), [("lastNotNull", 3), ("max", 9), ("mean", 4.0), ("min", 0), ("sum", 12)]
)
async def test_a_stat_shows_what_it_is_to_compute(calculation: str, value: float) -> None:
    panel = _panel() | {"type": "stat", "targets": [{"refId": "A", "expr": "x"}]}
    panel["options"] = {"reduceOptions": {"calcs": [calculation]}}
    drawn = await _drawn(panel, [_matrix({}, [0, "0"], [15, "9"], [30, "3"], [45, "NaN"])])
    assert [item["cell"]["value"] for item in drawn["items"]] == [value]


@pytest.mark.parametrize(
    "broken",
    [
        {"fieldConfig": {"defaults": {"thresholds": {"steps": "none"}}}},
        {"fieldConfig": {"defaults": {"thresholds": {"steps": [{"value": "high"}]}}}},
        {"fieldConfig": {"defaults": {"mappings": [3]}}},
        {"fieldConfig": {"overrides": [{"matcher": {"id": "byRegexp", "options": "/(/"}, "properties": []}]}},
        {"transformations": [{"id": "organize", "options": []}]},
        {"options": {"reduceOptions": {"limit": "many", "values": True}}},
    ],
)
@pytest.mark.parametrize("kind", sorted(set(CARDS) - {"text", "logs"}))
async def test_a_fault_in_a_panel_is_said_in_it_and_logged_once(
    kind: str, broken: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    panel = {**_panel(), **broken, "type": kind, "targets": [{"refId": "A", "expr": "x"}]}
    server = Answers([_matrix({}, [0, "1"])])
    artist = Artist(Asker(server, server))
    for start in (0.0, 15.0):
        try:
            await artist.draw({"uid": "d"}, panel, View((), (), start, 600.0))
        except RectbotError as error:
            assert "cannot be drawn" in str(error)  # noqa: PT017 - what does not matter to a kind of panel is no fault in it
    assert sum("cannot be drawn" in record.message for record in caplog.records) <= 1
    complaints({**panel, **({} if "fieldConfig" in broken else broken)} if "options" in broken else {})


async def test_a_threshold_without_a_value_draws_the_panel() -> None:
    panel = _panel(
        thresholds={"steps": [{"color": "green"}, {"color": "red", "value": 5}]}, color={"mode": "thresholds"}
    )
    panel |= {"type": "stat", "targets": [{"refId": "A", "expr": "x"}]}
    drawn = await _drawn(panel, [_matrix({}, [0, "1"])])
    assert drawn["items"][0]["colour"] == COLOURS["green"]


def _line(name: str, points: list[list[float | None]], panel: dict[str, Any], index: int = 0) -> Line:
    return Line(name, points, field_of(panel, name), index)


def test_a_state_lasts_until_it_changes_and_no_longer_than_a_step_without_a_sample() -> None:
    points: list[list[float | None]] = [[0, 1], [15, 1], [30, 2], [45, None], [90, 2]]
    assert dials.stretches(points, 15.0) == [(0, 30, 1), (30, 45, 2), (90, 105, 2)]


@pytest.mark.parametrize("style", ["bars", "line"])
def test_what_is_stacked_stands_at_the_same_moments(style: str) -> None:
    panel = _panel(custom={"drawStyle": style, "stacking": {"mode": "normal"}})
    series = [_line("a", [[60_000, 1.0]], panel), _line("b", [[120_000, 2.0]], panel, 1)]
    drawn = charts.timeseries(panel, series, VIEW, 60, [])["series"][:2]
    moments = [[(point["value"] if isinstance(point, dict) else point)[0] for point in each["data"]] for each in drawn]
    assert moments == [[n * 60_000 for n in range(11)]] * 2
    assert drawn[0]["stack"] == drawn[1]["stack"]


def test_percent_stacking_shows_shares() -> None:
    panel = _panel(custom={"stacking": {"mode": "percent"}})
    series = [_line("a", [[60_000, 1.0]], panel), _line("b", [[60_000, 3.0]], panel, 1)]
    drawn = charts.timeseries(panel, series, VIEW, 60, [])
    values = [[point["value"][1] for point in each["data"] if isinstance(point, dict)] for each in drawn["series"][:2]]
    assert values == [[0.25], [0.75]]
    assert drawn["yAxis"][0]["max"] == 1


def test_a_series_goes_down_is_dashed_hidden_or_on_the_other_side_as_its_override_says() -> None:
    panel = _panel(unit="Bps")
    panel["fieldConfig"]["overrides"] = [
        {"matcher": {"id": "byRegexp", "options": "/out/"}, "properties": [
            {"id": "custom.transform", "value": "negative-Y"}, {"id": "custom.lineStyle", "value": {"fill": "dash"}}]},
        {"matcher": {"id": "byName", "options": "gone"}, "properties": [
            {"id": "custom.hideFrom", "value": {"viz": True}}]},
        {"matcher": {"id": "byName", "options": "load"}, "properties": [
            {"id": "custom.axisPlacement", "value": "right"}, {"id": "unit", "value": "short"}]},
    ]  # fmt: skip
    names = ("in", "bytes out", "gone", "load")
    lines = [_line(name, [[0.0, 2.0], [15_000.0, 4.0]], panel, index) for index, name in enumerate(names)]
    drawn = charts.timeseries(panel, lines, VIEW, 15, [])
    shown = {each["name"]: each for each in drawn["series"][:-1]}
    assert list(shown) == ["in", "bytes out", "load"]
    assert shown["bytes out"]["data"] == [[0.0, -2.0], [15_000.0, -4.0]]
    assert shown["bytes out"]["lineStyle"]["type"] == [10, 10]
    assert [(axis["position"], axis["format"]["unit"]) for axis in drawn["yAxis"]] == [
        ("left", "Bps"),
        ("right", "short"),
    ]
    assert (shown["in"]["yAxisIndex"], shown["load"]["yAxisIndex"]) == (0, 1)


@pytest.mark.parametrize(("most", "interval"), [(14 * 2**30, 4 * 2**30), (900 * 2**20, 250 * 2**20), (700, 200)])
def test_what_is_counted_in_1024s_has_ticks_of_those(most: float, interval: float) -> None:
    panel = _panel(unit="bytes")
    axis = charts.timeseries(panel, [_line("a", [[0.0, most]], panel)], VIEW, 15, [])["yAxis"][0]
    assert axis["interval"] == interval
    assert axis["max"] >= most


def test_what_a_chart_is_made_of_holds_no_code() -> None:
    """The toolkit would run what stands under a key that begins with a colon."""
    evil = '"+alert(1)+"'
    panel = _panel(unit=evil, decimals=1, mappings=[{"type": "value", "options": {"1": {"text": evil}}}])
    line = _line(evil, [[0.0, 1.0]], panel)
    for options in (
        charts.timeseries(panel, [line], VIEW, 15, [(0, evil, "red")]),
        dials.state_timeline(panel, [line], VIEW, 15),
        dials.gauge([(evil, 1.0, line.field)]),
        dials.pie(panel, [(evil, 1.0, line.field)]),
    ):
        assert not re.findall(r'":\w+":', json.dumps(options))


async def test_one_question_is_asked_once_however_many_ask() -> None:
    asked, shared, now = [], Shared(lambda: now), 0.0

    async def ask() -> int:
        asked.append(1)
        await asyncio.sleep(0)
        return len(asked)

    assert await asyncio.gather(*(shared.get("q", 10, ask) for _ in range(20))) == [1] * 20
    now = 9.9
    assert await shared.get("q", 10, ask) == 1
    now = 10.0
    assert await shared.get("q", 10, ask) == 2
    assert await shared.get("other", 10, ask) == 3


async def test_a_failure_is_told_to_all_and_tried_again_soon() -> None:
    tried, now = [], 0.0
    shared = Shared(lambda: now)

    async def fail() -> None:
        tried.append(1)
        raise RectbotError("away")

    for _ in range(3):
        with pytest.raises(RectbotError, match="away"):
            await shared.get("q", 30, fail)
    assert len(tried) == 1
    now = 1.5
    with pytest.raises(RectbotError):
        await shared.get("q", 30, fail)
    assert len(tried) == 2


async def test_who_goes_away_takes_the_answer_from_nobody() -> None:
    shared, go = Shared(), asyncio.Event()

    async def ask() -> str:
        await go.wait()
        return "answer"

    impatient, patient = (asyncio.create_task(shared.get("q", 10, ask)) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    go.set()
    assert await patient == "answer"
