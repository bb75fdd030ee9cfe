"""What must hold before the stack starts: each failure is one line that says how to mend it."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from rectbot.alerts.webhook import webhook_url
from rectbot.errors import ConfigError, RectbotError
from rectbot.failover.wiring import check_url, failover_config
from rectbot.hosts import is_loopback
from rectbot.logs.client.target import target_of as loki_target
from rectbot.push.target import target_of as push_target
from rectbot.settings import Settings
from rectbot.stack import certificate, push_users, redis_users
from rectbot.stack.components import (
    console_port,
    keeps_the_lease,
    link_port,
    local_sites,
    offers_redis,
    push_proxy_listens,
    site_settings,
    uses_local_discord,
)
from rectbot.stack.env_file import values_of
from rectbot.stack.layout import Layout, read_text
from rectbot.stack.processes import port_holder
from rectbot.stack.servers import DEBIAN_PACKAGES, STREAM_PACKAGE, find_server, has_grafana, has_nginx_stream

MINIMUM_FREE_BYTES = 200 * 2**20  # Prometheus alone pre-allocates 128 MiB of head chunks

_BINDS = {"nginx": "PUSH_PROXY_BIND", "console": "CONSOLE_BIND", "redis-tls": "REDIS_BIND"}
_INIT = "run 'rectbot init'"


def check(settings: Settings, layout: Layout) -> None:
    """Raises RectbotError for the first thing that would keep the stack from running."""
    _check_packages(layout)
    _check_site_names(settings)
    _check_disk(layout)
    _check_secrets(settings, layout)
    certificate.check(layout.certificate, layout.private_key)
    _check_values(settings, layout)
    for name, host, port in ports(settings, layout):
        _check_port(name, host, port)


def ports(settings: Settings, layout: Layout) -> Iterator[tuple[str, str, int]]:
    """Name, address and port of everything that the stack listens on."""
    redis = keeps_the_lease(settings)
    for name in (*(["redis"] if redis else []), "pushgateway", "prometheus", "alertmanager", "hub", "loki"):
        yield name, "127.0.0.1", settings.port(name)
    for address in push_proxy_listens(settings):
        yield "nginx", address, settings.port("push-proxy")
    yield "nginx", "127.0.0.1", settings.port("push-inner")
    if offers_redis(settings):
        yield "redis-tls", str(settings.redis_bind), settings.port("redis")
    if console_port(settings):
        yield "console", settings.console_bind, console_port(settings)
    if uses_local_discord(settings):
        yield "discord", "127.0.0.1", settings.port("discord")
    for site in local_sites(settings, layout) if redis else ():
        yield f"link-{site}", "127.0.0.1", link_port(settings, site)
    if has_grafana():
        yield "grafana", "127.0.0.1", settings.port("console")


def _check_packages(layout: Layout) -> None:
    missing = [package for binary, package in DEBIAN_PACKAGES.items() if find_server(binary) is None]
    if not has_nginx_stream():
        missing.append(STREAM_PACKAGE)
    if missing:
        # Not apt-get itself: it would start the servers too, which then hold our ports.
        script = layout.home / "scripts" / "debian.sh"
        raise ConfigError(f"missing Debian packages: {' '.join(missing)}; run: {script} servers")


def _check_site_names(settings: Settings) -> None:
    if settings.site_id is not None and settings.site_id not in settings.failover_priority:
        raise ConfigError(
            f"SITE_ID={settings.site_id} is not in FAILOVER_PRIORITY={','.join(settings.failover_priority)}; "
            "correct it (a stack on one machine runs every site and needs no SITE_ID)"
        )


def _check_disk(layout: Layout) -> None:
    free = shutil.disk_usage(layout.folder()).free
    if free < MINIMUM_FREE_BYTES:
        raise RectbotError(
            f"{layout.var}: no disk space: {free // 2**20} MiB are free, "
            f"the stack needs {MINIMUM_FREE_BYTES // 2**20} MiB; free some, or move the checkout"
        )


def _check_secrets(settings: Settings, layout: Layout) -> None:
    own_redis = keeps_the_lease(settings)
    own_user = own_redis and is_loopback(settings.redis_host)
    for name in (
        *(["redis_password"] if own_redis else []),
        "pushgateway_password",
        *(["redis_user"] if own_user else []),
    ):
        if getattr(settings, name) is None:
            raise ConfigError(f"{layout.env_file}: {name.upper()} is not set; {_INIT}")
    redis_users.render(values_of(settings, redis_users.NAMES))
    for path in (layout.htpasswd, layout.allowlist):
        if not _readable(path):
            raise ConfigError(f"{path}: is missing or unreadable; {_INIT}")

    values = values_of(settings, push_users.NAMES)
    own = settings.pushgateway_url is None and {push_users.own(values): values["PUSHGATEWAY_PASSWORD"] or ""}
    for user, password in {**push_users.of_sites(values), **(own or {})}.items():
        if not push_users.admits(read_text(layout.htpasswd, _INIT), user, password):
            name = "PUSHGATEWAY_PASSWORD" if user in (own or {}) else "its password of PUSHGATEWAY_PASSWORDS"
            raise ConfigError(f"{layout.htpasswd}: does not admit {user} with {name}; {_INIT}")


def _check_values(settings: Settings, layout: Layout) -> None:
    """What a program of the stack would refuse when it is started, here said at once."""
    if settings.discord_alert_webhook_url is not None:
        webhook_url(settings)
    if settings.alert_services:
        from rectbot.alerts.services import services  # noqa: PLC0415 (Apprise is large, and seldom there)

        services(settings)
    check_url(settings)
    if settings.redis_bind in ("0.0.0.0", "::"):  # noqa: S104 - it is refused
        raise ConfigError(
            f"REDIS_BIND={settings.redis_bind}: Redis itself has 127.0.0.1; name the one address of this host"
            " at which sites reach it"
        )
    push_target(settings)
    loki_target(settings)
    for site in local_sites(settings, layout):
        failover_config(site_settings(settings, layout, site))


def _readable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.R_OK)


def _check_port(name: str, host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if not isinstance(error, socket.gaierror) and error.errno == errno.EADDRINUSE:
                raise ConfigError(
                    f"port {port} ({name}) is in use by {port_holder(port)}; "
                    "stop it, or shift all ports with RECTBOT_PORT_OFFSET"
                ) from None
            mend = f"; correct {_BINDS[name]}" if name in _BINDS else ""
            raise ConfigError(f"{name} cannot listen on {host}:{port} ({error.strerror}){mend}") from None
