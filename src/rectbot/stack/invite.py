"""`rectbot invite SITE`: all that a site's host needs to take part, gathered on the monitoring host."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from rectbot import __version__
from rectbot.errors import ConfigError, RectbotError
from rectbot.failover.stores.urls import BUCKETS, ETCD, parse_bucket, parse_etcd
from rectbot.failover.wiring import store_options
from rectbot.hosts import is_loopback
from rectbot.settings import Settings, load_settings
from rectbot.stack import allowlist, certificate, container_secrets, invitation, push_users, reload
from rectbot.stack.components import keeps_the_lease, offers_redis
from rectbot.stack.env_file import assign, value_of
from rectbot.stack.layout import Layout, read_text, write_private

CERTIFICATE, STORE_CERTIFICATE = "monitoring.crt", "store.crt"
_SAME_EVERYWHERE = (
    *("failover_priority", "lock_ttl_ms", "renew_interval_ms", "hb_ttl_sec", "failback_delay_sec", "failback_max_sec"),
    *("login_budget", "stop_timeout_ms", "leader_lock_key", "hb_prefix", "lease_poll_sec"),
    *("discord_bot_token", "discord_alert_webhook_url", "discord_api_url", "alert_urls"),
)
_ALWAYS = ("failover_priority", "lock_ttl_ms")  # also where nobody has set them: so they cannot drift apart


@dataclass(frozen=True)
class Made:
    """An invitation, and what its maker should know."""

    header: invitation.Header
    line: str
    done: list[str]
    warnings: list[str]


def invite(
    settings: Settings,
    site: str,
    *,
    passphrase: str | None,
    host: str | None = None,
    redis: str | None = None,
    allow: Sequence[str] = (),
    seconds: float = invitation.DEFAULT_HOURS * 3600,
) -> Made:
    """Makes the site's credentials where it has none, and gathers what its host needs.

    `host` is where the site reaches this one: a name or address in the certificate; without it, the first one there
    that is not this machine's own. `redis` is HOST[:PORT] of Redis, if it is reached elsewhere. `allow` are addresses
    to be added to those that may push. Raises ConfigError, RectbotError.
    """
    layout = Layout.of(settings)
    if site not in settings.failover_priority:
        known = ", ".join(settings.failover_priority)
        raise ConfigError(f"unknown site {site!r}; the sites are {known}: add it to FAILOVER_PRIORITY, then run init")
    host = _host(layout, host)
    done = list(_prepare(settings, layout, site, allowlist.parse(allow)))
    settings = load_settings(rectbot_home=settings.rectbot_home)
    values, files = _common(settings, layout, site, host)
    more, more_files = _store(settings, site, host, redis)
    header, line = invitation.make(
        site, values | more, files | more_files, version=__version__, passphrase=passphrase, seconds=seconds
    )
    return Made(header, line, done, list(_warnings(settings, layout, host, values | more)))


def _host(layout: Layout, host: str | None) -> str:
    names = certificate.hosts_of(layout.certificate)
    if host is None:
        host = next((name for name in names if name not in certificate.DEFAULT_HOSTS), None)
        if host is None:
            raise ConfigError(
                "the certificate names this machine only: run 'rectbot init --host NAME' with the name or address at"
                " which the site reaches this host, restart the push proxy, then invite again"
            )
    if host not in names:
        raise ConfigError(f"the certificate does not name {host}: run 'rectbot init --host {host}', then invite again")
    return host


def _prepare(settings: Settings, layout: Layout, site: str, allowed: Sequence[allowlist.Network]) -> Iterator[str]:
    """What this host must know before the site comes; yields a line for each thing done."""
    values = dotenv_values(layout.env_file)
    parts = []
    if site not in push_users.of_sites(values):
        text = read_text(layout.env_file, "run 'rectbot init'")
        write_private(layout.env_file, assign(text, push_users.renewed(values, site)))
        yield f"{site} has a push password of its own now, in {layout.env_file}"
        parts.append("nginx")
    yield from push_users.write_htpasswd(layout.htpasswd, dotenv_values(layout.env_file), anew=False)
    if added := _allow(layout, allowed):
        yield f"{layout.allowlist}: may push now: {added}"
        parts += ["nginx", "redis-tls"]
    yield from container_secrets.write(layout)
    if parts:
        yield from reload.restart(load_settings(rectbot_home=settings.rectbot_home), layout, parts)


def _allow(layout: Layout, allowed: Sequence[allowlist.Network]) -> str:
    """Adds to the list of who may push; what was added. The first address takes the place of Docker's bridges."""
    there = allowlist.read(layout.allowlist)
    new = [network for network in allowed if network not in there]
    if new:
        kept = () if set(there) == set(allowlist.DEFAULT) else there
        networks = allowlist.with_loopback((*kept, *new))
        write_private(layout.allowlist, allowlist.render(networks), mode=0o644)
    return ", ".join(map(allowlist.shown, new))


def _common(settings: Settings, layout: Layout, site: str, host: str) -> tuple[dict[str, str], dict[str, str]]:
    env = dotenv_values(layout.env_file)
    base = f"https://{_in_url(host)}:{settings.port('push-proxy')}"
    given = settings.model_fields_set
    values = {name.upper(): value_of(settings, name) for name in _SAME_EVERYWHERE if name in given or name in _ALWAYS}
    values |= {
        "FAILOVER_ENABLED": "true",
        "SITE_ID": site,
        "PUSHGATEWAY_URL": f"{base}/metrics/job/{push_users.job_of(env, site)}",
        "PUSHGATEWAY_USER": site,
        "PUSHGATEWAY_PASSWORD": push_users.of_sites(env)[site],
        "LOKI_URL": base,
    }
    if not certificate.is_self_signed(layout.certificate):
        return values, {}  # an authority vouches for it
    return values | {"PUSHGATEWAY_CACERT": f"<{CERTIFICATE}>"}, {CERTIFICATE: read_text(layout.certificate, "")}


def _store(settings: Settings, site: str, host: str, redis: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """Where the lease is kept, with the site's own login where the store is ours."""
    url = str(store_options(settings)["url"] or "")
    scheme = url.partition("://")[0]
    if scheme in BUCKETS:
        _check_elsewhere(parse_bucket(url, {}).endpoint.partition("://")[2].partition("/")[0].partition(":")[0])
        keys = ("aws_access_key_id", "aws_secret_access_key", "aws_region")
        return {"LEASE_URL": url} | {
            k.upper(): value_of(settings, k) for k in keys if k in settings.model_fields_set
        }, {}
    if scheme in ETCD:
        cluster = parse_etcd(url)
        for member, _ in cluster.members:
            _check_elsewhere(member)
        if cluster.cacert is None:
            return {"LEASE_URL": url}, {}
        text = read_text(cluster.cacert, "correct cacert= in LEASE_URL")
        return {"LEASE_URL": url.replace(str(cluster.cacert), f"<{STORE_CERTIFICATE}>")}, {STORE_CERTIFICATE: text}
    if not keeps_the_lease(settings) or not (url or is_loopback(settings.redis_host)):
        return _redis_elsewhere(settings, url)
    if site not in settings.redis_logins:
        raise ConfigError(f"REDIS_PASSWORDS has no login of {site}: run 'rectbot init', and restart Redis")
    where, _, port = (redis or host).rpartition(":") if redis and not _is_ip(redis) else (redis or host, "", "")
    if redis and not where:
        where, port = port, ""
    values = {
        "REDIS_HOST": where,
        "REDIS_PORT": port or str(settings.port("redis")),
        "REDIS_USER": site,
        "REDIS_PASSWORD": settings.redis_logins[site],
        "REDIS_TLS": "true",
        "REDIS_CACERT": f"<{CERTIFICATE}>",
    }
    return values | ({"REDIS_DB": str(settings.redis_db)} if settings.redis_db else {}), {}


def _redis_elsewhere(settings: Settings, url: str) -> tuple[dict[str, str], dict[str, str]]:
    names = ["redis_host", "redis_port", "redis_user", "redis_password", "redis_db", "redis_tls"]
    values = {name.upper(): value_of(settings, name) for name in names if name in settings.model_fields_set}
    if url:
        values["LEASE_URL" if settings.lease_url else "REDIS_URL"] = url
    if settings.redis_cacert is None:
        return values, {}
    text = read_text(settings.redis_cacert, "correct REDIS_CACERT")
    return values | {"REDIS_CACERT": f"<{STORE_CERTIFICATE}>"}, {STORE_CERTIFICATE: text}


def _check_elsewhere(host: str) -> None:
    if host and is_loopback(host):
        raise ConfigError(f"LEASE_URL names {host}, which the site's host takes for itself: write what both reach")


def _warnings(settings: Settings, layout: Layout, host: str, values: dict[str, str]) -> Iterator[str]:
    if is_loopback(host):
        yield f"{host} is this machine only: a site on another host needs 'rectbot init --host NAME'"
        return
    if reload.runs_natively(layout) and is_loopback(settings.push_proxy_bind):
        yield "the push proxy listens on this machine only: set PUSH_PROXY_BIND (0.0.0.0, or one address), and restart"
    if values.get("REDIS_HOST") == host and not offers_redis(settings):
        yield "no other host reaches Redis over TLS: set REDIS_BIND in .env (compose: with COMPOSE_PROFILES=redis-tls)"
    if set(allowlist.read(layout.allowlist)) <= set(allowlist.DEFAULT):
        yield "the site's address may not push yet: 'rectbot invite SITE --allow ADDRESS', or 'rectbot init --allow'"
    if "DISCORD_BOT_TOKEN" not in values:
        yield "DISCORD_BOT_TOKEN is not set here, so the invitation has none: the site's .env needs one for our bot"
    if values.get("LEASE_URL", "").partition("://")[0] in BUCKETS and "AWS_ACCESS_KEY_ID" not in values:
        yield "AWS_ACCESS_KEY_ID is not set here, so the invitation has none: the site needs its own way to the bucket"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def write_line(path: Path, line: str) -> None:
    """The invitation as a file, for its owner only; one that is there is not replaced. Raises RectbotError."""
    if path.exists():
        raise RectbotError(f"{path}: is there already; name another file, or remove it")
    write_private(path, f"{line}\n")
