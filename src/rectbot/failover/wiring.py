"""From rectbot's settings to the failover's own configuration, which needs nothing but the standard library."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from rectbot.failover.config import FailoverConfig
from rectbot.failover.endpoint import Endpoint, parse_url

if TYPE_CHECKING:
    from rectbot.failover.store import LeaseStore
    from rectbot.settings import Settings

_log = logging.getLogger(__name__)
_DEFAULT_LOCK, _DEFAULT_BEATS = "rectbot:leader", "rectbot:hb:"


def failover_config(settings: Settings, *, observer: bool = False) -> FailoverConfig:
    """This site's part in the failover, or an observer's, who needs no SITE_ID.

    Raises ConfigError for a wrong combination of settings.
    """
    if (settings.leader_lock_key != _DEFAULT_LOCK) != (settings.hb_prefix != _DEFAULT_BEATS):
        _log.warning(
            "only one of LEADER_LOCK_KEY and HB_PREFIX is changed: a second bot on this Redis would share the other"
        )
    config = FailoverConfig(
        site="" if observer else settings.site_id or "",
        priority=settings.failover_priority,
        lock_key=settings.leader_lock_key,
        hb_prefix=settings.hb_prefix,
        lock_ttl_ms=settings.lock_ttl_ms,
        renew_interval_ms=settings.renew_interval_ms or 0,
        hb_ttl_sec=settings.hb_ttl_sec,
        failback_delay_sec=settings.failback_delay_sec,
        failback_max_sec=max(settings.failback_max_sec, settings.failback_delay_sec),
        login_budget=settings.login_budget,
        stop_timeout_ms=settings.stop_timeout_ms or 0,
    )
    return config if observer else config.validate()


def store_options(settings: Settings) -> dict[str, Any]:
    """The arguments of open_store() for the Redis that the settings name. They hold the password."""
    user, password = settings.redis_login
    return {
        "url": settings.redis_url.get_secret_value() if settings.redis_url else None,
        "host": settings.redis_host,
        "port": settings.port("redis"),
        "username": user,
        "password": password,
        "db": settings.redis_db,
        "tls": settings.redis_tls,
        "cacert": settings.redis_cacert,
    }


def redis_endpoint(settings: Settings) -> Endpoint:
    """Where the Redis is that the settings name. Raises ConfigError for a wrong REDIS_URL."""
    given = store_options(settings)
    url = given.pop("url")
    return Endpoint(**given) if url is None else parse_url(url, given["cacert"])


def check_url(settings: Settings) -> None:
    """Raises ConfigError for a wrong REDIS_URL, and imports nothing that speaks with Redis."""
    if settings.redis_url is not None:
        parse_url(settings.redis_url.get_secret_value())


def open_store_from_settings(settings: Settings, config: FailoverConfig) -> LeaseStore:
    """The Redis that the settings name; nothing is connected yet. Raises ConfigError for a wrong REDIS_URL."""
    from rectbot.failover.store import open_store  # noqa: PLC0415 (`rectbot failover run` hands that to its agent)

    return open_store(config, **store_options(settings))


def open_observer(settings: Settings) -> LeaseStore:
    """The store for one who only looks: status, hub. Raises ConfigError for a wrong REDIS_URL."""
    return open_store_from_settings(settings, failover_config(settings, observer=True))
