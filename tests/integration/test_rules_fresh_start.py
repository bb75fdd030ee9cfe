"""A fresh start is no news: for the first hour no alert fires, whatever order the parts come up in.

The series are those that the real servers show: the hub over an empty Redis, then with a leader, and the others as they
are when they have just been started. Only time is made up, by promtool.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from rectbot.push.measure import Meter
from servers import PASSWORD, free_port, redis_server
from servers_monitoring import CONFIG, HTTP, alertmanager, answers, prometheus, pushgateway, running, until

ALERTS = sorted((CONFIG / "prometheus" / "alerts").glob("*.yml"))
NAMED = set(
    re.findall(
        r"\b((?:rectbot|prometheus|alertmanager|loki|push)_[a-z0-9_]+)\{", "".join(p.read_text() for p in ALERTS)
    )
)
STEP, STEPS = 15, 241  # an hour
Series = dict[tuple[str, str], float]


@dataclass(frozen=True)
class Capture:
    """What the servers showed: the hub before anybody led and after, and all the others."""

    empty: Series
    led: Series
    others: Series
    pushed: Series


def series_of(text: str, job: str) -> Series:
    """The series that a rule names, as a scrape of `job` would store them."""
    found: Series = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = {**sample.labels, "job": job}
            if job != "xserver-bot":  # a push has no instance
                labels["instance"] = f"{job}:1"
            if sample.name in NAMED:
                found[sample.name, ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))] = sample.value
    return found


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture]:
    folder = tmp_path_factory.mktemp("fresh")
    port = free_port()
    while not 9464 < port < 60_000:
        port = free_port()
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder / "redis"))
        common = {
            "RECTBOT_HOME": str(folder),
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(redis.port),
            "REDIS_PASSWORD": PASSWORD,
            "FAILOVER_ENABLED": "true",
            "LOCK_TTL_MS": "2000",
            "FAILBACK_DELAY_SEC": "0",
            "RECTBOT_PORT_OFFSET": str(port - 9464),
            "CONSOLE_PORT": "0",
        }

        def run(name: str, *words: str, **more: str) -> None:
            settings = [f"{key}={value}" for key, value in {**common, **more}.items()]
            command = ["env", *settings, sys.executable, "-m", "rectbot", *words]
            ready = (lambda: answers(f"http://127.0.0.1:{port}/metrics")) if name == "hub" else (lambda: True)
            stack.enter_context(running(command, folder / f"{name}.log", ready))

        def hub() -> Series:
            return series_of(HTTP.request("GET", f"http://127.0.0.1:{port}/metrics").data.decode(), "hub")

        def leads(site: str) -> bool:
            return any(
                name == "rectbot_failover_leader" and f'site="{site}"' in labels and value == 1
                for (name, labels), value in hub().items()
            )

        meter = Meter(None)
        run("hub", "hub", "serve")
        empty = hub()
        for site in ("oci", "xserver"):
            run(site, "failover", "run", "--", "sleep", "600", SITE_ID=site)
        until(lambda: leads("xserver"), "xserver leads")
        until(lambda: "rectbot_failover_serving" in {name for name, _ in hub()}, "its program is well")
        led = hub()
        behind = stack.enter_context(pushgateway(folder))
        manager = stack.enter_context(alertmanager(folder / "alertmanager", "http://127.0.0.1:9/api/webhooks/1/x", {}))
        targets = {"pushgateway": behind, "alertmanager": manager, "hub": port}
        server = stack.enter_context(prometheus(folder / "prometheus", targets, {}, CONFIG / "prometheus" / "alerts"))
        others: Series = {}
        for job, of in {"prometheus": server, "alertmanager": manager, "pushgateway": behind}.items():
            others |= series_of(HTTP.request("GET", f"http://127.0.0.1:{of}/metrics").data.decode(), job)
        yield Capture(empty, led, others, series_of(meter.read().decode(), "xserver-bot"))


STARTS = {  # when (in scrapes): the hub answers, somebody leads, Xserver first pushes; and the lease that is then seen
    "native": (1, 2, 1, [4, 6, 5]),
    "production": (2, 8, 12, [90, 75, 60]),
    "production, a slow machine": (7, 14, 20, [90, 75, 60]),
    "production, Xserver was there first": (3, 9, 0, [90, 75, 60]),
}


@pytest.mark.parametrize(("hub_at", "led_at", "pushed_at", "lease"), STARTS.values(), ids=STARTS)
def test_a_fresh_start_fires_nothing_in_the_first_hour(
    hub_at: int, led_at: int, pushed_at: int, lease: list[int], capture: Capture, tmp_path: Path
) -> None:
    assert {"rectbot_failover_leader", "rectbot_failover_logins_left"} <= {name for name, _ in capture.empty}
    rows: dict[str, list[float | None]] = {}
    for name, labels in sorted(capture.empty.keys() | capture.led.keys()):
        early, late = capture.empty.get((name, labels)), capture.led.get((name, labels))
        row = [None] * hub_at + [early] * (led_at - hub_at) + [late] * (STEPS - led_at)
        if name == "rectbot_failover_lease_remaining_seconds":
            row[led_at:] = [float(lease[step % len(lease)]) for step in range(STEPS - led_at)]
        elif name == "rectbot_push_proxy_up":
            row[hub_at:] = [1.0] * (STEPS - hub_at)
        rows[f"{name}{{{labels}}}"] = row
    for (name, labels), value in capture.others.items():
        rows[f"{name}{{{labels}}}"] = [value] * STEPS
    not_yet: list[float | None] = [None] * pushed_at
    for (name, labels), value in capture.pushed.items():  # of a host whose memory and CPU are within their limits
        most = {"rectbot_host_memory_used_bytes": 1e9, "rectbot_host_cpu_usage_ratio": 0.5}
        measured = min(value, most.get(name, value))
        rows[f"{name}{{{labels}}}"] = [*not_yet, *[measured] * (STEPS - pushed_at)]
    pushes = [float(STEP * (step - (step - pushed_at) % 4)) for step in range(pushed_at, STEPS)]
    rows['push_time_seconds{job="xserver-bot"}'] = [*not_yet, *pushes]
    for job in ("prometheus", "pushgateway", "pushes", "pushes-expected", "alertmanager", "loki", "hub"):
        slow = hub_at if job == "hub" else 1
        rows[f'up{{job="{job}",instance="{job}:1"}}'] = [*[0.0] * slow, *[1.0] * (STEPS - slow)]
    _expect_silence(rows, tmp_path)


def _expect_silence(rows: dict[str, list[float | None]], folder: Path) -> None:
    story = {
        "interval": f"{STEP}s",
        "input_series": [
            {"series": series, "values": " ".join("_" if value is None else repr(value) for value in row)}
            for series, row in rows.items()
        ],
        "promql_expr_test": [
            {"expr": 'count_over_time(ALERTS{alertstate="firing"}[1h:15s])', "eval_time": "1h", "exp_samples": []}
        ],
    }
    tests = folder / "fresh.yml"
    content = {"rule_files": [str(path) for path in ALERTS], "evaluation_interval": f"{STEP}s", "tests": [story]}
    tests.write_text(yaml.safe_dump(content, width=10**9))
    done = subprocess.run(["promtool", "test", "rules", tests], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "alert",
    [
        rule["alert"]
        for path in ALERTS
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ],
)
def test_every_series_of_a_rule_is_one_that_somebody_shows(alert: str, capture: Capture) -> None:
    """Else its silence would say nothing. What only counts refusals begins with the first of them."""
    rules = {r.get("alert"): r for p in ALERTS for g in yaml.safe_load(p.read_text())["groups"] for r in g["rules"]}
    named = set(re.findall(r"\b((?:rectbot|prometheus|alertmanager)_[a-z0-9_]+)\{", rules[alert]["expr"]))
    shown = {name for part in (capture.empty, capture.led, capture.others, capture.pushed) for name, _ in part}
    optional = {"rectbot_host_memory_alert_bytes", "rectbot_push_certificate_expiry_timestamp_seconds"}
    optional.add("rectbot_history_up")  # from the recorder's first pass on: see test_history_recorder
    assert named - optional <= shown
