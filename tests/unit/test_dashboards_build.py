"""The dashboards' files: what the code makes, what Grafana's schema knows, and nothing that leads nowhere."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from rectbot.cli import main
from rectbot.dashboards import build, model
from rectbot.dashboards.limits import Limits
from rectbot.errors import RectbotError

MONITORING = Path(__file__).resolve().parents[2] / "docker" / "monitoring"
RULES = MONITORING / "prometheus" / "alerts"
DASHBOARDS = model.load(MONITORING / "grafana" / "dashboards")
ALL = [
    pytest.param(dashboard, panel, id=f"{uid}: {panel['title']}")
    for uid, dashboard in DASHBOARDS.items()
    for panel in model.panels(dashboard)
]
each_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
each_panel = pytest.mark.parametrize(("dashboard", "panel"), ALL)
Json = dict[str, Any]


def found(value: object, name: str) -> Iterator[Any]:
    """Whatever stands under `name`, anywhere in some JSON."""
    if isinstance(value, dict):
        yield from (value[name],) if name in value else ()
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        yield from found(each, name)


def test_the_files_are_what_the_code_and_the_rules_make() -> None:
    build.check(MONITORING)


def test_a_limit_that_an_operator_changes_is_drawn_after_the_next_build(tmp_path: Path) -> None:
    monitoring = tmp_path / "monitoring"
    shutil.copytree(RULES, monitoring / "prometheus" / "alerts")
    shutil.copytree(MONITORING / "grafana" / "dashboards", monitoring / "grafana" / "dashboards")
    assert build.write(monitoring) == []
    rules = monitoring / "prometheus" / "alerts" / "xserver.yml"
    rules.write_text(rules.read_text().replace("> 0.85", "> 0.625"))
    with pytest.raises(RectbotError, match=r"hosts\.json: not what the code makes; run: rectbot dashboards build"):
        build.check(monitoring)
    changed = monitoring / "grafana" / "dashboards" / "hosts.json"
    assert build.write(monitoring) == [changed]
    assert 0.625 in [step["value"] for steps in found(json.loads(changed.read_text()), "steps") for step in steps]
    assert build.write(monitoring) == []


@pytest.mark.parametrize(
    ("expr", "limit"),
    [
        ("time() - push_time_seconds > 180", 180),
        ("avg_over_time(a[5m]) > 2 * 1024 ^ 3\n and b <= 180", 2 * 1024**3),
        ("min(a[5m]) < 0.4 * max(a[5m])", 0.4),
        ("end - time() < 21 * 86400", 21 * 86400),
        ('up{job!="a"} - last(b[8m]) >= 480', 480),
    ],
)
def test_a_limit_is_read_from_an_expression(expr: str, limit: float) -> None:
    assert Limits({"A": expr}).of("A") == limit


@pytest.mark.parametrize("expressions", [{}, {"A": "up == bool 0"}])
def test_an_alert_without_a_limit_is_an_error_that_names_it(expressions: dict[str, str]) -> None:
    with pytest.raises(RectbotError, match="the alert A is gone"):
        Limits(expressions).of("A")


def test_rules_that_are_no_rules_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "broken.yml").write_text("groups: [{}]")
    with pytest.raises(RectbotError, match=r"broken\.yml: cannot be read as alert rules"):
        Limits.read(tmp_path)


@each_dashboard
def test_the_sdks_schema_knows_every_field(dashboard: Json) -> None:
    """Its reader drops what it does not know, so what comes back whole is known."""
    register_default_plugins()
    expected = json.loads(json.dumps(dashboard))
    for annotation in expected["annotations"]["list"]:
        for name in ("step", "titleFormat", "textFormat", "tagKeys", "useValueForTime"):
            del annotation[name]  # of the Prometheus data source, of which the model knows only `expr`
    back = json.loads(json.dumps(Dashboard.from_json(json.loads(json.dumps(dashboard))), cls=JSONEncoder))
    assert back == expected


@each_dashboard
def test_every_data_source_is_provisioned(dashboard: Json) -> None:
    path = MONITORING / "grafana" / "provisioning" / "datasources" / "datasources.yaml"
    provisioned = {source["uid"]: source["type"] for source in yaml.safe_load(path.read_text())["datasources"]}
    named = list(found(dashboard, "datasource"))
    assert len(named) >= 2 * len(model.panels(dashboard)) - 2
    for source in named:
        assert provisioned[source["uid"]] == source["type"]


@each_dashboard
def test_every_link_leads_to_a_dashboard_with_variables_that_both_have(dashboard: Json) -> None:
    own = {variable.name for variable in model.variables(dashboard)}
    urls = list(found(dashboard, "url"))
    assert {re.match(r"/d/([\w-]+)", url)[1] for url in urls} | {dashboard["uid"]} >= set(DASHBOARDS)  # type: ignore[index]
    for url in urls:
        target = DASHBOARDS[re.match(r"/d/([\w-]+)", url)[1]]  # type: ignore[index]
        theirs = {variable.name for variable in model.variables(target)}
        carried = set(re.findall(r"\$\{(\w+):queryparam\}", url))
        assert carried <= own & theirs
        assert set(re.findall(r"var-(\w+)=", url)) <= theirs
        for column in re.findall(r"__data\.fields\.(\w+)", url):
            assert column in [name for names in found(dashboard, "renameByName") for name in names.values()]


@each_dashboard
def test_panels_fill_the_rows_of_the_grid_without_overlap(dashboard: Json) -> None:
    cells = [
        (x, y)
        for panel in model.panels(dashboard)
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    height = 1 + max(y for _, y in cells)
    assert set(cells) == {(x, y) for x in range(24) for y in range(height)}
    ids = [panel["id"] for panel in model.panels(dashboard)]
    assert len(ids) == len(set(ids))


@each_panel
def test_each_panel_explains_itself(dashboard: Json, panel: Json) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    if panel["type"] == "text":
        assert len(panel["options"]["content"]) > 100
        return
    assert panel["fieldConfig"]["defaults"]["noValue"]
    assert panel["fieldConfig"]["defaults"]["unit"] in {"none", "short", "s", "bytes", "percentunit"}
    assert panel["targets"]


@each_panel
def test_an_alert_that_a_panel_names_has_its_limit_drawn_there(dashboard: Json, panel: Json) -> None:
    limits = Limits.read(RULES)
    alerts = [
        rule["alert"]
        for path in RULES.glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    steps = [step["value"] for each in found(panel, "steps") for step in each]
    for alert in alerts:
        if alert in panel["description"]:
            assert {limits.of(alert), limits.of(alert) + 1} & set(steps), alert
    if panel["type"] == "timeseries" and len(steps) > 1:
        assert panel["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] == "dashed"


@each_panel
def test_a_gap_stays_a_gap(dashboard: Json, panel: Json) -> None:
    if panel["type"] == "timeseries":
        assert panel["fieldConfig"]["defaults"]["custom"]["spanNulls"] is False
    for target in panel.get("targets", []):
        if re.search(r"rectbot_(host|bot)_", target["expr"]):
            assert "and on (job, instance) (time() - push_time_seconds" in target["expr"]


@each_panel
def test_every_variable_of_a_query_is_known(dashboard: Json, panel: Json) -> None:
    window = model.Window(0, 3600)
    for target in panel.get("targets", []):
        source = target["datasource"]["type"]
        assert "$" not in model.interpolate(target["expr"], source, model.variables(dashboard), {}, window)


def test_there_is_a_variable_for_the_site_and_one_for_the_job() -> None:
    names = {uid: [variable.name for variable in model.variables(each)] for uid, each in DASHBOARDS.items()}
    assert names == {
        "rectbot-overview": ["site", "job"],
        "rectbot-hosts": ["job"],
        "rectbot-failover": ["site"],
        "rectbot-logs": ["job", "site", "level", "search"],
    }


def test_the_command_says_in_a_line_what_has_drifted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECTBOT_HOME", str(tmp_path))
    monitoring = tmp_path / "docker" / "monitoring"
    shutil.copytree(RULES, monitoring / "prometheus" / "alerts")
    (monitoring / "grafana" / "dashboards").mkdir(parents=True)
    missing = CliRunner().invoke(main, ["dashboards", "build", "--check"])
    assert missing.exit_code == 1
    assert re.fullmatch(r"rectbot: .*overview\.json, .*logs\.json: not what .*\n", missing.output)
    made = CliRunner().invoke(main, ["dashboards", "build"])
    assert (made.exit_code, made.output.count("written")) == (0, 4)
    assert CliRunner().invoke(main, ["dashboards", "build", "--check"]).output == ""
