"""What the outside can reach: addresses, the dashboard, the tunnel; and which versions run."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Mapping
from typing import Any

import urllib3
import yaml
from dotenv import dotenv_values

from rectbot.doctor.subject import Engine, Subject
from rectbot.doctor.verdict import Verdict, fail, ok, warn, worst
from rectbot.errors import RectbotError
from rectbot.settings import BASE_PORTS
from rectbot.stack.components import offers_redis

INSIDE = ("prometheus", "pushgateway", "alertmanager", "loki", "hub", "metabase")
_GRAFANA = re.compile(r"https?://(grafana|localhost|127\.0\.0\.1):(\d+)/?")
_ANYTHING = frozenset({"", "latest", "main", "nightly", "edge", "stable"})


def addresses(subject: Subject) -> Verdict:
    """Only the push proxy, and Redis over TLS where the operator says so, listen to other hosts."""
    port = subject.settings.port
    open_ports = [f"{name} on {ip}:{port(name)}" for name in INSIDE for ip in subject.open_to_others(port(name))]
    shown: list[str] = []
    for number in {port("console"), subject.console_port} - {0}:
        wanted = subject.settings.console_bind if number == subject.console_port else ""  # it asks for a login there
        for ip in subject.open_to_others(number):
            (shown if ip == wanted else open_ports).append(f"dashboard on {ip}:{number}")
    for ip in subject.open_to_others(port("push-proxy")):  # an IPv6 client of Docker's has the bridge's address
        (open_ports if ":" in ip else shown).append(f"push proxy on {ip}:{port('push-proxy')}")
    for ip in subject.open_to_others(port("redis")):
        tls = "redis-tls" in subject.containers or (
            offers_redis(subject.settings) and ip == subject.settings.redis_bind
        )
        (shown if tls else open_ports).append(f"{'TLS to ' if tls else ''}Redis on {ip}:{port('redis')}")
    if open_ports:
        return fail(
            f"open to other hosts: {', '.join(open_ports)}", "bind it to 127.0.0.1, or close it in the firewall"
        )
    return ok(f"open to other hosts: {', '.join(shown) or 'nothing'}")


def dashboard_needs_a_login(subject: Subject) -> Verdict:
    """Nobody sees the dashboard without a login, nor makes an account."""
    verdicts = [_grafana_ini(subject)]
    if "grafana" in subject.containers:
        verdicts.append(_grafana_answers(subject))
    return worst(verdicts)


def _grafana_ini(subject: Subject) -> Verdict:
    path = subject.layout.monitoring / "grafana" / "grafana.ini"
    config = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        config.read_string(path.read_text(encoding="utf-8"))
    except (OSError, configparser.Error):
        return fail(f"{path} cannot be read", "'rectbot init' lays it out; in a checkout restore it from git")
    for section, option in (
        ("auth.anonymous", "enabled"),
        ("users", "allow_sign_up"),
        ("public_dashboards", "enabled"),
    ):
        if config.get(section, option, fallback="false").lower() not in ("false", "0", "no"):
            return fail(f"grafana.ini: [{section}] {option} is on", "set it to false, and restart Grafana")
    return ok("grafana.ini: no anonymous access, no sign-up, nothing public")


def _grafana_answers(subject: Subject) -> Verdict:
    status = subject.get(f"{subject.url('console')}/api/search").status
    if status not in (401, 403):
        return fail(f"Grafana answers {status} to somebody without a login", "restart it with the grafana.ini of git")
    default = urllib3.make_headers(basic_auth="admin:admin")
    if subject.get(f"{subject.url('console')}/api/org", default).status == 200:
        return fail("Grafana's password is admin", "grafana cli admin reset-admin-password, in its container")
    return ok("a stranger is refused, and so is admin:admin")


def console_is_guarded(subject: Subject) -> Verdict:
    """The console refuses other sites' requests; and whoever comes from another host, or all, must log in."""
    port = subject.console_port
    if not port:
        return ok("none is served (CONSOLE_PORT=0)")
    url = subject.console_url
    if subject.get(f"{url}/healthz").status != 200:
        return fail(f"{url} does not answer as a console", "'rectbot logs hub' says why")
    rebound = subject.get(url, {"Host": "rebound.example"}).status
    embedded = subject.get(url, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}).status
    if (rebound, embedded) != (421, 403):
        return fail(
            f"it answers another site's requests ({rebound}, {embedded})", "something else has its port: stop it"
        )
    login = subject.get(url).status == 303
    if not login and subject.open_to_others(port):
        return fail("it is open to other hosts without a login", "restart the hub: it reads CONSOLE_BIND at its start")
    return ok(f"{'behind a login' if login else 'for this machine, without a login'}; other sites are refused")


def tunnel_shows_the_dashboard_only(subject: Subject) -> Verdict:
    """What Cloudflare's tunnel publishes is Grafana, and 404 for the rest."""
    folder = subject.layout.monitoring / "cloudflared"
    path = next((path for name in ("config.yml", "config.example.yml") if (path := folder / name).is_file()), None)
    if path is None:
        return fail(f"{folder} has no configuration", "restore config.example.yml from git")
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        services = [str(rule["service"]) for rule in config["ingress"]]
    except (OSError, yaml.YAMLError, TypeError, KeyError, UnicodeDecodeError):
        return fail(f"{path.name} has no readable list of ingress rules", "begin again with config.example.yml")
    other = [service for service in services[:-1] if not _is_dashboard(service)]
    if other:
        return fail(f"the tunnel publishes {', '.join(other)}", f"take it out of {path}")
    if services[-1:] != ["http_status:404"]:
        return fail("the tunnel's last rule does not answer 404", f"end {path} with 'service: http_status:404'")
    unused = "" if path.name == "config.yml" else " (the example; no tunnel is set up)"
    return ok(f"{', '.join(services[:-1]) or 'nothing'}, else 404{unused}")


def _is_dashboard(service: str) -> bool:
    match = _GRAFANA.fullmatch(service)
    return match is not None and int(match[2]) == BASE_PORTS["console"]


def versions(subject: Subject) -> Verdict:
    """Images are pinned, and what runs is what is pinned."""
    path = subject.layout.compose_file
    try:
        services: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))["services"]
    except (OSError, yaml.YAMLError, TypeError, KeyError):
        return fail(f"{path} cannot be read", "'rectbot init' lays it out; in a checkout restore it from git")
    chosen = {**dotenv_values(subject.layout.env_file), **os.environ}
    pins = {name: _filled_in(str(service.get("image", "")), chosen) for name, service in services.items()}
    floating = [f"{name} ({image})" for name, image in pins.items() if _tag(image) in _ANYTHING]
    if floating:
        return fail(f"not pinned to a version: {', '.join(floating)}", f"write a version in {path.name}")
    other = [
        f"{name} runs {container.image}, pinned is {pins[name]}"
        for name, container in subject.containers.items()
        if name in pins and container.image != pins[name]
    ]
    if other:
        return warn("; ".join(other), "docker compose -f docker-compose.monitoring.yml up -d --pull missing")
    if subject.engine is Engine.COMPOSE:
        return ok(f"{len(subject.containers)} containers run the pinned images")
    return ok(f"{len(pins)} images are pinned; here runs Debian's {_native(subject)}")


def _filled_in(image: str, chosen: Mapping[str, str | None]) -> str:
    """With Compose's ${NAME:-default} resolved: the environment first, then .env, and what is empty counts as unset."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda match: chosen.get(match[1]) or match[2], image)


def _tag(image: str) -> str:
    name, _, digest = image.partition("@")
    return digest or name.rpartition("/")[2].partition(":")[2]


def _native(subject: Subject) -> str:
    prometheus = subject.get_json("prometheus", "/api/v1/status/buildinfo")["data"]["version"]
    alertmanager = subject.get_json("alertmanager", "/api/v2/status")["versionInfo"]["version"]
    try:
        server = subject.ask_redis("INFO", "server")
    except RectbotError:
        server = b""
    text = server.decode() if isinstance(server, bytes) else str(server)
    redis = re.search(r"redis_version:(\S+)", text)
    return f"Prometheus {prometheus}, Alertmanager {alertmanager}, Redis {redis[1] if redis else 'unknown'}"
