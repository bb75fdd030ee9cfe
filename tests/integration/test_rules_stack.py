"""The rules about the failover and the stack: proof that their promtool tests notice a wrong rule."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from servers_monitoring import CONFIG, ROOT, changed

ALERTS = CONFIG / "prometheus" / "alerts"
FILES = sorted(ALERTS.glob("*.yml"))
RULES = {
    rule["alert"]: rule
    for file in FILES
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
TESTS = [
    test for file in sorted((ALERTS / "tests").glob("*.yml")) for test in yaml.safe_load(file.read_text())["tests"]
]

# File, what is wrong with it, and the test that is there to notice it.
MUTANTS = {
    "no leader too early": ("failover", "for: 3m  #", "for: 2m  #", "Nobody leads for just"),
    "no leader counts sites": ("failover", 'sum(rectbot_failover_leader{job="hub"}) ==',
                               'min(rectbot_failover_leader{job="hub"}) ==', "All"),
    "two leaders by lock": ("failover", "rectbot_failover_serving{", "rectbot_failover_leader{", "Two sites"),
    "two leaders, one of them dead": ("failover", "[1h]) / 2)", "[1h]) * 2)", "A dead leader's"),
    "not preferred too early": ("failover", "for: 30m", "for: 29m", "The other site leads"),
    "not preferred on hold": ("failover", 'hold{job="hub"} == 1', 'hold{job="hub"} == 2', "An operator holds"),
    "not preferred while drained": ("failover", 'drained{job="hub"} == 1', 'drained{job="hub"} == 2',
                                    "An operator has drained"),
    "not preferred nor led": ("failover", '(sum(rectbot_failover_leader{job="hub"}) > 0)', "(vector(1))",
                              "Nobody leads, "),
    "flapping too early": ("failover", "[1h]) > 5", "[1h]) > 4", "Six changes"),
    "flapping over too long": ("failover", 'epoch{job="hub"}[1h]', 'epoch{job="hub"}[2h]', "Six changes"),
    "silent too early": ("failover", "for: 5m", "for: 4m", "A site falls silent"),
    "lease low in every crash": ("failover", "for: 10m", "for: 0m", "A crash lets"),
    "lease low when it is two thirds": ("failover", "< 0.4 *", "< 0.7 *", "Every renewal"),
    "not preferred while pinned": ("failover", 'pinned{job="hub"} == 1', 'pinned{job="hub"} == 2',
                                   "An operator has switched to the"),
    "not preferred, pinned in vain": ("failover", '== 1 and on (site) rectbot_failover_leader{job="hub"} == 1)',
                                      "== 1)", "An operator has switched to a"),
    "logins low too early": ("failover", 'burst{job="hub"} < 0.2', 'burst{job="hub"} <= 0.2', "Few logins are left\n"),
    "logins low in number": ("failover", ' / rectbot_failover_login_burst{job="hub"} < 0.2', " < 50",
                             "Few logins are left\n"),
    "logins low that nobody made": ("failover", "< 0.8 *", "< 0 *", "Few logins are left, but"),
    "Redis at once": ("failover", 'rectbot_redis_up{job="hub"} == 0\n        for: 1m',
                      'rectbot_redis_up{job="hub"} == 0', "Redis is away"),
    "proxy too late": ("stack", 'proxy_up{job="hub"} == 0\n        for: 2m',
                       'proxy_up{job="hub"} == 0\n        for: 3m', "The push proxy"),
    "too much, told too early": ("stack", 'job="pushgateway"} == 0)\n        for: 2m',
                                 'job="pushgateway"} == 0)\n        for: 1m', "One job pushes more"),
    "too much, when there is nothing": ("stack", 'unless on () (up{job="pushgateway"} == 0)', "",
                                        "A Pushgateway that is away"),
    "absent target unseen": ("stack", 'or absent(up{job="alertmanager"})', "", "A target is down"),
    "the Pushgateway told twice": ("stack", '"prometheus|alertmanager|loki|hub"', '".+"', "A target is down"),
    "failing rules unseen": ("stack", "failures_total{job=\"prometheus\"}[10m]) > 0",
                             "failures_total{job=\"prometheus\"}[10m]) > 9", "A rule cannot"),
    "old failures told for ever": ("stack",
                                   'increase(alertmanager_notifications_failed_total{job="alertmanager"}[10m])',
                                   "alertmanager_notifications_failed_total", "All is well"),
    "dropped alerts unseen": ("stack", '(increase(prometheus_notifications_dropped_total{job="prometheus"}[10m])) > 0',
                              '(increase(prometheus_notifications_dropped_total{job="prometheus"}[10m])) > 9',
                              "Discord does not"),
    "disk at the limit": ("stack", 'total_bytes{aside=""} < 0.1', 'total_bytes{aside=""} <= 0.1', "All is well"),
    "disk from old data": ("stack", 'push_time_seconds{aside=""} > 180',
                           'push_time_seconds{aside=""} > 1e9', "Xserver's disk"),
    "certificate at the limit": ("stack", "< 21 * 86400", "<= 21 * 86400", "The certificate has three"),
    "unrecorded at once": ("stack", 'history_up{job="hub"} == 0\n        for: 15m',
                           'history_up{job="hub"} == 0\n        for: 5m', "The recorder fails"),
    "unrecorded unseen": ("stack", 'history_up{job="hub"} == 0', 'history_up{job="hub"} < 0', "The history is not"),
    "refusals of old": ("stack", 'and on (job, instance) (up{job="loki"} offset 10m == 1)', "", "All is well"),
    "the first refusal unseen": ("stack", 'unless loki_discarded_samples_total{job="loki"} offset 10m', "> 1e9",
                                 "Loki refuses"),
}  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "noticed_by"), MUTANTS.values(), ids=MUTANTS)
def test_the_rule_tests_notice_a_wrong_rule(file: str, old: str, new: str, noticed_by: str, tmp_path: Path) -> None:
    shutil.copytree(ALERTS, tmp_path / "alerts")
    tests = tmp_path / "alerts" / "tests" / f"{file}.yml"
    content = yaml.safe_load(tests.read_text())
    content["tests"] = [test for test in content["tests"] if f"{test['name']}\n".startswith(noticed_by)]
    assert len(content["tests"]) == 1
    tests.write_text(yaml.safe_dump(content))
    assert _promtool(tests).returncode == 0

    rules = tmp_path / "alerts" / f"{file}.yml"
    rules.write_text(changed(rules.read_text(), {old: new}))
    result = _promtool(tests)
    assert result.returncode == 1
    assert "FAILED" in result.stdout + result.stderr
    assert "parse" not in result.stdout + result.stderr


def _promtool(tests: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", "test", "rules", tests], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", RULES)
def test_each_alert_is_seen_to_fire_and_to_be_silent_before_and_after(name: str) -> None:
    looks = [
        (test["name"], bool(look["exp_alerts"]))
        for test in TESTS
        for look in sorted(test.get("alert_rule_test", []), key=lambda look: _seconds(look["eval_time"]))
        if look["alertname"] == name
    ]
    stories = {test: [fires for other, fires in looks if other == test] for test, _ in looks}
    assert any(story[0] is False and True in story and story[-1] is False for story in stories.values()), stories


def _seconds(duration: str) -> int:
    return sum(int(count) * {"h": 3600, "m": 60, "s": 1}[unit] for count, unit in re.findall(r"(\d+)([hms])", duration))


@pytest.mark.parametrize("name", RULES)
def test_each_alert_has_its_paragraph_in_the_runbook(name: str) -> None:
    page, _, anchor = RULES[name]["annotations"]["runbook_url"].partition("#")
    headings = re.findall(r"^### (\w+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor in [heading.lower() for heading in headings]
