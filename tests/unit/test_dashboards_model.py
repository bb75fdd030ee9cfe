"""Dashboards read as Grafana reads them: variables, steps, legends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rectbot.dashboards import model
from rectbot.dashboards.model import Variable, Window
from rectbot.errors import RectbotError

SITE = Variable("site", "Site", "query", "prometheus", "up", "site", multi=True, all_value=".+", include_all=True)
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


def _variable(**given: Any) -> Variable:
    (found,) = model.variables({"templating": {"list": [{"name": "v", **given}]}})
    return found


@pytest.mark.parametrize(
    ("query", "read"),
    [
        ({"query": 'label_values(up{job=~"a, b"}, site)'}, ("prometheus", 'up{job=~"a, b"}', "site", "")),
        ("label_values(site)", ("prometheus", "", "site", "")),
        (
            ' label_values( node_uname_info{job="$job"},\n nodename ) ',
            ("prometheus", 'node_uname_info{job="$job"}', "nodename", ""),
        ),
        ("query_result(topk(5, up))", ("prometheus", "", "", "topk(5, up)")),
        ({"label": "job", "stream": '{a="b"}', "type": 1}, ("loki", '{a="b"}', "job", "")),
    ],
)
def test_a_query_variable_is_read(query: Any, read: tuple[str, ...]) -> None:
    found = _variable(type="query", query=query)
    assert (found.source, found.metric, found.of_label, found.query) == read
    assert not found.lack


@pytest.mark.parametrize("given", [{"type": "query", "query": "magic(up)"}, {"type": "adhoc"}, {"type": "switch"}])
def test_a_variable_that_is_not_known_says_so_and_costs_only_itself(given: dict[str, Any]) -> None:
    assert "the variable v" in _variable(**given).lack


def test_variables_of_other_kinds_are_read() -> None:
    custom = _variable(type="custom", query="info, a\\,b, Warning : warn", multi=True, includeAll=True, allValue=".+")
    assert (custom.choices, custom.all_value, custom.default) == (("info", "a,b", "warn"), ".+", None)
    assert dict(custom.texts) == {"warn": "Warning"}
    assert _variable(type="custom", query="a,b").default == ("a",)
    assert _variable(type="custom", query="a,b", current={"value": "b"}).default == ("b",)
    assert _variable(type="textbox", query="x").default == ("x",)
    assert _variable(type="constant", query="x").hidden
    source = _variable(type="datasource", query="prometheus", current={"value": "abcdef"})
    assert (source.choices, source.default) == (("prometheus",), ("prometheus",))
    assert "mysql" in _variable(type="datasource", query="mysql").lack
    assert _variable(type="interval", query="1m,5m", auto=True).choices == ("auto", "1m", "5m")


@pytest.mark.parametrize(
    ("regex", "sort", "values"),
    [
        ("", 1, ["a10", "a9", "b1"]),
        ("", 2, ["b1", "a9", "a10"]),
        ("", 7, ["a9", "a10", "b1"]),
        ("", 3, ["b1", "a9", "a10"]),
        ("/^a/", 0, ["a9", "a10"]),
        ("/^a(\\d+)/", 0, ["9", "10"]),
        ("/(?<text>.)(?<value>\\d)$/", 0, ["9", "0", "1"]),
    ],
)
def test_values_are_cut_and_sorted(regex: str, sort: int, values: list[str]) -> None:
    assert _variable(type="query", query="label_values(x)", regex=regex, sort=sort).kept(["a9", "a10", "b1"]) == values


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("[[site]] $site ${site}", "a,b a,b a,b"),
        ("${site:pipe}", "a|b"),
        ("${site:regex}", "(a|b)"),
        ("${site:csv}", "a,b"),
        ("${site:json}", '["a", "b"]'),
        ("${site:glob}", "{a,b}"),
        ("${site:singlequote}", "'a','b'"),
        ("${site:doublequote}", '"a","b"'),
        ("${site:percentencode}", "a%2Cb"),
        ("${site:queryparam}", "var-site=a&var-site=b"),
        ("${__from:date:iso}", "1970-01-01T00:16:40.000Z"),
        ("${__to:date:seconds}", "4600"),
        ("$__rate_interval_ms", "60000"),
    ],
)
def test_formats_of_variables(text: str, written: str) -> None:
    assert put(text, "", {"site": ["a", "b"]}) == written


def test_all_without_a_value_for_it_is_every_choice() -> None:
    found = _variable(type="query", query="label_values(x)", includeAll=True, multi=True)
    assert not found.decided
    assert model.interpolate("$v", "prometheus", [found], {"v": None}, HOUR) == ".*"


@pytest.mark.parametrize(
    ("given", "source"),
    [
        ({"type": "loki", "uid": "x"}, "loki"),
        ("Loki", "loki"),
        ("$ds", "loki"),
        ("${ds}", "loki"),
        (None, "prometheus"),
        ({"uid": "${ds}"}, "loki"),
        ({"type": "influxdb", "uid": "x"}, "influxdb"),
        ("-- Grafana --", "grafana"),
        ("prometheus", "prometheus"),
        ("${DS_PROMETHEUS}", "prometheus"),
    ],
)
def test_which_server_a_query_goes_to(given: Any, source: str) -> None:
    known = [Variable("ds", "", "datasource", source="loki")]
    assert model.source_of({"datasource": given}, {}, known) == source
    assert model.source_of({"datasource": "-- Mixed --"}, {"datasource": given}, known) == source


def test_a_broken_file_is_an_error_that_says_how_to_mend_it(tmp_path: Path) -> None:
    with pytest.raises(RectbotError, match=r"overview\.json: cannot be read .*rectbot dashboards build"):
        model.load(tmp_path)
    (tmp_path / "overview.json").write_text(json.dumps({"uid": "x"})[:-1])
    with pytest.raises(RectbotError, match=r"overview\.json"):
        model.load(tmp_path)
