"""The store of the lease: whether it answers this site, and what a bucket costs in a month."""

from __future__ import annotations

from rectbot.doctor.subject import Subject
from rectbot.doctor.verdict import Verdict, ok, warn
from rectbot.errors import ConfigError
from rectbot.failover.wiring import failover_config, redis_endpoint, store_options
from rectbot.settings import Settings
from rectbot.stack.components import keeps_the_lease

_MONTH_MS = 30 * 86_400_000
_FREE_WRITES, _FREE_READS = 1_000_000, 10_000_000  # of Cloudflare R2, 2026


def is_in_redis(settings: Settings) -> bool:
    """Also where the settings are wrong: then the checks of Redis say so."""
    try:
        return redis_endpoint(settings) is not None
    except ConfigError:
        return True


def is_in_the_stack(settings: Settings) -> bool:
    """Whether it is in the Redis of the stack that runs here; also where the settings are wrong."""
    try:
        return keeps_the_lease(settings)
    except ConfigError:
        return True


def answers(subject: Subject) -> Verdict:
    """The store gives the record to this site."""
    snapshot, settings = subject.snapshot, subject.settings
    leader = f"{snapshot.leader.site} leads" if snapshot.leader else "nobody leads"
    options = store_options(settings)
    if "poll_ms" not in options:
        return ok(f"the store answers, and {leader}")
    config = failover_config(settings, observer=True)
    writes, reads = monthly(len(config.priority), config.renew_interval_ms, options["poll_ms"])
    found = f"the bucket answers, and {leader}; all sites make {writes:,} writes and {reads:,} reads a month"
    if writes > _FREE_WRITES or reads > _FREE_READS:
        return warn(
            f"{found}, more than the {_FREE_WRITES:,} and {_FREE_READS:,} that are free at R2",
            "lengthen LOCK_TTL_MS, RENEW_INTERVAL_MS or LEASE_POLL_SEC, if your provider counts them",
        )
    return ok(found)


def monthly(sites: int, renew_ms: int, poll_ms: int) -> tuple[int, int]:
    """Writes and reads of all sites in 30 days, while nothing happens."""
    return sites * _MONTH_MS // renew_ms, sites * _MONTH_MS // poll_ms
