"""Dashboards that others wrote: read from the folder, brought up to date, laid out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rectbot.console.shelf import Shelf
from rectbot.dashboards.files import read_all
from rectbot.dashboards.layout import sections
from rectbot.dashboards.migrate import migrated

OURS = Path(__file__).resolve().parents[2] / "docker/monitoring/grafana/dashboards"
PANEL = {"type": "stat", "title": "one", "gridPos": {"x": 0, "y": 0, "w": 6, "h": 4}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "dashboards"
    shutil.copytree(OURS, found)
    return found


def test_every_file_of_the_folder_is_a_dashboard_and_a_broken_one_costs_only_itself(folder: Path) -> None:
    (folder / "own.json").write_text(json.dumps({"uid": "own", "title": "My own", "panels": [PANEL]}))
    (folder / "api.json").write_text(json.dumps({"meta": {}, "dashboard": {"title": "From the API", "panels": []}}))
    (folder / "cut.json").write_text('{"uid": "cut", "pan')
    (folder / "list.json").write_text("[]")
    (folder / "v2.json").write_text(json.dumps({"apiVersion": "dashboard.grafana.app/v2", "spec": {}}))
    (folder / "twin.json").write_text(json.dumps({"uid": "own", "title": "Twin", "panels": []}))
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "readme.txt").write_text("no dashboard")
    (folder / "logs.json").write_bytes(b"\xff\xfe")
    found, broken = read_all(folder)
    assert list(found) == ["rectbot-overview", "rectbot-hosts", "rectbot-failover", "api", "own"]
    assert sorted(broken) == ["cut.json", "deep.json", "list.json", "logs.json", "twin.json", "v2.json"]
    assert "no JSON" in broken["cut.json"]
    assert "'My own'" in broken["twin.json"]
    assert "no list of panels" in broken["v2.json"]


def test_a_file_that_changes_is_read_again(folder: Path) -> None:
    now = 0.0
    shelf = Shelf(folder, lambda: now)
    assert len(shelf["en"]) == 4
    (folder / "own.json").write_text(json.dumps({"title": "My own", "panels": []}))
    (folder / "bad.json").write_text("{")
    assert len(shelf["en"]) == 4, "it looks now and then"
    now = 5.0
    assert shelf["ja"]["own"]["title"] == "My own"
    assert list(shelf.broken) == ["bad.json"]
    (folder / "bad.json").unlink()
    now = 10.0
    assert shelf["en"]
    assert shelf.broken == {}


def test_a_folder_that_is_not_there_is_an_error_for_each_of_ours(tmp_path: Path) -> None:
    found, broken = read_all(tmp_path / "nowhere")
    assert found == {}
    assert len(broken) == 4


def test_a_panel_that_cannot_be_read_costs_only_itself() -> None:
    found = migrated({"panels": [{"type": "graph", "yaxes": "none"}, PANEL, "no panel"]})["panels"]
    assert "cannot be read" in found[0]["reason"]
    assert found[1]["title"] == "one"


def test_rows_of_old_are_places_in_the_grid() -> None:
    rows = [
        {"title": "First", "height": "250px", "showTitle": True, "panels": [{"type": "text", "span": 4}] * 4},
        {"title": "Second", "collapse": True, "panels": [{"type": "text", "span": 12}]},
    ]
    first, second = sections(migrated({"rows": rows}), {})
    assert (first.title, first.folded, second.title, second.folded) == ("First", False, "Second", True)
    assert [(each.x, each.y, each.w) for each in first.panels] == [(0, 0, 8), (8, 0, 8), (16, 0, 8), (0, 7, 8)]
    assert [each.w for each in second.panels] == [24]


def test_a_graph_of_old_is_a_time_series() -> None:
    graph = {
        "type": "graph",
        "stack": True,
        "fill": 2,
        "linewidth": 3,
        "aliasColors": {"a": "#fff"},
        "nullPointMode": "connected",
        "seriesOverrides": [{"alias": "/rx/", "transform": "negative-Y"}, {"alias": "load", "yaxis": 2}],
        "yaxes": [{"format": "bytes", "min": "0", "logBase": 1}, {"format": "percent"}],
        "legend": {"show": True, "values": True, "max": True, "rightSide": True},
    }
    (panel,) = migrated({"panels": [graph]})["panels"]
    defaults, overrides = panel["fieldConfig"]["defaults"], panel["fieldConfig"]["overrides"]
    assert (panel["type"], defaults["unit"], defaults["min"]) == ("timeseries", "bytes", 0)
    assert defaults["custom"]["stacking"]["mode"] == "normal"
    assert (defaults["custom"]["fillOpacity"], defaults["custom"]["spanNulls"]) == (20, True)
    assert panel["options"]["legend"] == {
        "showLegend": True,
        "displayMode": "list",
        "placement": "right",
        "calcs": ["max"],
    }
    assert overrides[0]["matcher"] == {"id": "byName", "options": "a"}
    assert overrides[1]["properties"] == [{"id": "custom.transform", "value": "negative-Y"}]
    assert {"id": "custom.axisPlacement", "value": "right"} in overrides[2]["properties"]
    assert {"id": "unit", "value": "percent"} in overrides[2]["properties"]


@pytest.mark.parametrize(("gauge", "kind"), [({"show": True, "minValue": 0, "maxValue": 10}, "gauge"), ({}, "stat")])
def test_a_single_stat_of_old_is_a_stat_or_a_gauge(gauge: dict[str, Any], kind: str) -> None:
    given = {
        "type": "singlestat",
        "format": "s",
        "valueName": "current",
        "thresholds": "5,9",
        "colorValue": True,
        "gauge": gauge,
        "valueMaps": [{"op": "=", "text": "N/A", "value": "null"}, {"op": "=", "text": "down", "value": "0"}],
    }
    (panel,) = migrated({"panels": [given]})["panels"]
    defaults = panel["fieldConfig"]["defaults"]
    assert (panel["type"], defaults["unit"]) == (kind, "s")
    assert panel["options"]["reduceOptions"]["calcs"] == ["lastNotNull"]
    assert [step["value"] for step in defaults["thresholds"]["steps"]] == [None, 5, 9]
    assert [each["type"] for each in defaults["mappings"]] == ["special", "value"]


def _repeated(**more: Any) -> dict[str, Any]:
    repeated = {**PANEL, "repeat": "site", **more}
    below = {**PANEL, "title": "below", "gridPos": {"x": 0, "y": 4, "w": 24, "h": 4}}
    return migrated({"panels": [repeated, below]})


@pytest.mark.parametrize(
    ("more", "sites", "places", "below"),
    [
        ({}, ["a", "b"], [(0, 0, 12), (12, 0, 12)], 4),
        ({}, ["a"], [(0, 0, 24)], 4),
        ({"maxPerRow": 2}, ["a", "b", "c"], [(0, 0, 12), (12, 0, 12), (0, 4, 12)], 8),
        ({"repeatDirection": "v"}, ["a", "b"], [(0, 0, 6), (0, 4, 6)], 8),
        ({}, [], [(0, 0, 6)], 4),
    ],
)
def test_a_repeated_panel_is_there_for_each_value(
    more: dict[str, Any], sites: list[str], places: list[tuple[int, int, int]], below: int
) -> None:
    (section,) = sections(_repeated(**more), {"site": sites})
    *copies, last = section.panels
    assert [(each.x, each.y, each.w) for each in copies] == places
    assert [dict(each.scope).get("site") for each in copies] == (sites or [None])  # type: ignore[list-item]
    assert last.y == below
    assert len({each.key for each in section.panels}) == len(section.panels)


def test_a_repeated_row_is_there_for_each_value_with_its_panels() -> None:
    row = {"type": "row", "title": "$site", "repeat": "site", "collapsed": True, "panels": [PANEL], "gridPos": {"y": 9}}
    found = sections(migrated({"panels": [PANEL, row]}), {"site": ["a", "b"]})
    assert [(each.scope, each.folded, len(each.panels)) for each in found] == [
        ((), False, 1),
        ((("site", "a"),), True, 1),
        ((("site", "b"),), True, 1),
    ]
    assert found[1].panels[0].scope == (("site", "a"),)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ("type", "title", "gridPos", "panels", "targets", "x", "y", "w", "h", "span", "id", "repeat")
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60, deadline=None)
@given(st.lists(JSON, max_size=4))
def test_whatever_stands_in_a_dashboard_is_laid_out(panels: list[Any]) -> None:
    found = migrated({"panels": panels})
    sections(found, {})
