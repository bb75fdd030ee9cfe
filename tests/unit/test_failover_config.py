"""What a site may be configured to, and how a wrong configuration is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest

from rectbot.errors import ConfigError
from rectbot.failover.config import FailoverConfig
from rectbot.failover.endpoint import Endpoint, parse_url
from rectbot.failover.wiring import failover_config
from rectbot.settings import Settings


def test_the_defaults_of_the_design_hold() -> None:
    config = FailoverConfig(site="oci").validate()
    assert (config.lock_ttl_ms, config.renew_interval_ms, config.hb_ttl_sec) == (90_000, 30_000, 90)
    assert config.stop_timeout_ms == 10_000
    assert config.lease_ms < 0.99 * 90_000
    assert config.preferred == ("xserver",)
    assert (config.lock_key, config.heartbeat_key("oci"), config.events_key) == (
        "rectbot:leader",
        "rectbot:hb:oci",
        "rectbot:events",
    )


@pytest.mark.parametrize("ttl_ms", [500, 1_000, 6_000, 90_000, 3_600_000])
def test_the_derived_times_of_any_ttl_are_valid(ttl_ms: int) -> None:
    FailoverConfig(site="oci", lock_ttl_ms=ttl_ms, hb_ttl_sec=3_600).validate()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"site": "foo"}, "SITE_ID=foo is not in FAILOVER_PRIORITY=xserver,oci: add it there or correct it"),
        ({"site": ""}, "SITE_ID is not set"),
        ({"lock_ttl_ms": 499}, "LOCK_TTL_MS=499"),
        ({"renew_interval_ms": 45_000}, "RENEW_INTERVAL_MS=45000.*so at most 39090"),
        ({"stop_timeout_ms": 80_000}, "STOP_TIMEOUT_MS=80000"),
        ({"stop_timeout_ms": 100_000}, "STOP_TIMEOUT_MS=100000, so at most 0"),
        ({"hb_ttl_sec": 60}, "HB_TTL_SEC=60.*LOCK_TTL_MS=90000"),
        ({"failback_max_sec": 29}, "FAILBACK_MAX_SEC=29.*FAILBACK_DELAY_SEC=30"),
        ({"login_budget": 19}, "LOGIN_BUDGET=19"),
    ],
)
def test_a_wrong_combination_is_refused_with_its_rule(changes: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"site": "oci"}
    with pytest.raises(ConfigError, match=words):
        FailoverConfig(**given | changes).validate()


def test_every_process_has_an_owner_of_its_own() -> None:
    assert len({FailoverConfig(site="oci").owner for _ in range(100)}) == 100
    assert re.fullmatch(r"oci:.+:\d+:[0-9a-f]{8}", FailoverConfig(site="oci").owner)


def test_two_bots_do_not_share_a_key_of_their_lock() -> None:
    one = FailoverConfig(site="oci", lock_key="bots:one")
    two = FailoverConfig(site="oci", lock_key="bots:two")
    for name in ("record_key", "channel", "events_key"):
        assert getattr(one, name) != getattr(two, name)


def test_settings_become_a_configuration() -> None:
    settings = Settings(site_id="oci", lock_ttl_ms=6_000, failover_priority=("oci",), failback_delay_sec=2)
    config = failover_config(settings)
    assert (config.site, config.lock_ttl_ms, config.renew_interval_ms, config.failback_ms) == (
        "oci",
        6_000,
        2_000,
        2_000,
    )
    assert failover_config(Settings(), observer=True).site == ""


def test_a_lock_key_alone_is_allowed_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    config = failover_config(Settings(site_id="oci", leader_lock_key="other:leader"))
    assert config.lock_key == "other:leader"
    assert "HB_PREFIX" in caplog.text
    caplog.clear()
    failover_config(Settings(site_id="oci", leader_lock_key="other:leader", hb_prefix="other:hb:"))
    failover_config(Settings(site_id="oci"))
    assert caplog.text == ""


@pytest.mark.parametrize("budget", [20, 21, 500, 1_000])
def test_no_day_sees_more_logins_than_the_budget(budget: int) -> None:
    config = FailoverConfig(site="oci", login_budget=budget).validate()
    assert config.login_burst + 24 * 3_600_000 / config.login_ms <= budget
    assert config.login_burst + 24 * 3_600_000 / config.login_ms > budget - 1


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("redis://host", Endpoint("host", 6379)),
        ("redis://:p%40ss@host:7000/2", Endpoint("host", 7000, password="p@ss", db=2)),
        ("rediss://user:pw@[::1]:7000", Endpoint("::1", 7000, username="user", password="pw", tls=True)),
        ("unix://:pw@/run/redis.sock?db=3", Endpoint(path="/run/redis.sock", password="pw", db=3)),
        (
            "redis+sentinel://:p%40ss@one:7000,two,[::1]:7002/bots/3?sentinel_password=s%26t",
            Endpoint(
                sentinels=(("one", 7_000), ("two", 26_379), ("::1", 7_002)),
                service="bots",
                password="p@ss",
                sentinel_password="s&t",
                db=3,
            ),
        ),
        ("rediss+sentinel://one/bots", Endpoint(sentinels=(("one", 26_379),), service="bots", tls=True)),
    ],
)
def test_a_redis_url_is_understood(url: str, endpoint: Endpoint) -> None:
    assert parse_url(url) == endpoint


@pytest.mark.parametrize(
    "url",
    [
        "http://host",
        "redis://",
        "redis://host:port",
        "redis://:secret@host/x",
        "redis://:secret@one,two/0",
        "unix://",
        "redis+sentinel://:secret@one,two",
        "redis+sentinel://one,,two/bots",
        "redis+sentinel://one:x/bots",
        "redis+sentinel://one/bots/x",
        "redis+cluster://one/bots",
    ],
)
def test_a_wrong_redis_url_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(ConfigError, match="REDIS_URL") as caught:
        parse_url(url)
    assert "secret" not in str(caught.value)


def test_a_password_is_never_shown() -> None:
    assert "secret" not in f"{Endpoint(password='secret')!r} {Endpoint(password='secret')}"
