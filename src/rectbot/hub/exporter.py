"""The failover's state as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rectbot.failover.events import Snapshot


class _Collected(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def exposition(snapshot: Snapshot | None, priority: tuple[str, ...]) -> bytes:
    """The text that Prometheus scrapes; `snapshot` is None while Redis does not answer."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(_metrics(snapshot, priority)))
    return generate_latest(registry)


def _metrics(snapshot: Snapshot | None, priority: tuple[str, ...]) -> Iterator[Metric]:
    yield _gauge("rectbot_redis_up", "1 while the hub can read the failover's state from Redis.", snapshot is not None)
    if snapshot is None:
        return  # no value is better than an old one
    leader = snapshot.leader
    is_leader = _by_site("rectbot_failover_leader", "1 for the site that holds the lease.")
    eligible = _by_site("rectbot_failover_site_eligible", "1 for a site that may lead.")
    rank = _by_site("rectbot_failover_site_priority", "Rank of a site; 0 is the most preferred.")
    age = _by_site(
        "rectbot_failover_heartbeat_age_seconds", "Seconds since a site's last heartbeat; absent without one."
    )
    for place, name in enumerate(priority):
        site = snapshot.sites.get(name)
        is_leader.add_metric([name], float(leader is not None and leader.site == name))
        eligible.add_metric([name], float(site is not None and site.eligible))
        rank.add_metric([name], place)
        if site is not None and site.heartbeat_age_s is not None:
            age.add_metric([name], site.heartbeat_age_s)
    yield from (is_leader, eligible, rank, age)
    if leader is not None:
        yield _gauge("rectbot_failover_epoch", "Fencing token of the current lease.", leader.epoch)
        remaining = leader.lease_remaining_ms / 1000
        yield _gauge(
            "rectbot_failover_lease_remaining_seconds", "Seconds until the lease ends unless renewed.", remaining
        )


def _by_site(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=["site"])


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=float(value))
