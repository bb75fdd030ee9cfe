"""From rectbot's settings to the failover's own configuration, which needs nothing but the standard library."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rectbot.errors import ConfigError
from rectbot.failover.config import FailoverConfig
from rectbot.failover.stores import redis_at
from rectbot.failover.stores.urls import BUCKETS, ETCD, HOW, REDIS, parse_bucket, parse_etcd

if TYPE_CHECKING:
    from rectbot.failover.endpoint import Endpoint
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
    """The arguments of open_store() for the store that the settings name. They hold the secrets.

    Raises ConfigError when the settings name two stores, or a wrong one.
    """
    url = _store_url(settings)
    scheme = (url or "").partition("://")[0]
    if scheme in BUCKETS:
        options = {
            "credentials": _credentials(settings),
            "poll_ms": round(settings.lease_poll_sec * 1000),
            "libraries": libraries(),
        }
        parse_bucket(str(url), {})
    elif scheme in ETCD:
        options = {}
        parse_etcd(str(url))
    else:
        options = _redis_options(settings)
        redis_at(url, **options)
    return {"url": url, **options}


def _store_url(settings: Settings) -> str | None:
    """LEASE_URL or REDIS_URL; None where it is the Redis of REDIS_HOST."""
    lease = settings.lease_url.get_secret_value() if settings.lease_url else None
    redis = settings.redis_url.get_secret_value() if settings.redis_url else None
    if lease is None:
        return redis
    scheme = lease.partition("://")[0]
    if scheme not in (*BUCKETS, *ETCD, *REDIS):
        raise ConfigError(HOW)
    if redis is not None and redis != lease:
        raise ConfigError("LEASE_URL and REDIS_URL name two stores, and a lease has only one: remove one of the two")
    return lease


def _redis_options(settings: Settings) -> dict[str, Any]:
    user, password = settings.redis_login
    return {
        "host": settings.redis_host,
        "port": settings.port("redis"),
        "username": user,
        "password": password,
        "db": settings.redis_db,
        "tls": settings.redis_tls,
        "cacert": settings.redis_cacert,
    }


def _credentials(settings: Settings) -> dict[str, str]:
    """By the names that obstore has. What is not set it takes from the environment or the machine's role."""
    secret = settings.aws_secret_access_key
    given = {
        "access_key_id": settings.aws_access_key_id,
        "secret_access_key": secret.get_secret_value() if secret else "",
        "region": settings.aws_region,
    }
    return {name: value for name, value in given.items() if value}


def libraries() -> str:
    """The folder where obstore is; empty where it is not."""
    from importlib.util import find_spec  # noqa: PLC0415

    found = find_spec("obstore")
    return str(Path(found.origin).parents[1]) if found and found.origin else ""


def redis_endpoint(settings: Settings) -> Endpoint | None:
    """Where the Redis is that the settings name; None if the lease is in another store. Raises ConfigError."""
    options = store_options(settings)
    url = options.pop("url")
    if (url or "redis").partition("://")[0] not in REDIS:
        return None
    return redis_at(url, **options)


def check_url(settings: Settings) -> None:
    """Raises ConfigError when the settings name a wrong store, and imports nothing that speaks with one."""
    store_options(settings)


def open_store_from_settings(settings: Settings, config: FailoverConfig) -> LeaseStore:
    """The store that the settings name; nothing is connected yet. Raises ConfigError for a wrong one."""
    from rectbot.failover.store import open_store  # noqa: PLC0415 (`rectbot failover run` hands that to its agent)

    return open_store(config, **store_options(settings))


def open_observer(settings: Settings) -> LeaseStore:
    """The store for one who only looks: status, hub. Raises ConfigError for a wrong one."""
    return open_store_from_settings(settings, failover_config(settings, observer=True))
