"""Prometheus' text format: read by its client's parser, whatever stands in the labels, and never half."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from foundation.durations import parse_seconds
from rectbot.dashboards.limits import Limits
from rectbot.errors import RectbotError
from rectbot.push.ages import MISSING_SECONDS, STALE_SECONDS, push_times
from rectbot.push.trial import JOB as TRIAL_JOB
from rectbot.samples import samples

ALERTS = Path(__file__).parents[2] / "docker/monitoring/prometheus/alerts"
_TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\{}, =\n\r\u2028#'), max_size=12)
_TIMES = st.floats(0, 1e12)


@given(st.dictionaries(st.tuples(_TEXT, _TEXT), _TIMES, max_size=6))
def test_the_last_push_of_each_job_is_found_whatever_its_labels_are(pushed: dict[tuple[str, str], float]) -> None:
    registry = CollectorRegistry()
    times = Gauge("push_time_seconds", "last push", ["instance", "job"], registry=registry)
    failures = Gauge("push_failure_time_seconds", "last failure", ["instance", "job"], registry=registry)
    for (job, instance), then in pushed.items():
        times.labels(instance=instance, job=job).set(then)
        failures.labels(instance=instance, job=job).set(1)
    wanted = {job: max(then for (each, _), then in pushed.items() if each == job) for job, _ in pushed}
    assert push_times(generate_latest(registry).decode()) == wanted


@pytest.mark.parametrize(
    "line",
    [
        'push_time_seconds{job="a"} 1.7e+09',
        'push_time_seconds{instance="",job="a"} 1.7e+09',
        'push_time_seconds{job="a",other="}\\"x"} 1.7e+09',
        'push_time_seconds{ job = "a" , } 1.7e+09',
        'push_time_seconds{job="a"} 1.7e+09 1700000000000',
    ],
)
def test_each_way_to_write_a_sample_is_read(line: str) -> None:
    noise = f'# TYPE push_time_seconds gauge\nother{{ broken\n{line}\npush_time_seconds{{job="{TRIAL_JOB}"}} 5\n'
    assert push_times(noise) == {"a": 1.7e9}


@pytest.mark.parametrize("line", ['x{job="a} 1', 'x{job="a"} soon', 'x{job="a"}', "x{job} 1", "x {"])
def test_what_cannot_be_read_is_an_error_and_not_left_out(line: str) -> None:
    with pytest.raises(RectbotError, match="x is told in another form than Prometheus' text format"):
        samples(f"x 1\n{line}\n", "x")


def test_a_push_is_stale_and_missing_when_the_alerts_say_so() -> None:
    rules = yaml.safe_load((ALERTS / "xserver.yml").read_text())["groups"]
    waits = {rule["alert"]: rule.get("for", "0s") for group in rules for rule in group["rules"] if "alert" in rule}
    limits = Limits.read(ALERTS)
    assert limits.of("XserverPushStale") == STALE_SECONDS
    missing = limits.of("XserverPushMissing") + parse_seconds(waits["XserverPushMissing"], zero=True)
    assert missing == MISSING_SECONDS
