"""The failover's state as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import accumulate, product

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from rectbot.failover.config import FailoverConfig
from rectbot.failover.events import MEANINGS, Snapshot
from rectbot.failover.trips import BUCKETS_MS


class _Collected(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def exposition(snapshot: Snapshot | None, config: FailoverConfig) -> bytes:
    """The text that Prometheus scrapes; `snapshot` is None while the store does not answer."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(_metrics(snapshot, config)))
    return generate_latest(registry)


def _metrics(snapshot: Snapshot | None, config: FailoverConfig) -> Iterator[Metric]:
    yield _gauge(
        "rectbot_redis_up", "1 while the hub can read the failover's state from its store.", snapshot is not None
    )
    if snapshot is None:
        return  # no value is better than an old one
    yield from _sites(snapshot, config.priority)
    yield from _lease(snapshot)
    yield from _renewals(snapshot)
    yield from _counters(snapshot, config.priority)
    yield _gauge("rectbot_failover_epoch", "Fencing token of the last lease that was granted.", snapshot.epoch)
    yield _gauge("rectbot_failover_suspended_seconds", "For so long no lease is granted.", snapshot.suspended_ms / 1000)
    yield _gauge("rectbot_failover_hold", "1 while an operator allows no automatic moves.", snapshot.hold is not None)
    yield _gauge("rectbot_failover_logins_left", "Logins left in the budget, at once.", snapshot.logins_left)
    yield _gauge("rectbot_failover_login_burst", "Logins that the budget allows at once when full.", config.login_burst)


def _sites(snapshot: Snapshot, priority: tuple[str, ...]) -> Iterator[Metric]:
    is_leader = _by_site("rectbot_failover_leader", "1 for the site that holds the lease.")
    eligible = _by_site("rectbot_failover_site_eligible", "1 for a site that may lead.")
    rank = _by_site("rectbot_failover_site_priority", "Rank of a site; 0 is the most preferred.")
    drained = _by_site("rectbot_failover_site_drained", "1 for a site that an operator does not want to lead.")
    pinned = _by_site("rectbot_failover_pinned", "1 for the site that an operator switched to; it keeps the lead.")
    damped = _by_site("rectbot_failover_site_damped_seconds", "For so long a site leaves the lead to others.")
    age = _by_site(
        "rectbot_failover_heartbeat_age_seconds", "Seconds since a site's last heartbeat; absent without one."
    )
    serving = _by_site("rectbot_failover_serving", "1 while the leader's workload is well; absent for other sites.")
    for place, name in enumerate(priority):
        site = snapshot.sites.get(name)
        is_leader.add_metric([name], float(snapshot.leader is not None and snapshot.leader.site == name))
        eligible.add_metric([name], float(site is not None and site.eligible))
        rank.add_metric([name], place)
        drained.add_metric([name], float(name in snapshot.drained))
        pinned.add_metric([name], float(name == snapshot.pinned))
        damped.add_metric([name], site.damped_s if site is not None else 0)
        if site is not None:
            age.add_metric([name], site.heartbeat_age_s)
            if site.serving is not None:
                serving.add_metric([name], float(site.serving))
    yield from (is_leader, eligible, rank, drained, pinned, damped, age, serving)


def _lease(snapshot: Snapshot) -> Iterator[Metric]:
    if (leader := snapshot.leader) is None:
        return
    remaining = leader.lease_remaining_ms / 1000
    yield _gauge("rectbot_failover_lease_remaining_seconds", "Seconds until the lease ends unless renewed.", remaining)
    since = _by_site("rectbot_failover_leader_since_timestamp_seconds", "When the leader was granted the lead.")
    since.add_metric([leader.site], datetime.fromisoformat(leader.since).timestamp())
    yield since


def _renewals(snapshot: Snapshot) -> Iterator[Metric]:
    """What each site has measured itself and sent along with its heartbeats."""
    duration = HistogramMetricFamily(
        "rectbot_failover_renewal_duration_seconds",
        "From the sending of a renewal to its answer, as the site measured it.",
        labels=["site"],
    )
    failed = CounterMetricFamily(
        "rectbot_failover_renewals_failed", "Renewals that were not answered in time.", labels=["site"]
    )
    bounds = [str(bound / 1000) for bound in BUCKETS_MS] + ["+Inf"]
    for name, site in snapshot.sites.items():
        if site.renewals is not None:
            buckets = list(zip(bounds, accumulate(site.renewals.counts), strict=True))
            duration.add_metric([name], buckets, site.renewals.total_s)
            failed.add_metric([name], site.renewals.failed)
    yield from (duration, failed)


def _counters(snapshot: Snapshot, priority: tuple[str, ...]) -> Iterator[Metric]:
    """What the store has counted since it has its data; 0 of what has not happened, so that the first time is seen."""
    events = CounterMetricFamily(
        "rectbot_failover_events", "Events by kind, and by the site they are about.", labels=["kind", "site"]
    )
    logins = CounterMetricFamily("rectbot_failover_logins", "Logins of the workload.", labels=["site"])
    none = dict.fromkeys((f"{kind}:{site}" for kind, site in product((*MEANINGS, "login"), priority)), 0)
    for name, count in sorted((none | snapshot.counts).items()):
        kind, _, site = name.partition(":")
        if kind == "login":
            logins.add_metric([site], count)
        else:
            events.add_metric([kind, site], count)
    yield from (events, logins)


def _by_site(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=["site"])


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=float(value))
