"""`rectbot init`: the project folder's files, where there is no checkout, and everything that must not be in git."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from dotenv import dotenv_values

from rectbot.errors import ConfigError
from rectbot.settings import DEFAULT_LOCK_TTL_MS
from rectbot.stack import allowlist, certificate, container_secrets, push_users, redis_users, shipped
from rectbot.stack.env_file import assign, new_password
from rectbot.stack.layout import Layout, read_text, write_private

_SHORTEST_TTL_MS = 5_000  # below it a busy small host misses renewals (docs/failover.md)
_LOGIN_SECONDS = 5
_GENERATED = {
    "PUSHGATEWAY_PASSWORD": "push",
    "DASHBOARD_ADMIN_PASSWORD": None,
    "CONSOLE_SECRET": None,
    "HISTORY_DATABASE_PASSWORD": None,
    "HISTORY_READER_PASSWORD": None,
    "METABASE_ADMIN_PASSWORD": None,
}
ROTATABLE = ("push", "redis", "tls")


def init(
    layout: Layout,
    hosts: Sequence[str] = (),
    rotate: str | None = None,
    allow: Sequence[str] = (),
    ttl_ms: int | None = None,
    *,
    upgrade: bool = False,
) -> Iterator[str]:
    """Makes what is missing and yields a line for each thing done; what is there stays as it is.

    `rotate` replaces one secret: `push` (password and htpasswd), `redis` or `tls`. `hosts` are further names for the
    certificate. `allow` replaces the addresses that may push, beside this machine's own; before it is given, Docker's
    bridges may push too. `ttl_ms` is how long the lease shall last. `upgrade` brings the files of another version up to
    this one's.
    Every file is 0600 but the allowlist, which holds no secret, and what only
    containers read, in a folder that is 0700.

    Raises ConfigError for a wrong argument, RectbotError when a file cannot be read or written.
    """
    if rotate is not None and rotate not in ROTATABLE:
        raise ConfigError(f"--rotate {rotate}: choose one of {', '.join(ROTATABLE)}")
    allowed = allowlist.parse(allow)
    certificate.check_hosts(hosts)
    if ttl_ms is not None and not _SHORTEST_TTL_MS <= ttl_ms <= DEFAULT_LOCK_TTL_MS:
        raise ConfigError(f"--ttl: choose {_SHORTEST_TTL_MS // 1000}s to {DEFAULT_LOCK_TTL_MS // 1000}s, as 20s")
    changed, fresh = False, not layout.env_file.exists()
    made = (
        _files(layout, upgrade=upgrade),
        _env(layout, rotate),
        _ttl(layout, ttl_ms),
        _tls(layout, hosts, rotate == "tls"),
        _htpasswd(layout, rotate == "push"),
        _allowlist(layout, allowed),
        container_secrets.write(layout),
        container_secrets.open_shared(layout),
    )
    for line in itertools.chain(*made):
        changed = True
        yield line
    if not changed:
        yield "everything is there already: nothing was changed"
    yield from _advice(layout, fresh=fresh)


def _files(layout: Layout, *, upgrade: bool) -> Iterator[str]:
    """The files that the package brings; a checkout has them, and git keeps them up to date."""
    brought = shipped.shipped()
    if brought is not None:
        yield from shipped.upgrade(layout.home, brought) if upgrade else shipped.lay_out(layout.home, brought)
    elif upgrade:
        raise ConfigError("--upgrade: rectbot runs from a checkout, whose files 'git pull' brings up to date")


def _env(layout: Layout, rotate: str | None) -> Iterator[str]:
    fresh = not layout.env_file.exists()
    source = layout.home / ".env.example" if fresh else layout.env_file
    text = read_text(source, "take it from the version that you have" if fresh else "make it readable for this user")
    values = {} if fresh else dotenv_values(layout.env_file)
    made = redis_users.missing(values, rotate=rotate == "redis")
    for name, rotation in _GENERATED.items():
        if not values.get(name) or (rotation is not None and rotation == rotate):
            made[name] = new_password()
    if push_users.made_by_hand(layout.htpasswd, values):
        made["PUSHGATEWAY_USER"] = push_users.BESIDE
    if rotate == "push" and push_users.of_sites(values):
        made |= push_users.renewed(values, *push_users.of_sites(values))
    if not made:
        return
    write_private(layout.env_file, assign(text, made))
    yield f"{'wrote' if fresh else 'updated'} {layout.env_file} (new: {', '.join(made)})"
    if made.get("REDIS_DEFAULT_PASSWORD"):
        yield (
            "the Redis password of before still lets the other host in, with a site's rights only: give it REDIS_USER"
            " and REDIS_PASSWORD of its own (from REDIS_PASSWORDS), then empty REDIS_DEFAULT_PASSWORD, run init again,"
            " and restart Redis"
        )


def _ttl(layout: Layout, ttl_ms: int | None) -> Iterator[str]:
    if ttl_ms is None or dotenv_values(layout.env_file).get("LOCK_TTL_MS") == str(ttl_ms):
        return
    text = read_text(layout.env_file, "make it readable for this user")
    write_private(layout.env_file, assign(text, {"LOCK_TTL_MS": str(ttl_ms)}))
    yield (
        f"LOCK_TTL_MS={ttl_ms} in {layout.env_file}: a site that dies is replaced {_takeover(ttl_ms)} later. Write the"
        " same into the .env of every site, and restart the bots"
    )


def _advice(layout: Layout, *, fresh: bool) -> Iterator[str]:
    """What the length of the lease means, where nobody has chosen it."""
    values = dotenv_values(layout.env_file)
    if not values.get("LOCK_TTL_MS") and (fresh or values.get("DISCORD_BOT_TOKEN")):
        yield (
            f"LOCK_TTL_MS is not set: at Discord a site that dies is replaced {_takeover(DEFAULT_LOCK_TTL_MS)} later."
            " 10 to 30 s suit two hosts with a good link: rectbot init --ttl 20s"
        )


def _takeover(ttl_ms: int) -> str:
    """From two thirds of the lease, when it was just about to be renewed, to all of it; and the login."""
    return f"{ttl_ms * 2 // 3000} to {ttl_ms // 1000 + _LOGIN_SECONDS} s"


def _tls(layout: Layout, hosts: Sequence[str], rotate: bool) -> Iterator[str]:
    there = _has_certificate(layout, rotate)
    if there and not rotate:
        missing = sorted(set(hosts) - set(certificate.hosts_of(layout.certificate))) if hosts else []
        if not missing:
            return
        if not certificate.is_ours(layout.certificate):
            mend = "put one there that does, or add --rotate tls"
            yield f"{layout.certificate} was made by hand and stays, but does not name {', '.join(missing)}: {mend}"
            return
        rotate = True
        yield f"the certificate does not name {', '.join(missing)} yet: it is made anew"
    kept = _known_hosts(layout) if there else []
    pem, key = certificate.make((*kept, *hosts))
    write_private(layout.private_key, key)
    write_private(layout.certificate, pem)
    names = ", ".join(certificate.hosts_of(layout.certificate))
    yield f"{'replaced' if there else 'wrote'} {layout.certificate} and its key (for {names})"


def _has_certificate(layout: Layout, rotate: bool) -> bool:
    """Whether there is a certificate with its key. Raises ConfigError for one of the two, unless it is replaced."""
    found = sorted((layout.certificate, layout.private_key), key=lambda path: not path.exists())
    whole = found[1].exists()
    if found[0].exists() and not whole and not rotate:
        mend = "put it there, or run 'rectbot init --rotate tls'"
        raise ConfigError(f"{found[0]} is there and {found[1].name} is not: {mend}")
    return whole


def _known_hosts(layout: Layout) -> list[str]:
    """The names of the certificate that is replaced; none when it is broken, for that may be why it is."""
    try:
        return certificate.hosts_of(layout.certificate)
    except ConfigError:
        return []


def _htpasswd(layout: Layout, rotate: bool) -> Iterator[str]:
    yield from push_users.write_htpasswd(layout.htpasswd, dotenv_values(layout.env_file), anew=rotate)


def _allowlist(layout: Layout, allowed: Sequence[allowlist.Network]) -> Iterator[str]:
    path = layout.allowlist
    there = path.exists()
    wanted = allowlist.with_loopback(allowed) if allowed else allowlist.DEFAULT
    if there and (not allowed or set(allowlist.read(path)) == set(wanted)):
        return
    write_private(path, allowlist.render(wanted), mode=0o644)
    yield f"{'replaced' if there else 'wrote'} {path} (may push: {', '.join(map(allowlist.shown, wanted))})"
