"""A host that falls silent leaves a gap: the dashboards' own queries on samples that a Pushgateway goes on exposing.

Prometheus evaluates them (`promtool test rules`), so the whole chain but the drawing is the real one.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from rectbot.dashboards import model
from rectbot.push.measure import METRICS as MEASURED
from servers_monitoring import CONFIG

DASHBOARDS = model.load(CONFIG / "grafana" / "dashboards")
JOB = '{job="xserver-bot"}'

PUSHED = {
    f"{uid}: {panel['title']} {target['refId']}": model.interpolate(
        target["expr"], "prometheus", model.variables(dashboard), {}, model.Window(0, 3600)
    )
    for uid, dashboard in DASHBOARDS.items()
    for panel, target in model.targets(dashboard)
    if re.search(r"rectbot_(host|bot)_", target["expr"])
}
METRICS = sorted({name for expr in PUSHED.values() for name in re.findall(r"rectbot_(?:host|bot)_\w+", expr)})


def samples(expr: str, folder: Path, minutes: dict[str, bool]) -> subprocess.CompletedProcess[str]:
    """Asks promtool whether the query gives something at these times."""
    series = [{"series": f"{name}{JOB}", "values": "7x120"} for name in METRICS]
    # A push each minute until the tenth, then none until the twentieth; the last is exposed all the while.
    pushes = [60 * minute for minute in (*range(11), *[10] * 9, *range(20, 31)) for _ in range(4)]
    series.append({"series": f"push_time_seconds{JOB}", "values": " ".join(map(str, pushes))})
    asked = [
        {
            "expr": f"count({expr}) or vector(0)",
            "eval_time": time,
            "exp_samples": [{"labels": "{}", "value": int(seen)}],
        }
        for time, seen in minutes.items()
    ]
    test = {"interval": "15s", "input_series": series, "promql_expr_test": asked}
    path = folder / "test.yml"
    path.write_text(yaml.safe_dump({"rule_files": [], "tests": [test]}))
    return subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True, check=False)


EXPECTED = {"5m": True, "13m": True, "13m15s": False, "19m45s": False, "20m": True, "25m": True}


@pytest.mark.parametrize("expr", PUSHED.values(), ids=PUSHED)
def test_nothing_is_drawn_of_a_host_whose_pushes_stopped(expr: str, tmp_path: Path) -> None:
    result = samples(expr, tmp_path, EXPECTED)
    assert result.returncode == 0, result.stdout + result.stderr


def test_without_the_mask_the_dead_hosts_line_would_go_on(tmp_path: Path) -> None:
    expr = PUSHED["rectbot-hosts: CPU A"]
    unmasked, mask, _ = expr.partition(" and on ")
    assert mask
    assert samples(unmasked, tmp_path, EXPECTED).returncode == 1
    assert samples(unmasked, tmp_path, dict.fromkeys(EXPECTED, True)).returncode == 0


def test_every_metric_of_a_push_has_its_place_on_the_host_s_dashboard() -> None:
    detail = {"rectbot_host_swap_total_bytes", "rectbot_bot_process_uptime_seconds"}  # of no use on a screen
    assert set(METRICS) == set(MEASURED) - detail
