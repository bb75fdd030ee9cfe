"""The alert rules: `promtool test rules` on what is committed, and proof that those tests notice a wrong rule."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from servers_monitoring import CONFIG, changed

PROMETHEUS = CONFIG / "prometheus"
RULES = sorted((PROMETHEUS / "alerts").glob("*.yml"))
ALERTS = [
    rule
    for file in RULES
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
]


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)


def test_prometheus_accepts_its_configuration() -> None:
    check = promtool("check", "config", PROMETHEUS / "prometheus.yml")
    assert check.returncode == 0, check.stderr
    assert f"SUCCESS: {len(RULES)} rule files found" in check.stdout
    assert "does not exist" not in check.stdout + check.stderr  # the targets of docker compose


@pytest.mark.parametrize("tests", sorted((PROMETHEUS / "alerts" / "tests").glob("*.yml")), ids=lambda path: path.name)
def test_each_rule_fires_and_clears_when_it_should(tests: Path) -> None:
    result = promtool("test", "rules", tests)
    assert result.returncode == 0, result.stdout + result.stderr


LAST_PUSH = 'push_time_seconds{aside=""}'
FRESH = f"and on (job, instance) (time() - {LAST_PUSH} <= 180)"

# What is wrong with the rules, and the test in the promtool file that is there to notice it.
MUTANTS = {
    "stale a scrape too early": (f"{LAST_PUSH} > 180", f"{LAST_PUSH} > 165", "The last push is three minutes old"),
    "stale a scrape too late": (f"{LAST_PUSH} > 180", f"{LAST_PUSH} > 195", "The last push is three minutes old"),
    "stale by scrape": (f"{LAST_PUSH} > 180", f"timestamp({LAST_PUSH}) > 180", "The last push is three minutes old"),
    "missing too early": (">= 480", ">= 465", "The last push is ten minutes old"),
    "missing too late": (">= 480", "> 480", "The last push is ten minutes old"),
    "missing though never seen": (
        "time() - host:push_time_seconds:last >= 480",
        "time() - host:push_time_seconds:last >= 480 or absent(host:push_time_seconds:last)",
        "Nobody has ever pushed",
    ),
    "missing forgets what it has seen": (
        "last_over_time(host:push_time_seconds:last[1d])\n            unless",
        'last_over_time(push_time_seconds{aside=""}[1m])\n            unless',
        "Prometheus was stopped",
    ),
    "missing of what was forgotten": (" > scalar(", " < scalar(", "The job was forgotten"),
    "missing forgets what was lost": (
        'process_start_time_seconds{job="pushgateway"}',
        'process_start_time_seconds{job="pushgateway"} * 0',
        "The group is lost at once",
    ),
    "missing wakes people in a restart": ("for: 2m", "for: 0s", "A restart of the stack"),
    "missing while blind": (
        'unless on () (up{job="pushgateway"} == 0)',
        "",
        "A Pushgateway that cannot be scraped",
    ),
    "missing forgets a lost group": (
        "time() - host:push_time_seconds:last",
        f"time() - {LAST_PUSH}",
        "The group is lost at",
    ),
    "CPU at the limit": ("> 0.85", ">= 0.85", "The CPU is just below"),
    "CPU from old data": (FRESH, "", "The CPU was busy when the pushes ended"),
    "CPU too early": ("for: 10m", "for: 9m", "The CPU is busy for ten minutes"),
    "CPU average over too long": ("[5m]", "[15m]", "The CPU is busy for ten minutes"),
    "memory at the limit": ("> 2 * 1024 ^ 3", ">= 2 * 1024 ^ 3", "The memory is at the limit"),
    "memory from old data": (FRESH, "", "The memory was over the limit when the pushes ended"),
    "memory over its own limit unseen": (
        "> on (job, instance) rectbot_host_memory_alert_bytes",
        "> on (job, instance) 9 * rectbot_host_memory_alert_bytes",
        "A host names a lower limit",
    ),
    "memory over a limit that was raised": (
        'unless on (job, instance) rectbot_host_memory_alert_bytes{aside=""}\n            or',
        "or",
        "A host names another limit",
    ),
    "missing while too much is pushed": (
        'unless on (site) (up{job="pushes-expected"} == 0)',
        "",
        "What was pushed is too much",
    ),
    "one who pushes too much hides another": ("unless on (site) (up", "unless on () (up", "One host pushes too much"),
    "who is not expected is": (f"{LAST_PUSH} > 180", "push_time_seconds > 180", "Of two hosts under other names"),
    "memory too late": ("for: 10m", "for: 11m", "The memory is over the limit"),
}


@pytest.mark.parametrize(("old", "new", "noticed_by"), MUTANTS.values(), ids=MUTANTS)
def test_the_rule_tests_notice_a_wrong_rule(old: str, new: str, noticed_by: str, tmp_path: Path) -> None:
    shutil.copytree(PROMETHEUS / "alerts", tmp_path / "alerts")
    tests = tmp_path / "alerts" / "tests" / "xserver.yml"
    content = yaml.safe_load(tests.read_text())
    content["tests"] = [test for test in content["tests"] if test["name"].startswith(noticed_by)]
    assert len(content["tests"]) == 1
    tests.write_text(yaml.safe_dump(content))
    assert promtool("test", "rules", tests).returncode == 0

    rules = tmp_path / "alerts" / "xserver.yml"
    rules.write_text(changed(rules.read_text(), {old: new}))
    assert promtool("check", "rules", rules).returncode == 0
    result = promtool("test", "rules", tests)
    assert result.returncode == 1
    assert "FAILED" in result.stdout + result.stderr


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_each_alert_says_what_a_person_needs(rule: dict[str, dict[str, str]]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["labels"]["area"]
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{str(rule['alert']).lower()}"
