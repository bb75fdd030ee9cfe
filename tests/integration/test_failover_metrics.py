"""The failover's metrics: from the sites through a real Redis to Prometheus's own check of the format."""

from __future__ import annotations

import subprocess
import time

from prometheus_client.parser import text_string_to_metric_families

from lease_sites import sites_on
from rectbot.failover.config import FailoverConfig
from rectbot.failover.messages import Command, Logins, Release, Renew
from rectbot.hub.exporter import exposition
from servers import RedisServer

PRIORITY = ("a", "b", "c")
CONFIG = FailoverConfig(site="", priority=PRIORITY)
Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def values(text: bytes) -> Values:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def check_format(text: bytes) -> None:
    subprocess.run(["promtool", "check", "metrics"], input=text, check=True, capture_output=True)


async def test_what_the_sites_did_is_what_prometheus_sees(redis: RedisServer) -> None:
    async with sites_on(redis) as site:
        a, b = site("a"), site("b")
        epoch = await a.win()
        a.store.serving = True
        for _ in range(4):
            await a.ask(Renew(epoch))
        await a.ask(Renew(epoch, Logins(2)))
        await b.campaign()
        await b.store.command(Command("drain", "eve", "", "b"))
        text = exposition(await b.store.snapshot(), CONFIG)
        check_format(text)
        seen = values(text)

        def of(name: str, **labels: str) -> float:
            return seen[f"rectbot_failover_{name}", tuple(sorted(labels.items()))]

        assert [of("leader", site=name) for name in PRIORITY] == [1, 0, 0]
        assert [of("site_drained", site=name) for name in PRIORITY] == [0, 1, 0]
        assert [of("site_eligible", site=name) for name in PRIORITY] == [1, 0, 0]
        assert of("serving", site="a") == 1
        assert of("epoch") == epoch
        assert 0 < of("lease_remaining_seconds") <= 0.6
        assert of("renewal_duration_seconds_count", site="a") == 4, "the fifth was measured after its heartbeat"
        assert of("renewal_duration_seconds_bucket", site="a", le="+Inf") == 4
        assert 0 <= of("renewal_duration_seconds_sum", site="a") < 4
        assert of("renewals_failed_total", site="a") == 0
        assert of("logins_total", site="a") == 3
        assert of("logins_left") == 247
        assert of("login_burst") == 250
        assert time.time() - 60 < of("leader_since_timestamp_seconds", site="a") <= time.time()
        assert [of("pinned", site=name) for name in PRIORITY] == [0, 0, 0]
        assert of("events_total", kind="acquired", site="a") == 1
        assert of("events_total", kind="drain", site="b") == 1
        assert of("events_total", kind="acquired", site="b") == 0, "what has not happened yet is 0, not absent"
        assert of("hold") == 0

        await b.store.command(Command("switch", "eve", "", "a"))
        await a.ask(Release(epoch, "the gateway is away", ending="workload-failed"))
        seen = values(exposition(await b.store.snapshot(), CONFIG))
        assert of("events_total", kind="workload-failed", site="a") == 1
        assert [of("pinned", site=name) for name in PRIORITY] == [1, 0, 0]
        assert ("rectbot_failover_lease_remaining_seconds", ()) not in seen


def test_without_redis_nothing_old_is_told() -> None:
    text = exposition(None, CONFIG)
    check_format(text)
    assert values(text) == {("rectbot_redis_up", ()): 0}
