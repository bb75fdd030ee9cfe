"""What is pushed says something of the host that pushes, and of nothing else: with the real servers and rules.

The pushes go past the proxy, straight to the Pushgateway, as a program on the stack's own host could send them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from rectbot.push.measure import ALERT_METRIC, METRICS
from servers import PASSWORD, free_port, redis_server
from servers_monitoring import CONFIG, HTTP, alertmanager, answers, prometheus, pushgateway, running, until

CONFIGURATION = yaml.safe_load((CONFIG / "prometheus" / "prometheus.yml").read_text())
SCRAPES: dict[str, dict[str, Any]] = {job["job_name"]: job for job in CONFIGURATION["scrape_configs"]}
ALLOWED = {*METRICS, ALERT_METRIC[0], "push_time_seconds", "push_failure_time_seconds"}
FAST = {"scrape_interval: 15s": "scrape_interval: 1s", "evaluation_interval: 15s": "evaluation_interval: 1s"}
# What the Pushgateway's own process says of itself it lets nobody push.
ITS_OWN = re.compile("go_|process_|promhttp_|pushgateway_|push_")


def test_the_names_that_are_let_in_are_those_that_a_push_has() -> None:
    """The list in prometheus.yml is written by hand, so that one can read it; here it is held to what is sent."""
    for job in ("pushes-expected", "pushes"):
        (names,) = (r for r in SCRAPES[job]["metric_relabel_configs"] if r.get("source_labels") == ["__name__"])
        for name in ALLOWED:
            assert re.fullmatch(names["regex"], name), name
            assert not re.fullmatch(names["regex"], f"{name}_total"), name
    assert len(re.sub(r"\([^)]*\)", "", names["regex"]).split("|")) < len(ALLOWED)


def test_nobody_may_push_under_the_name_of_a_scrape() -> None:
    (dropped,) = (r for r in SCRAPES["pushes"]["metric_relabel_configs"] if r["action"] == "drop" and "|" in r["regex"])
    assert {*SCRAPES, "xserver-bot", "push-proxy-check"} == set(dropped["regex"].split("|"))


@dataclass(frozen=True)
class Servers:
    """The ports of what runs."""

    pushgateway: int
    prometheus: int
    scraped: dict[str, int]

    def ask(self, expression: str) -> list[dict[str, Any]]:
        url = f"http://127.0.0.1:{self.prometheus}/api/v1/query"
        answer: list[dict[str, Any]] = HTTP.request("GET", url, fields={"query": expression}).json()["data"]["result"]
        return answer

    def push(self, job: str, body: str) -> int:
        url = f"http://127.0.0.1:{self.pushgateway}/metrics/job/{job}"
        answer = HTTP.request("PUT", url, body=body.encode())
        assert answer.status == 200, answer.data[:600]
        return answer.status

    def forget(self, job: str) -> None:
        HTTP.request("DELETE", f"http://127.0.0.1:{self.pushgateway}/metrics/job/{job}")

    def rules(self) -> dict[str, tuple[str, str, tuple[str, ...]]]:
        """Of each alert its state, its health, and the labels of what is pending or firing."""
        groups = HTTP.request("GET", f"http://127.0.0.1:{self.prometheus}/api/v1/rules?type=alert").json()["data"]
        return {
            rule["name"]: (
                rule["state"],
                rule["health"],
                tuple(sorted(str(sorted(alert["labels"].items())) for alert in rule["alerts"])),
            )
            for group in groups["groups"]
            for rule in group["rules"]
        }

    def after_scrapes(self, count: int = 3) -> None:
        """Waits until everything was scraped and evaluated some times more."""
        seconds = count + 0.5
        time.sleep(seconds)

    def series(self) -> list[tuple[str, str]]:
        """All that the stack says of itself now, and what its rules name: a name and its labels as they are written."""
        found = {
            (sample.name, _written(sample.labels))
            for port in self.scraped.values()
            for family in text_string_to_metric_families(
                HTTP.request("GET", f"http://127.0.0.1:{port}/metrics").data.decode()
            )
            for sample in family.samples
        }
        rules = "".join(path.read_text() for path in (CONFIG / "prometheus" / "alerts").glob("*.yml"))
        named = re.findall(r"\b((?:rectbot|prometheus|alertmanager|loki|push)_[a-z0-9_]+|up)\{", rules)
        found |= {(name, labels) for name in named for labels in ("", 'site="ghost"', 'site="xserver"')}
        found |= {("ALERTS", 'alertname="TargetDown",alertstate="firing"'), ("ALERTS_FOR_STATE", ""), ("up", "")}
        return sorted((name, labels) for name, labels in found if not ITS_OWN.match(name))


def _written(labels: dict[str, str]) -> str:
    """As a body holds them; the job and the instance are the push's."""
    kept = sorted((key, value) for key, value in labels.items() if key not in {"job", "instance"} and '"' not in value)
    return ",".join(f'{key}="{value}"' for key, value in kept)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("confined")
    hub = free_port()
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder / "redis"))
        environment = {
            **os.environ,
            "RECTBOT_HOME": str(folder),
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(redis.port),
            "REDIS_PASSWORD": PASSWORD,
            "RECTBOT_PORT_OFFSET": str(hub - 9464) if hub > 9464 else "0",
            "CONSOLE_PORT": "0",
        }
        command = ["env", *(f"{name}={value}" for name, value in environment.items() if name not in os.environ)]
        command += [sys.executable, "-m", "rectbot", "hub", "serve"]
        stack.enter_context(running(command, folder / "hub.log", lambda: answers(f"http://127.0.0.1:{hub}/metrics")))
        behind = stack.enter_context(pushgateway(folder))
        manager = stack.enter_context(alertmanager(folder / "alertmanager", "http://127.0.0.1:9/api/webhooks/1/x", {}))
        targets = {"pushgateway": behind, "alertmanager": manager, "hub": hub}
        rules = CONFIG / "prometheus" / "alerts"
        server = stack.enter_context(prometheus(folder / "prometheus", targets, FAST, rules))
        there = Servers(behind, server, {**targets, "prometheus": server})
        until(lambda: len(there.ask("up == 1")) == len(SCRAPES) - 1, "all but Loki are scraped")
        yield there


@pytest.mark.parametrize("value", ["0", "1", "1e9", "NaN"])
def test_no_series_of_the_stack_that_somebody_pushes_changes_a_rule(value: str, servers: Servers) -> None:
    """Each series that there is, as it is there, under every job that there is and one more."""
    jobs = [*SCRAPES, "xserver-bot", "evil"]
    servers.push("xserver-bot", "rectbot_host_memory_used_bytes 1\n")
    servers.after_scrapes()
    series = servers.series()
    names = {name for name, _ in series}
    assert {"rectbot_failover_leader", "rectbot_redis_up", "up", "ALERTS", "prometheus_build_info"} <= names
    before = servers.rules()
    assert {health for _, health, _ in before.values()} == {"ok"}
    for job in jobs:
        of_others = [each for each in series if job != "xserver-bot" or each[0] not in ALLOWED]
        servers.push(job, "".join(f"{name}{{{labels}}} {value}\n" for name, labels in of_others))
    servers.after_scrapes()
    assert servers.rules() == before
    assert servers.ask('{site="ghost"}') == []
    taken = {entry["metric"]["__name__"] for entry in servers.ask('{job=~"evil|xserver-bot"}')}
    assert {name for name in taken if ":" not in name} <= ALLOWED, "rules record the others"
    for name in SCRAPES:
        wanted = [f"127.0.0.1:{servers.scraped.get(name, servers.pushgateway)}"] * (name != "loki")
        assert [up["metric"]["instance"] for up in servers.ask(f'up{{job="{name}"}}')] == wanted
    for job in jobs:
        servers.forget(job)


def test_of_a_push_the_job_is_that_of_its_path_and_further_labels_are_dropped(servers: Servers) -> None:
    lies = (
        'job="hub",instance="hub:9464",site="ghost",expected="x",aside="",own_1="x",text="@everyone [x](http://evil)"'
    )
    assert servers.push("xserver-bot", f"rectbot_host_cpus{{{lies}}} 64\npush_time_seconds 9e9\n") == 200
    assert servers.push("other/instance/i", f'rectbot_host_cpus{{{lies},exported_job="hub"}} 32\n') == 200
    servers.after_scrapes()
    found = {tuple(sorted(entry["metric"].items())): entry["value"][1] for entry in servers.ask("rectbot_host_cpus")}
    assert found == {
        (("__name__", "rectbot_host_cpus"), ("job", "xserver-bot"), ("site", "xserver")): "64",
        (("__name__", "rectbot_host_cpus"), ("aside", "yes"), ("instance", "i"), ("job", "other")): "32",
    }
    assert servers.ask("push_time_seconds > 8e9") == []
    servers.forget("other/instance/i")


@pytest.mark.parametrize("depth", range(1, 6))
def test_nobody_pushes_for_a_site_by_a_label_that_looks_like_its_job(depth: int, servers: Servers) -> None:
    """A pushed label of a target's name becomes exported_NAME; whatever of these is pushed, it is no site's word."""
    names = [f"{'exported_' * times}{name}" for times in range(1, depth + 1) for name in ("job", "expected", "site")]
    every = ",".join(f'{name}="xserver-bot"' for name in names[:6])
    last = f'{"exported_" * depth}job="xserver-bot"'
    servers.push("xserver-bot", "rectbot_host_cpus 4\n")
    servers.push("spoof", f"rectbot_host_cpus{{{every}}} 99\n")
    servers.push("spoof2", f"rectbot_host_cpus{{{last}}} 99\n")
    servers.after_scrapes()
    assert [each["value"][1] for each in servers.ask('rectbot_host_cpus{job="xserver-bot"}')] == ["4"]
    assert {each["metric"]["job"] for each in servers.ask("rectbot_host_cpus == 99")} <= {"spoof", "spoof2"}
    assert servers.ask('rectbot_host_cpus{aside=""} == 99') == []
    for job in ("spoof", "spoof2"):
        servers.forget(job)


def test_too_much_of_one_is_told_and_takes_neither_the_others_nor_the_pushgateway_out_of_sight(
    servers: Servers,
) -> None:
    flood = "".join(f'rectbot_host_cpus{{n="{number}"}} 1\n' for number in range(3000))
    servers.push("xserver-bot", "rectbot_host_cpus 4\n")
    assert servers.push("flood", flood) == 200
    until(lambda: servers.ask('up{job="pushes"} == 0'), "the flood is not taken")
    assert servers.ask('up{job=~"pushgateway|pushes-expected"} == 0') == []
    until(lambda: servers.ask('rectbot_host_cpus{job="xserver-bot"} == 4'), "what Xserver says is seen")
    until(lambda: servers.rules()["PushesExceedLimits"][0] == "pending", "an alert is about to say so")
    servers.forget("flood")
    until(lambda: servers.ask('up{job="pushes"} == 1'), "it is over with the flood")


@pytest.mark.parametrize("where", ["job", "instance"])
def test_a_long_name_does_not_make_the_scrape_fail(where: str, servers: Servers) -> None:
    long = "x" * 3000
    path = long if where == "job" else f"long/instance/{long}"
    assert servers.push(path, "rectbot_host_cpus 1\n") == 200
    servers.after_scrapes()
    assert servers.ask('up{job="pushes"} == 1')
    assert not any(long in str(entry["metric"]) for entry in servers.ask("rectbot_host_cpus"))
    servers.forget(path)


def test_a_normal_stack_is_far_below_the_limits(servers: Servers) -> None:
    samples = {entry["metric"]["job"]: float(entry["value"][1]) for entry in servers.ask("scrape_samples_scraped")}
    for job, scrape in SCRAPES.items():
        if job != "loki":
            assert samples[job] * 4 < scrape["sample_limit"], job
            assert scrape["body_size_limit"]
            assert scrape["label_limit"]


def test_promtool_takes_the_configuration() -> None:
    path = CONFIG / "prometheus" / "prometheus.yml"
    assert subprocess.run(["promtool", "check", "config", path], capture_output=True, check=False).returncode == 0
