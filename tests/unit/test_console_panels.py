"""From a panel's JSON and the servers' answers to what is drawn."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from rectbot.console.panels import charts, draw
from rectbot.console.panels.ask import Asker, Sample, Series, View
from rectbot.console.panels.cards import CARDS
from rectbot.console.panels.fields import COLOURS, PALETTE, field_of
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
    assert other.mapped(1.0) == ("up", COLOURS["blue"])
    assert other.custom["cellOptions"] == {"type": "color-text"}
    assert "custom" not in panel["fieldConfig"]["defaults"], "the panel itself is left as it is"


async def test_a_series_has_gaps_where_samples_are_missing_and_where_they_are_no_numbers() -> None:
    values = [[0, "1"], [15, "2"], [60, "NaN"], [75, "+Inf"], [90, "3"]]
    server = Answers([{"metric": {"site": "oci"}, "values": values}])
    panel = _panel() | {"targets": [{"refId": "A", "expr": "up", "legendFormat": "{{site}}", "range": True}]}
    (series,) = await Asker(server, server).series(panel, VIEW)
    assert series.name == "oci"
    assert series.points == [
        [0, 1.0], [15_000, 2.0], [30_000, None], [60_000, None], [75_000, None], [90_000, 3.0]
    ]  # fmt: skip
    assert server.asked[0]["step"] == "15"


async def test_an_annotation_is_the_beginning_of_each_run_of_samples() -> None:
    values = [[0, "1"], [15, "1"], [30, "0"], [300, "2"]]
    server = Answers([{"metric": {"kind": "expired"}, "values": values}])
    dashboard = {"annotations": {"list": [{"name": "x", "expr": "e", "titleFormat": "{{kind}}", "iconColor": "red"}]}}
    marks = await Asker(server, server).annotations(dashboard, VIEW, 15)
    assert marks == [(0, "expired", "red"), (300_000, "expired", "red")]


def test_rows_of_a_table_are_merged_by_labels_and_its_columns_named_ordered_and_hidden() -> None:
    samples = [
        Sample("A", "", {"site": "oci", "job": "hub"}, 1.0),
        Sample("A", "", {"site": "xserver", "job": "hub"}, 2.0),
        Sample("B", "", {"site": "oci", "job": "hub"}, 3.0),
    ]
    names, rows = draw._merged(samples, many=True)
    assert names == ["site", "job", "Value #A", "Value #B"]
    assert rows[0] == {"site": "oci", "job": "hub", "Value #A": 1.0, "Value #B": 3.0}
    assert rows[1] == {"site": "xserver", "job": "hub", "Value #A": 2.0}
    options = {
        "excludeByName": {"job": True},
        "renameByName": {"Value #A": "Age"},
        "indexByName": {"Value #B": 0, "site": 1, "Value #A": 2},
    }
    shown, titles = draw._organized(names, [{"id": "merge"}, {"id": "organize", "options": options}])
    assert [titles[name] for name in shown] == ["Value #B", "site", "Age"]


def test_links_lead_to_our_own_pages_only() -> None:
    panel = _panel()
    panel["fieldConfig"]["defaults"]["links"] = [{"title": "", "url": "/d/x?var-site=${__data.fields.site}"}]
    cell = draw._table_cell(panel, "site", "oci", {"site": "oci"}, VIEW)
    assert cell["link"] == "/d/x?var-site=oci"
    panel["fieldConfig"]["defaults"]["links"] = [{"title": "", "url": "javascript:alert(1)"}]
    assert draw._table_cell(panel, "site", "oci", {"site": "oci"}, VIEW)["link"] == ""


def test_a_state_lasts_until_it_changes_and_no_longer_than_a_step_without_a_sample() -> None:
    points: list[list[float | None]] = [[0, 1], [15, 1], [30, 2], [45, None], [90, 2]]
    assert charts._stretches(points, 15.0) == [(0, 30, 1), (30, 45, 2), (90, 105, 2)]


def test_bars_of_all_series_stand_at_the_same_moments() -> None:
    panel = _panel(custom={"drawStyle": "bars", "stacking": {"mode": "normal"}})
    series = [Series("a", [[60_000, 1.0]]), Series("b", [[120_000, 2.0]])]
    first, second = charts.timeseries(panel, series, VIEW, 60, [])["series"][:2]
    assert [point[0] for point in first["data"]] == [n * 60_000 for n in range(11)]
    assert [point[0] for point in second["data"]] == [point[0] for point in first["data"]]
    assert first["stack"] == second["stack"]


def test_code_for_the_browser_holds_nothing_of_the_data() -> None:
    """Names and units come from labels and files; what begins with a colon is run."""
    evil = '"+alert(1)+"'
    panel = _panel(unit=evil, decimals=1, mappings=[{"type": "value", "options": {"1": {"text": evil}}}])
    series = [Series(evil, [[0.0, 1.0]])]
    for options in (
        charts.timeseries(panel, series, VIEW, 15, [(0, evil, "red")]),
        charts.state_timeline(panel, series, VIEW, 15),
        charts.gauge(panel, [(evil, 1.0)]),
    ):
        text = json.dumps(options)
        for code in re.findall(r'":\w+": ("(?:[^"\\]|\\.)*")', text):
            assert "alert" not in json.loads(code).replace("alert1", "")


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
