"""Every query of every dashboard on a running stack.

Pushes, faults, an operator's orders and log lines are played; then each query brings data from the real Prometheus and
the log store. The stack is this file's own: its scrapes and one rule are sped up.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from e2e.stack import ROOT, Stack, until
from rectbot.dashboards import model
from rectbot.dashboards.shared import UNKNOWN
from servers_monitoring import changed

pytestmark = pytest.mark.timeout(480)

HTTP = urllib3.PoolManager(timeout=10, retries=False)
DASHBOARDS = model.load(ROOT / "docker" / "monitoring" / "grafana" / "dashboards")
STEP = 2.0
LINES = {
    "debug": '{"level": "debug", "logger": "shop", "msg": "looked up a price"}',
    "warn": 'level=warn msg="the till is slow"',
    "error": '{"level": "error", "logger": "shop", "msg": "the till (no. 7) is on fire"}',
    "": "a line of no level",
}
each_dashboard = pytest.mark.parametrize("uid", DASHBOARDS)


@dataclass
class Played:
    """The stack after the play, and when that began."""

    stack: Stack
    began: float

    def window(self) -> model.Window:
        return model.Window(self.began, time.time(), STEP, scrape=1)

    def ask(self, source: str, path: str, **parameters: object) -> Any:
        """An answer of Prometheus or the log store; anything but success is an error of the query."""
        prefix = "/api/v1" if source == "prometheus" else "/loki/api/v1"
        fields = {name: str(value) for name, value in parameters.items()}
        answer = HTTP.request("GET", f"{self.stack.url(source)}{prefix}/{path}", fields=fields)
        assert answer.status == 200, f"{parameters}: {answer.data.decode()[:500]}"
        body = json.loads(answer.data)
        assert body["status"] == "success", body
        assert not body.get("warnings"), body
        return body["data"]

    def query(self, source: str, expr: str, *, instant: bool) -> list[Any]:
        """The series, or streams, of a query over the time of the play, or at its end."""
        window = self.window()
        if instant:
            result = self.ask(source, "query", query=expr, time=window.end)["result"]
        else:
            span = {"start": window.start, "end": window.end, "step": window.step}
            result = self.ask(source, "query_range", query=expr, **span)["result"]
        found: list[Any] = result
        return found

    def series(self, uid: str, target: dict[str, Any], values: model.Values | None = None) -> list[Any]:
        """What a panel's query brings, with the variables at all or at `values`."""
        source, known = target["datasource"]["type"], model.variables(DASHBOARDS[uid])
        expr = model.interpolate(target["expr"], source, known, values or {}, self.window())
        instant = bool(target.get("instant")) or target.get("queryType") == "instant"
        return self.query(source, expr, instant=instant)

    def value(self, expr: str) -> float:
        """The sum of what Prometheus has now."""
        return sum(float(series["value"][1]) for series in self.query("prometheus", expr, instant=True))


def has_data(series: list[Any]) -> bool:
    """Whether there is a log line, or a number that is one."""
    for each in series:
        values = each.get("values") or [each["value"]]
        if "stream" in each or any(math.isfinite(float(value)) for _, value in values):
            return True
    return False


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """A short life: pushes, log lines, a death and a return, and an operator who takes over."""
    stack = Stack.prepare(tmp_path_factory.mktemp("home"))
    _speed_up(stack.home / "docker" / "monitoring" / "prometheus")
    stack.run("init")
    try:
        play = Played(stack, time.time())
        stack.run("up", "--detach")
        until(lambda: play.query("prometheus", "rectbot_failover_leader", instant=True), 30, "the leader is scraped")
        _ship(stack, tmp_path_factory.mktemp("log") / "shop.log")
        stack.run("site", "kill", "xserver")
        until(lambda: play.value('rectbot_failover_events_total{kind="expired"}'), 30, "the death is scraped")
        stack.run("site", "start", "xserver")
        until(lambda: play.value('rectbot_failover_leader{site="xserver"}'), 40, "xserver leads again")
        pid_file, spool = stack.var / "run" / "bot-xserver.pid", stack.var / "spool" / "bot-xserver"
        stack.run("push", BOT_PID_FILE=str(pid_file), LOKI_SPOOL=str(spool))
        stack.run("failover", "switch", "oci")
        stack.run("failover", "hold", "--why", "the play")
        stack.run("failover", "drain", "xserver")
        until(lambda: play.value("rectbot_failover_site_drained"), 20, "the orders are scraped")
        yield play
        print(stack.run("down").stdout)
    finally:
        stack.destroy()


def _speed_up(prometheus: Path) -> None:
    """A scrape each second, and a rule that fires on a push of two seconds ago."""
    for name, changes in {
        "prometheus.yml": {"_interval: 15s": "_interval: 1s"},
        "alerts/xserver.yml": {'{aside=""} > 180\n        for: 2m': '{aside=""} > 2'},
    }.items():
        path = prometheus / name
        path.write_text(changed(path.read_text(), changes))


def _ship(stack: Stack, path: Path) -> None:
    path.write_text("\n".join(LINES.values()) + "\n")
    command = ("logs", "ship", str(path), "--once", "--job", "shop")
    stack.run(*command, SITE_ID="xserver", LOKI_URL=stack.url("loki"))


@pytest.mark.parametrize(
    ("uid", "title", "target"),
    [
        pytest.param(uid, panel["title"], target, id=f"{uid}: {panel['title']} {target['refId']}")
        for uid, dashboard in DASHBOARDS.items()
        for panel, target in model.targets(dashboard)
    ],
)
def test_every_query_of_every_panel_brings_data(played: Played, uid: str, title: str, target: dict[str, Any]) -> None:
    if "site_damped_seconds" in target["expr"]:  # nobody is damped in this play, and a table shows nothing then
        target = target | {"expr": target["expr"].removesuffix(" > 0")}
    if target["expr"] == UNKNOWN.expr:
        assert not has_data(played.series(uid, target)), "it says so only while the store is away"
    else:
        until(lambda: has_data(played.series(uid, target)), 20, f"{title}: data")
    if target["datasource"]["type"] == "prometheus":
        known = model.variables(DASHBOARDS[uid])
        expr = model.interpolate(target["expr"], "prometheus", known, {}, played.window())
        played.ask("prometheus", "format_query", query=expr)


@each_dashboard
def test_every_variable_has_values_and_filters(played: Played, uid: str) -> None:
    for variable in model.variables(DASHBOARDS[uid]):
        if variable.kind != "query":
            continue
        only = {"match[]": variable.metric} if variable.metric else {}
        values = played.ask(variable.source, f"label/{variable.of_label}/values", **only)
        assert set(values) >= ({"xserver", "oci"} if variable.name == "site" else set())
        assert values
        if variable.name == "job":
            assert set(values) >= ({"bot", "shop"} if variable.source == "loki" else {"xserver-bot"})
        for panel, target in model.targets(DASHBOARDS[uid]):
            if f"${variable.name}" in target["expr"] and " or vector(0)" not in target["expr"]:
                nobody = played.series(uid, target, {variable.name: ["nobody"]})
                assert not has_data(nobody), f"{panel['title']} shows what is filtered away"


@each_dashboard
def test_the_play_is_annotated(played: Played, uid: str) -> None:
    expected = {"Changes of the lead": {"expired", "acquired"}, "Operators' acts": {"switch", "hold", "drain"}}
    marks = {annotation["name"]: annotation["expr"] for annotation in DASHBOARDS[uid]["annotations"]["list"]}
    assert marks.keys() == expected.keys()

    def kinds(expr: str) -> set[str]:
        query = model.interpolate(expr, "prometheus", [], {}, played.window())
        return {series["metric"]["kind"] for series in played.query("prometheus", query, instant=False)}

    until(lambda: all(kinds(marks[name]) >= wanted for name, wanted in expected.items()), 20, f"marks for {expected}")


def test_the_timeline_tells_who_led(played: Played) -> None:
    target = _target("rectbot-failover", "Who led")

    def rows() -> dict[str, list[str]]:
        return {series["metric"]["site"]: [value for _, value in series["values"]] for series in played.series(*target)}

    until(lambda: {site: row[-1] for site, row in rows().items()} == {"oci": "2", "xserver": "0"}, 20, "the end")
    assert {"0", "2"} <= set(rows()["xserver"][:-1]), "it led, and was dead, before it was drained"


def test_the_log_panel_finds_words_and_levels(played: Played) -> None:
    target = _target("rectbot-logs", "Lines")

    def lines(**values: list[str]) -> list[str]:
        return [line for stream in played.series(*target, {"job": ["shop"], **values}) for _, line in stream["values"]]

    said = ["looked up a price", LINES["warn"], "the till (no. 7) is on fire", LINES[""]]
    assert sorted(set(lines())) == sorted(said)
    assert set(lines(search=["TILL"])) == {said[1], said[2]}
    assert set(lines(level=["error", "debug"])) == {said[0], said[2]}
    assert set(lines(search=["(NO. 7)"])) == {said[2]}


def _target(uid: str, title: str) -> tuple[str, dict[str, Any]]:
    [target] = [
        target
        for panel, target in model.targets(DASHBOARDS[uid])
        if (panel["title"], target["refId"]) == (title, "A") and panel["type"] != "stat"
    ]
    return uid, target
