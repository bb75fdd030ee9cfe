"""What lies on the disk: modes, passwords, the push password's hash, and who may push."""

from __future__ import annotations

import re
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from dotenv import dotenv_values

from rectbot.doctor.subject import Engine, Subject
from rectbot.doctor.verdict import Verdict, fail, ok, warn
from rectbot.errors import ConfigError
from rectbot.failover.wiring import redis_endpoint
from rectbot.stack import allowlist, container_secrets, push_users
from rectbot.stack.layout import read_text

SECRETS = ("REDIS_PASSWORD", "PUSHGATEWAY_PASSWORD", "DASHBOARD_ADMIN_PASSWORD")
OPTIONAL_SECRETS = ("DASHBOARD_VIEWER_PASSWORD", "CONSOLE_SECRET")
WEAK = frozenset(
    ("password", "passwort", "changeme", "secret", "admin", "rectbot", "redis", "prom", "grafana", "12345678")
)
SHORTEST_PASSWORD = 16
LEAST_BCRYPT_COST = 10
_HASH = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
LARGEST_PREFIX = 8  # a network larger than /8 is no list of hosts


def file_modes(subject: Subject) -> Verdict:
    """Secrets can be read by their owner only."""
    layout = subject.layout
    private: dict[Path, int] = {layout.env_file: 0o077}
    if subject.engine is not Engine.SITE:
        private |= {layout.htpasswd: 0o077, layout.private_key: 0o077, layout.container_secrets: 0o077}
        for path in (layout.var / "redis" / "redis.conf", layout.var / "alertmanager" / "alertmanager.yml"):
            private[path] = 0o077
    there = [path for path in private if path.exists()]
    wrong = [path for path in there if stat.S_IMODE(path.stat().st_mode) & private[path]]
    if not layout.env_file.exists():
        return fail(f"{layout.env_file} is missing", "run 'rectbot init'")
    if wrong:
        names = " ".join(str(path) for path in wrong)
        return fail(f"others on this machine can read {names}", f"chmod go= {names}")
    return ok(f"{len(there)} files and folders with secrets are for their owner only")


def containers_can_read(subject: Subject) -> Verdict:
    """What docker compose mounts can be read in the containers, which run as users of their own."""
    shut = sorted(container_secrets.closed(subject.layout))
    if shut:
        names = " ".join(shlex.quote(str(path)) for path in shut)
        return fail(f"containers cannot read {names}", f"'rectbot init' mends it, or: chmod a+rX {names}")
    return ok("containers can read what they mount")


def _needed_at_site(subject: Subject) -> Iterator[str]:
    """The passwords that a site must have: that of Redis where the lease is there, and its URL holds no other."""
    try:
        redis = redis_endpoint(subject.settings)
    except ConfigError:  # another check says so
        redis = None
    if redis is not None and (redis.password == subject.settings.redis_login[1] or not redis.password):
        yield "REDIS_PASSWORD"
    yield "PUSHGATEWAY_PASSWORD"


def passwords(subject: Subject) -> Verdict:
    """No password is missing, short, common, or used twice. They are never shown."""
    values = dotenv_values(subject.layout.env_file)
    needed = tuple(_needed_at_site(subject)) if subject.engine is Engine.SITE else SECRETS
    names = (*needed, *(name for name in OPTIONAL_SECRETS if values.get(name)))
    wrong = []
    for name in names:
        value = values.get(name) or ""
        if not value:
            wrong.append(f"{name} is not set")
        elif value.lower() in WEAK or len(set(value)) < SHORTEST_PASSWORD // 2:
            wrong.append(f"{name} is easily guessed")
        elif len(value) < SHORTEST_PASSWORD:
            wrong.append(f"{name} is shorter than {SHORTEST_PASSWORD} characters")
    given = [values[name] for name in names if values.get(name)]
    if len(set(given)) < len(given):
        wrong.append("two of them are the same")
    if wrong:
        path = subject.layout.env_file
        made_elsewhere = subject.engine is Engine.SITE
        mend = (
            f"invite this site again, and join, or correct {path}"
            if made_elsewhere
            else f"empty them in {path}, run 'rectbot init'"
        )
        return fail("; ".join(wrong), f"{mend}, and restart")
    return ok(f"{len(given)} passwords, each long and its own")


def bcrypt_cost(subject: Subject) -> Verdict:
    """Who gets at htpasswd still has to guess for long."""
    path = subject.layout.htpasswd
    lines = [line for line in read_text(path, "run 'rectbot init'").splitlines() if line.strip() and line[0] != "#"]
    mend = f"remove that line from {path}, run 'rectbot init', and restart the push proxy"
    if not lines:
        return fail(f"{path} admits nobody", "run 'rectbot init'")
    for line in lines:
        user, _, digest = line.partition(":")
        match = _HASH.fullmatch(digest.strip())
        if match is None:
            return fail(f"the password of {user!r} in {path.name} is not hashed with bcrypt", mend)
        if int(match[1]) < LEAST_BCRYPT_COST:
            return fail(f"the bcrypt cost of {user!r} is {int(match[1])}, less than {LEAST_BCRYPT_COST}", mend)
    return _in_step(subject, lines)


def _in_step(subject: Subject, lines: list[str]) -> Verdict:
    values, text = dotenv_values(subject.layout.env_file), "\n".join(lines)
    if not push_users.admits(text, push_users.own(values), values.get("PUSHGATEWAY_PASSWORD") or ""):
        return fail("PUSHGATEWAY_PASSWORD is not in htpasswd", "run 'rectbot init', and restart the push proxy")
    sites = push_users.of_sites(values)
    wrong = [site for site, secret in sites.items() if not push_users.admits(text, site, secret)]
    if wrong:
        found = f"the push password of {', '.join(wrong)} is not in htpasswd"
        return fail(found, "run 'rectbot init', and restart the push proxy")
    return ok(f"{len(lines)} user(s), bcrypt with cost {LEAST_BCRYPT_COST} or more")


def who_may_push(subject: Subject) -> Verdict:
    """In production one host may push, and not whoever comes through a bridge of Docker."""
    path = subject.layout.allowlist
    mend = "rectbot init --allow ADDRESS-OF-THE-SITE, and restart the push proxy"
    try:
        networks = allowlist.read(path)
    except ConfigError as error:
        return fail(str(error), mend)
    shown = ", ".join(map(allowlist.shown, networks))
    public = subject.proxy_is_public
    for network in networks:
        if network.prefixlen < LARGEST_PREFIX:
            return fail(f"{network} may push, which is nearly everybody", mend)
        if public and network.version == 4 and network.overlaps(allowlist.BRIDGES):
            return warn(f"the push proxy is public, and Docker's bridges ({network}) may still push", mend)
    if public and set(networks) <= {allowlist.LOOPBACK}:
        return warn("the push proxy is public, and only this machine may push", mend)
    return ok(f"may push: {shown}")
