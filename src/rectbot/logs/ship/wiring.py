"""The handler that our settings describe."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from rectbot.errors import ConfigError
from rectbot.logs.client.target import target_of
from rectbot.logs.ship.handler import LokiHandler
from rectbot.settings import Settings, spool_folder

_log = logging.getLogger("rectbot.logs")


def handler_of(settings: Settings, job: str, site: str, secrets: Sequence[str] = ()) -> LokiHandler | None:
    """Ships to LOKI_URL; None when that is not set.

    A spool that cannot be used is a warning only: lines then wait in memory. Raises ConfigError for a wrong LOKI_URL or
    LOKI_CACERT.
    """
    target = target_of(settings)
    if target is None:
        return None
    given = (settings.loki_password, settings.pushgateway_password)
    secrets = [*secrets, *(secret.get_secret_value() for secret in given if secret is not None)]
    secrets += filter(None, [settings.redis_login[1], settings.push_login[1]])
    spool = spool_folder(settings, job, site)
    size = int(settings.loki_spool_mb * 1_000_000)
    try:
        return LokiHandler(target, job=job, site=site, secrets=secrets, spool=spool, spool_bytes=size)
    except ConfigError as error:
        _log.warning("log lines wait in memory only: %s", error)
        return LokiHandler(target, job=job, site=site, secrets=secrets)
