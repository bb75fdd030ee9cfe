"""The parts of the native stack: what runs, in which order, under which settings.

The order of the list is the order of starting; stopping goes the other way. A site is a host in miniature: it has a
supervisor of its own, so that killing or freezing the site takes down whatever would restart its programs, as the
death of a real host does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rectbot.errors import ConfigError, RectbotError
from rectbot.failover.wiring import redis_endpoint
from rectbot.hosts import is_loopback
from rectbot.settings import Settings, reachable
from rectbot.stack import grafana, link, redis_users
from rectbot.stack.layout import Layout, write_private
from rectbot.stack.servers import find_server, has_grafana

LOCAL_TOKEN = "local-discord"  # noqa: S105 - the local Discord is on loopback, and this token opens nothing else
LOOPBACK = "127.0.0.1"
LOCAL_LOCK_TTL_MS = 6_000  # short, so that a person sees a failover happen
LOCAL_FAILBACK_DELAY_SEC = 2
RECTBOT = (sys.executable, "-m", "rectbot")


# Prometheus lets every website read it (CORS) unless told which may; none has a name like this.
WEB_NOBODY = "--web.cors.origin=https://nobody[.]invalid"


@dataclass(frozen=True)
class Program:
    """A process under a supervisor: its command, what it adds to the environment, and how long it may take to stop."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    stop_seconds: int = 5


@dataclass(frozen=True)
class Component:
    """A part that `status` reports: a program, where it answers, and its site (None: the stack's own).

    Of a program that serves two things, `also` names the second.
    """

    program: Program
    address: str
    site: str | None = None
    also: str = ""

    @property
    def name(self) -> str:
        """The name on the command line and in `status`."""
        return self.also or self.program.name


def uses_local_discord(settings: Settings) -> bool:
    """Without a token of its own the bot talks to the local Discord."""
    return settings.discord_bot_token is None


def keeps_the_lease(settings: Settings) -> bool:
    """Whether the lease is in the stack's own Redis; where a URL names another store, that Redis does not run.

    Raises ConfigError for a wrong URL.
    """
    if settings.lease_url is None and settings.redis_url is None:
        return True
    where = redis_endpoint(settings)
    if where is None or where.path or where.sentinels:
        return False
    return is_loopback(where.host) and where.port == settings.port("redis")


def offers_redis(settings: Settings) -> bool:
    """Whether the push proxy also lets other hosts through to Redis, over TLS."""
    asked = settings.redis_bind is not None and not is_loopback(settings.redis_bind)
    return asked and keeps_the_lease(settings)


def push_proxy_listens(settings: Settings) -> tuple[str, ...]:
    """The addresses of the push proxy: what PUSH_PROXY_BIND names, and always loopback.

    What this host sends to an address of its own comes from that address, which is on nobody's list of who may push.
    """
    bind = settings.push_proxy_bind
    return (bind,) if reachable(bind) == LOOPBACK else (bind, LOOPBACK)


def local_sites(settings: Settings, layout: Layout) -> tuple[str, ...]:
    """The sites that this machine's stack runs, most preferred first: all, or what `rectbot up --site` was given."""
    try:
        chosen = layout.chosen_sites.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return settings.failover_priority
    except OSError as error:
        raise RectbotError(f"{layout.chosen_sites}: cannot be read ({error.strerror}); check its owner") from None
    return tuple(site for site in settings.failover_priority if site in chosen)


def choose_sites(settings: Settings, layout: Layout, sites: Sequence[str]) -> None:
    """Which sites this machine's stack is to run; none named: all. Raises ConfigError for one that there is not."""
    for site in sites:
        if site not in settings.failover_priority:
            known = ", ".join(settings.failover_priority)
            raise ConfigError(f"unknown site {site!r}; the sites are {known} (FAILOVER_PRIORITY)")
    if sites:
        layout.folder("run")
        write_private(layout.chosen_sites, "".join(f"{site}\n" for site in sites))
    else:
        layout.chosen_sites.unlink(missing_ok=True)


def components(settings: Settings, layout: Layout) -> list[Component]:
    """All parts, in the order of starting."""
    parts = [*_servers(settings, layout), _loki(settings, layout)]
    parts += _hub(settings)
    if uses_local_discord(settings):
        journal = str(layout.folder("discord") / "journal.jsonl")
        command = ("discord", "serve", "--token", LOCAL_TOKEN, "--journal", journal)
        parts.append(_ours("discord", command, f"http://127.0.0.1:{settings.port('discord')}"))
    parts += _grafana(settings, layout)
    sites = local_sites(settings, layout)
    if keeps_the_lease(settings):
        parts += [_link(settings, site) for site in sites]
    for site in sites:
        parts += _site(settings, layout, site)
    return parts


def _servers(settings: Settings, layout: Layout) -> list[Component]:
    port = settings.port
    prometheus, alertmanager = layout.folder("prometheus"), layout.folder("alertmanager")
    nginx, pushgateway = layout.folder("nginx"), layout.folder("pushgateway")
    # One process: a worker whose master was killed would keep the port, and its title would overwrite the environment
    # by which we know our processes. It also keeps our user, who alone may read htpasswd.
    nginx_globals = f"daemon off; master_process off; pid {nginx / 'nginx.pid'};"
    redis = ("redis-server", str(layout.folder("redis") / "redis.conf"))
    return [
        *([_server("redis", redis, f"127.0.0.1:{port('redis')}")] if keeps_the_lease(settings) else []),
        _server(
            "pushgateway",
            (
                "prometheus-pushgateway",
                f"--web.listen-address=127.0.0.1:{port('pushgateway')}",
                f"--persistence.file={pushgateway / 'metrics'}",
                "--persistence.interval=1m",
            ),
            f"http://127.0.0.1:{port('pushgateway')}",
        ),
        _server(
            "prometheus",
            (
                "prometheus",
                f"--config.file={prometheus / 'prometheus.yml'}",
                f"--storage.tsdb.path={prometheus / 'data'}",
                "--storage.tsdb.retention.time=15d",
                f"--web.listen-address=127.0.0.1:{port('prometheus')}",
                WEB_NOBODY,
            ),
            f"http://127.0.0.1:{port('prometheus')}",
        ),
        _server(
            "alertmanager",
            (
                "prometheus-alertmanager",
                f"--config.file={alertmanager / 'alertmanager.yml'}",
                f"--storage.path={alertmanager / 'data'}",
                f"--web.listen-address=127.0.0.1:{port('alertmanager')}",
                "--cluster.listen-address=",  # one Alertmanager: no gossip port
            ),
            f"http://127.0.0.1:{port('alertmanager')}",
        ),
        _server(
            "nginx",
            (
                "nginx",
                "-p",
                str(nginx),
                "-c",
                str(nginx / "nginx.conf"),
                "-e",
                "stderr",
                "-g",
                nginx_globals,
            ),
            f"https://{settings.push_proxy_bind}:{port('push-proxy')}",
        ),
    ]


def _loki(settings: Settings, layout: Layout) -> Component:
    """Loki where it is installed, with production's configuration; else the embedded store, which speaks its API."""
    port, data = settings.port("loki"), layout.folder("loki")
    address, loki = f"http://127.0.0.1:{port}", find_server("loki")
    if loki is None:
        return _ours("loki", ("logs", "serve", "--data", str(data), "--port", str(port), "--retention", "14d"), address)
    grpc = f"-server.grpc-listen-port={port + 1}"
    command = (loki, f"-config.file={layout.monitoring / 'loki' / 'loki.yml'}", "-config.expand-env=true", grpc)
    environment = {"LOKI_BIND": "127.0.0.1", "LOKI_PORT": str(port), "LOKI_DATA": str(data)}
    return Component(Program("loki", command, environment), address)


def _hub(settings: Settings) -> list[Component]:
    port = console_port(settings)
    program = Program("hub", (*RECTBOT, "hub", "serve"), {"CONSOLE_PORT": str(port)})
    metrics = Component(program, f"http://127.0.0.1:{settings.port('hub')}")
    page = Component(program, f"http://{reachable(settings.console_bind)}:{port}", also="console")
    return [metrics, page] if port else [metrics]


def console_port(settings: Settings) -> int:
    """Where the hub serves the console: beside Grafana, or in its place; 0: nowhere."""
    if settings.console_port is not None:
        return settings.console_port
    return settings.port("console-beside" if has_grafana() else "console")


def _server(name: str, command: tuple[str, ...], address: str) -> Component:
    binary, *arguments = command
    return Component(Program(name, (find_server(binary) or binary, *arguments)), address)


def _ours(name: str, command: tuple[str, ...], address: str) -> Component:
    return Component(Program(name, (*RECTBOT, *command)), address)


def _grafana(settings: Settings, layout: Layout) -> list[Component]:
    """Grafana where it is installed; without it the console has its port."""
    if (binary := find_server("grafana")) is None:
        return []
    program = Program("grafana", grafana.command(binary, layout), grafana.environment(settings, layout))
    return [Component(program, f"http://127.0.0.1:{settings.port('console')}")]


def link_port(settings: Settings, site: str) -> int:
    """The port through which a site reaches Redis; cutting the site off freezes what listens there."""
    return settings.port("link") + settings.failover_priority.index(site)


def _link(settings: Settings, site: str) -> Component:
    listen, target = f"127.0.0.1:{link_port(settings, site)}", f"127.0.0.1:{settings.port('redis')}"
    return Component(Program(f"link-{site}", link.command(listen, target)), listen)


def _site(settings: Settings, layout: Layout, site: str) -> list[Component]:
    environment = site_environment(settings, layout, site)
    bot = Program(f"bot-{site}", (*RECTBOT, "bot"), environment, stop_seconds=4)
    parts = [Component(bot, f"site {site}", site)]
    for number, job in enumerate(settings.jobs.get(site, ())):
        name, more = (f"push-{site}-{number + 1}", ("--job", job)) if number else (f"push-{site}", ())
        push = Program(name, (*RECTBOT, "push", "--every", "60", *more), environment, stop_seconds=2)
        parts.append(Component(push, settings.model_copy(update={"site_id": site}).push_url, site))
    return parts


def site_environment(settings: Settings, layout: Layout, site: str) -> dict[str, str]:
    """What a site's programs see beside `.env`: who they are, and how they reach the other parts. No secrets."""
    given = settings.model_fields_set
    environment = {
        "FAILOVER_ENABLED": "true",
        "SITE_ID": site,
        "BOT_PID_FILE": str(pid_file(layout, site)),
        "LOKI_SPOOL": str(layout.folder("spool") / f"bot-{site}"),
    }
    if keeps_the_lease(settings):
        user, port = redis_users.user_of(settings, site), str(link_port(settings, site))
        environment |= {"REDIS_USER": user, "REDIS_HOST": "127.0.0.1", "REDIS_PORT": port}
    if "loki_url" not in given:
        environment["LOKI_URL"] = f"https://localhost:{settings.port('push-proxy')}"  # as the other host does
    if uses_local_discord(settings):
        api = f"http://127.0.0.1:{settings.port('discord')}/sites/{site}/api/v10"
        environment |= {"DISCORD_BOT_TOKEN": LOCAL_TOKEN, "DISCORD_API_URL": api}
        if "lock_ttl_ms" not in given:
            environment["LOCK_TTL_MS"] = str(LOCAL_LOCK_TTL_MS)
        if "failback_delay_sec" not in given:
            environment["FAILBACK_DELAY_SEC"] = str(LOCAL_FAILBACK_DELAY_SEC)
    return environment


def site_settings(settings: Settings, layout: Layout, site: str) -> Settings:
    """The settings as a site's programs see them."""
    seen = site_environment(settings, layout, site)
    changed = {
        "lock_ttl_ms": int(seen.get("LOCK_TTL_MS", settings.lock_ttl_ms)),
        "failback_delay_sec": float(seen.get("FAILBACK_DELAY_SEC", settings.failback_delay_sec)),
    }
    return settings.model_copy(update={"site_id": site, **changed})


def pid_file(layout: Layout, site: str) -> Path:
    """Where the bot of a site writes its process id."""
    return layout.folder("run") / f"bot-{site}.pid"


def alert_webhook(settings: Settings) -> str | None:
    """The webhook that alerts go to: the operator's, else the local Discord's, else none."""
    if settings.discord_alert_webhook_url is not None:
        return settings.discord_alert_webhook_url.get_secret_value()
    if uses_local_discord(settings):
        return f"http://127.0.0.1:{settings.port('discord')}/api/webhooks/1/local-alerts"
    return None
