"""Dashboards read as Grafana reads them: variables, steps, legends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rectbot.dashboards import model
from rectbot.dashboards.model import Variable, Window
from rectbot.errors import RectbotError

SITE = Variable("site", "Site", "query", "prometheus", "up", "site", multi=True, all_value=".+")
SEARCH = Variable("search", "Search", "textbox")
HOUR = Window(1000, 4600, step=30, scrape=15)


def put(text: str, source: str = "prometheus", values: model.Values | None = None, window: Window = HOUR) -> str:
    return model.interpolate(text, source, [SITE, SEARCH], values or {}, window)


@pytest.mark.parametrize(
    ("chosen", "written"),
    [
        (None, ".+"),
        (["oci"], "oci"),
        (["xserver", "oci"], "(xserver|oci)"),
        (["a.b"], r"a\\.b"),
        (["a+b", "c|d"], r"(a\\+b|c\\|d)"),
        (['say "x"'], r"say \"x\""),
        ([r"a\b"], r"a\\\\b"),
    ],
)
@pytest.mark.parametrize("source", ["prometheus", "loki"])
def test_values_are_a_regular_expression_inside_a_string(source: str, chosen: list[str] | None, written: str) -> None:
    assert put('up{site=~"$site"}', source, {"site": chosen}) == f'up{{site=~"{written}"}}'
    assert put('up{site=~"${site}"}', source, {"site": chosen}) == f'up{{site=~"{written}"}}'


def test_raw_is_raw() -> None:
    assert put("|~ `(?i)${search:raw}`", "loki", {"search": ["a.b|c"]}) == "|~ `(?i)a.b|c`"
    assert put("|~ `(?i)${search:raw}`", "loki") == "|~ `(?i)`"


@pytest.mark.parametrize(
    ("chosen", "written"),
    [(None, "var-site=$__all"), (["oci"], "var-site=oci"), (["a&b", "c d"], "var-site=a%26b&var-site=c%20d")],
)
def test_links_carry_what_is_chosen(chosen: list[str] | None, written: str) -> None:
    assert put("/d/x?${site:queryparam}", "", {"site": chosen}) == f"/d/x?{written}"


def test_time_is_known_and_what_is_unknown_stays() -> None:
    assert put("[$__interval] [$__range] $__range_s ${__from} ${__to}") == "[30s] [3600s] 3600 1000000 4600000"
    assert put("$other ${other:raw} costs $5") == "$other ${other:raw} costs $5"


@pytest.mark.parametrize(
    ("step", "scrape", "rate"), [(15, 15, "60s"), (30, 15, "60s"), (60, 15, "75s"), (1, 1, "4s"), (0.5, 0.25, "1s")]
)
def test_the_rate_interval_holds_four_scrapes(step: float, scrape: float, rate: str) -> None:
    assert put("$__rate_interval", window=Window(0, 60, step, scrape)) == rate


def test_an_interval_below_a_second_is_written_in_milliseconds() -> None:
    assert put("$__interval", window=Window(0, 60, 0.25)) == "250ms"


@pytest.mark.parametrize(
    ("panel", "length", "step"),
    [
        ({}, 60, 15),
        ({}, 3600, 15),
        ({}, 6 * 3600, 120),
        ({}, 86400, 300),
        ({"interval": "1m"}, 3600, 60),
        ({"interval": "1m"}, 86400, 300),
        ({}, 3 * 365 * 86400, 86400),
    ],
)
def test_steps_are_round_and_no_less_than_a_scrape(panel: dict[str, str], length: float, step: float) -> None:
    assert model.step_of(panel, length) == step


def test_durations() -> None:
    assert model.seconds("1h30m") == 5400
    for wrong in ("", "5", "m", "1.5h"):
        with pytest.raises(RectbotError, match="is no duration"):
            model.seconds(wrong)


@pytest.mark.parametrize(
    ("template", "labels", "name"),
    [
        ("{{site}} p95", {"site": "oci"}, "oci p95"),
        ("{{ gone }}x", {}, "x"),
        ("", {"__name__": "up", "job": "hub"}, 'up{job="hub"}'),
        ("", {}, "{}"),
    ],
)
def test_series_are_named(template: str, labels: dict[str, str], name: str) -> None:
    assert model.legend(template, labels) == name


def test_variables_of_every_kind_are_read() -> None:
    common = {"multi": True, "includeAll": True, "allValue": ".+"}
    dashboard: dict[str, Any] = {
        "templating": {
            "list": [
                {"name": "site", "label": "Site", "type": "query", "datasource": {"type": "prometheus"}, **common}
                | {"query": {"query": 'label_values(up{job=~"a, b"}, site)'}},
                {"name": "job", "type": "query", "datasource": {"type": "loki"}, **common, "query": {"label": "job"}},
                {"name": "level", "type": "custom", "query": "info, error", **common},
                {"name": "search", "type": "textbox", "query": "", "allValue": "x"},
            ]
        }
    }
    assert model.variables(dashboard) == [
        Variable("site", "Site", "query", "prometheus", 'up{job=~"a, b"}', "site", multi=True, all_value=".+"),
        Variable("job", "job", "query", "loki", "", "job", multi=True, all_value=".+"),
        Variable("level", "level", "custom", multi=True, all_value=".+", choices=("info", "error")),
        Variable("search", "search", "textbox"),
    ]
    dashboard["templating"]["list"][0]["query"] = {"query": "query_result(up)"}
    with pytest.raises(RectbotError, match="the variable site asks for"):
        model.variables(dashboard)


def test_a_broken_file_is_an_error_that_says_how_to_mend_it(tmp_path: Path) -> None:
    with pytest.raises(RectbotError, match=r"overview\.json: cannot be read .*rectbot dashboards build"):
        model.load(tmp_path)
    (tmp_path / "overview.json").write_text(json.dumps({"uid": "x"})[:-1])
    with pytest.raises(RectbotError, match=r"overview\.json"):
        model.load(tmp_path)
