"""Where a record can be kept: each store is a register that knows no rule. See base.py."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rectbot.errors import ConfigError
from rectbot.failover.endpoint import Endpoint, parse_url
from rectbot.failover.stores.urls import BUCKETS, ETCD, parse_bucket, parse_etcd

if TYPE_CHECKING:
    from rectbot.failover.config import FailoverConfig
    from rectbot.failover.stores.base import Register


def open_register(
    config: FailoverConfig,
    *,
    url: str | None = None,
    credentials: dict[str, str] | None = None,
    poll_ms: int = 5_000,
    libraries: str = "",
    **redis: Any,
) -> Register:
    """The register at `url`, whose form says which kind it is; without one, in the Redis of the Endpoint that is given.

    `credentials` and `poll_ms` are a bucket's; `libraries` is the folder where its library is, for a process that was
    started without. Nothing is connected yet. Raises ConfigError for what is wrong with the arguments.
    """
    scheme = (url or "").partition("://")[0]
    if scheme in BUCKETS:
        return _bucket(config, str(url), credentials or {}, poll_ms, libraries)
    if scheme in ETCD:
        from rectbot.failover.stores.etcd import EtcdRegister  # noqa: PLC0415 (each store has needs of its own)

        cluster = parse_etcd(str(url))
        key = "/".join(filter(None, (cluster.prefix, config.lock_key)))
        return EtcdRegister(cluster, key, retry_ms=config.retry_ms, silence_ms=config.renew_interval_ms)
    from rectbot.failover.stores.redis import RedisRegister  # noqa: PLC0415

    return RedisRegister(redis_at(url, **redis), config)


def redis_at(url: str | None, **given: Any) -> Endpoint:
    """Where Redis is: at `url`, else as the Endpoint's fields say. The login is theirs where the URL has none.

    Raises ConfigError for a wrong URL.
    """
    endpoint = Endpoint(**given)
    if url is None:
        return endpoint
    found = parse_url(url, endpoint.cacert)
    if found.username or found.password:
        return found
    return replace(found, username=endpoint.username, password=endpoint.password)


def _bucket(config: FailoverConfig, url: str, credentials: dict[str, str], poll_ms: int, libraries: str) -> Register:
    place = parse_bucket(url, credentials)
    if libraries:
        sys.path.append(libraries)
    try:
        from rectbot.failover.stores.bucket import BucketRegister  # noqa: PLC0415
    except ImportError:
        raise ConfigError(
            "LEASE_URL names a bucket, and the library for it is not installed: pip install 'rectbot[s3]'"
        ) from None
    return BucketRegister(place, config.lock_key, poll_ms=poll_ms)
