"""What the native engine adds to the configuration under docker/monitoring, which both engines read.

The shared files are linked, never copied; only addresses, paths and secrets are written here, under `var`.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from rectbot.alerts.alertmanager import render_native
from rectbot.errors import RectbotError
from rectbot.settings import Settings, reachable
from rectbot.stack import grafana, push_users, redis_users
from rectbot.stack import targets as expected
from rectbot.stack.components import alert_webhook, offers_redis, push_proxy_listens
from rectbot.stack.env_file import values_of
from rectbot.stack.layout import Layout, write_private
from rectbot.stack.servers import NGINX_STREAM, has_grafana

SCRAPED = ("prometheus", "pushgateway", "alertmanager", "hub", "loki")


def write(settings: Settings, layout: Layout) -> None:
    """Writes the servers' configuration for these settings. Raises RectbotError when the disk refuses."""
    _redis(settings, layout)
    _prometheus(settings, layout)
    _alertmanager(settings, layout)
    _nginx(settings, layout)
    if has_grafana():
        grafana.write(settings, layout)


def _redis(settings: Settings, layout: Layout) -> None:
    folder = layout.folder("redis")
    write_private(folder / "users.conf", redis_users.render(values_of(settings, redis_users.NAMES)))
    lines = (
        f"include {_quoted(layout.monitoring / 'redis' / 'redis.conf')}",
        "bind 127.0.0.1",
        f"port {settings.port('redis')}",
        f"dir {_quoted(layout.folder('redis', 'data'))}",
        f"include {_quoted(folder / 'users.conf')}",
        "set-proc-title no",  # a title overwrites the environment by which we know our processes
    )
    write_private(folder / "redis.conf", "\n".join(lines) + "\n")


def _prometheus(settings: Settings, layout: Layout) -> None:
    folder, source = layout.folder("prometheus"), layout.monitoring / "prometheus"
    _link(folder / "prometheus.yml", source / "prometheus.yml")
    _link(folder / "alerts", source / "alerts")
    targets = layout.folder("prometheus", "targets")
    for job in SCRAPED:
        address = f"127.0.0.1:{settings.port(job)}"
        text = yaml.safe_dump([{"targets": [address]}])
        if job == "pushgateway":
            text = expected.render(address, settings.jobs)
        write_private(targets / f"{job}.yml", text)


def _alertmanager(settings: Settings, layout: Layout) -> None:
    source = layout.monitoring / "alertmanager" / "alertmanager.yml"
    hub = f"{reachable(settings.hub_bind)}:{settings.port('hub')}"
    text = render_native(source, alert_webhook(settings), hub, notify=bool(settings.alert_services))
    write_private(layout.folder("alertmanager") / "alertmanager.yml", text)


def _nginx(settings: Settings, layout: Layout) -> None:
    folder, engine = layout.folder("nginx"), layout.folder("nginx", "engine")
    for name, target in {
        "nginx.conf": layout.monitoring / "pushgateway" / "nginx.conf",
        "allowlist.conf": layout.allowlist,
        "htpasswd": layout.htpasswd,
        "tls.crt": layout.certificate,
        "tls.key": layout.private_key,
        "tls-policy.conf": layout.monitoring / "redis" / "tls-policy.conf",
    }.items():
        _link(folder / name, target)
    values = values_of(settings, push_users.NAMES)
    write_private(folder / "proof.conf", push_users.render_proof(values))
    temporary = layout.folder("nginx", "temporary")
    servers = ("pushgateway", "loki")
    http = [f'map "" ${name} {{\n    default 127.0.0.1:{settings.port(name)};\n}}' for name in servers]
    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
        http.append(f"{kind}_temp_path {_quoted(temporary / kind)};")
    write_private(engine / "http.conf", "\n".join(http) + "\n")
    inner = f"127.0.0.1:{settings.port('push-inner')}"
    addresses = (f"{address}:{settings.port('push-proxy')}" for address in push_proxy_listens(settings))
    front = "".join(f"listen {address} so_keepalive=30s:10s:3;\n" for address in addresses)
    write_private(engine / "front.conf", f"{front}proxy_pass {inner};\n")
    write_private(engine / "server.conf", f"listen {inner} ssl proxy_protocol;\n")
    write_private(engine / "stream-redis.conf", _redis_over_tls(settings))
    # Debian's nginx has `stream` as a module, upstream's has it built in.
    module = f"load_module {NGINX_STREAM};\n" if NGINX_STREAM.exists() else ""
    write_private(engine / "modules.conf", module)


def _redis_over_tls(settings: Settings) -> str:
    """Redis for the other host, on the address that REDIS_BIND names; Redis itself stays on loopback."""
    if not offers_redis(settings):
        return ""
    port = settings.port("redis")
    listen = f"listen {settings.redis_bind}:{port} ssl so_keepalive=30s:10s:3;"
    server = f"    {listen}\n    include tls-policy.conf;\n    proxy_pass 127.0.0.1:{port};\n"
    return f"limit_conn_zone $binary_remote_addr zone=redis:1m;\nserver {{\n{server}}}\n"


def _quoted(value: Path | str) -> str:
    """A quoted word for Redis and nginx, which both know `\\"` inside double quotes."""
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _link(path: Path, target: Path) -> None:
    try:
        if path.is_symlink() and path.readlink() == target:
            return
        path.unlink(missing_ok=True)
        path.symlink_to(target)
    except OSError as error:
        raise RectbotError(f"{path}: cannot be linked to {target} ({error.strerror})") from None
