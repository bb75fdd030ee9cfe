"""Who may do what at the stack's Redis: a user for each site and one for the hub; the user `default` is off.

The file that this makes is read by both engines. It holds SHA-256 digests and no password: these are made by `init`,
192 bits of chance, which no guess finds.

Source: https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from rectbot.errors import ConfigError
from rectbot.lists import join_logins, parse_logins
from rectbot.settings import Settings
from rectbot.stack.env_file import Values, new_password, sites_of

HUB = "hub"  # also what operators do at the stack's host
OLD = "default"  # whom older versions used for everybody
NAMES = (
    *("REDIS_USER", "REDIS_PASSWORD", "REDIS_PASSWORDS", "REDIS_DEFAULT_PASSWORD", "REDIS_HOST", "REDIS_URL"),
    *("FAILOVER_PRIORITY", "LEADER_LOCK_KEY", "HB_PREFIX"),
)
_LOCK, _BEATS = "rectbot:leader", "rectbot:hb:"

# What the failover's store asks for, itself and in its scripts; docs/redis.md has the same list, and a test watches it.
COMMANDS = (
    *("eval", "evalsha", "script|load", "hello", "info", "ping", "select", "time", "publish", "subscribe"),
    *("get", "set", "del", "exists", "type", "rename", "hget", "hgetall"),
    *("xadd", "xlen", "xrange", "xrevrange"),
)
# Nobody can log in as a user who is off; but as `default` Redis runs the transactions of its own append-only file when
# it starts (7.0 asks for the rights at EXEC), and would forget without a word what it had promised to keep.
_OFF = "off allkeys allchannels allcommands"
# Only `doctor` needs it, which asks whether Redis keeps what it has answered.
HUB_COMMANDS = ("config|get",)


def render(values: Values) -> str:
    """The lines for Redis' configuration. Raises ConfigError for a user who cannot be one."""
    own = values.get("REDIS_USER") or HUB
    known, rights = _parse(values), _rights(values)
    users = {own: _rule(values.get("REDIS_PASSWORD") or "", rights, (*COMMANDS, *HUB_COMMANDS))}
    for site in _sites(values, own):
        if site in known:
            users[site] = _rule(known[site], rights, COMMANDS)
    if OLD in users:
        raise ConfigError(f"{OLD!r} cannot be a site's name or REDIS_USER: it is Redis' user without a name")
    retired = values.get("REDIS_DEFAULT_PASSWORD")
    users[OLD] = _rule(retired, rights, COMMANDS) if retired else _OFF
    return "".join(f"user {name} {rule}\n" for name, rule in users.items())


def _rule(password: str, rights: str, commands: Iterable[str]) -> str:
    if not password:
        return "off"
    digest = hashlib.sha256(password.encode()).hexdigest()
    return f"on #{digest} resetkeys resetchannels {rights} -@all {' '.join(f'+{name}' for name in commands)}"


def _rights(values: Values) -> str:
    """Keys and channels: those of this lock, and of what derives from it."""
    lock, beats = values.get("LEADER_LOCK_KEY") or _LOCK, values.get("HB_PREFIX") or _BEATS
    own = f"{lock.removesuffix(':leader')}:"
    keys = [f"{_literal(own)}*"]
    keys += [_literal(lock)] if not lock.startswith(own) else []
    keys += [f"{_literal(beats)}*"] if not beats.startswith(own) else []
    return " ".join([*(_word(f"~{key}") for key in keys), _word(f"&{keys[0]}")])


def _literal(text: str) -> str:
    """A key as a pattern that matches itself only; but a blank, which Redis takes in no pattern, is any character."""
    return "".join("?" if char.isspace() else f"\\{char}" if char in "*?[]^\\" else char for char in text)


def _word(text: str) -> str:
    """A word of Redis' configuration, in quotes where it needs them."""
    if text.isascii() and text.isprintable() and not set(text) & set(" \"'\\"):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def missing(values: Values, *, rotate: bool) -> dict[str, str]:
    """What an env file is to be given: the logins that it lacks, or with `rotate` all of them anew.

    An env file of an older version has one password, which is everybody's, with all rights. The sites that still have
    it are not locked out: it becomes that of `default`, with a site's rights, until the operator takes it away. An env
    file that names a Redis elsewhere keeps the login that it has there.
    """
    made: dict[str, str] = {}
    elsewhere = bool(values.get("REDIS_URL")) or (values.get("REDIS_HOST") or "localhost") not in _LOOPBACK
    if elsewhere and rotate:
        raise ConfigError("--rotate redis: .env names a Redis elsewhere (REDIS_URL, REDIS_HOST): renew its login there")
    user, password = values.get("REDIS_USER"), values.get("REDIS_PASSWORD")
    if not user and not (elsewhere and password):
        made["REDIS_USER"] = user = HUB
        if password:
            made["REDIS_DEFAULT_PASSWORD"] = password
            password = None
    if not password or rotate:
        made["REDIS_PASSWORD"] = new_password()
    if rotate and values.get("REDIS_DEFAULT_PASSWORD"):
        made["REDIS_DEFAULT_PASSWORD"] = ""
    known = {} if rotate else _parse(values)
    lacking = [site for site in _sites(values, user or HUB) if site not in known]
    if lacking:
        known |= {site: new_password() for site in lacking}
        made["REDIS_PASSWORDS"] = join_logins(known)
    return made


def renewed(values: Values, site: str) -> dict[str, str]:
    """What an env file is to be given, so that this site has a new password."""
    return {"REDIS_PASSWORDS": join_logins(_parse(values) | {site: new_password()})}


_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def _parse(values: Values) -> dict[str, str]:
    try:
        return parse_logins(values.get("REDIS_PASSWORDS") or "")
    except ValueError as error:
        raise ConfigError(f"REDIS_PASSWORDS is wrong: {error}; or empty it, and run 'rectbot init'") from None


def _sites(values: Values, own: str) -> list[str]:
    """The sites that need a login beside our own."""
    return [name for name in dict.fromkeys(sites_of(values)) if name != own]


def user_of(settings: Settings, site: str) -> str:
    """The user as whom a site's program of the stack logs in: the one of that name, else the host's own."""
    return site if site in settings.redis_logins else settings.redis_user or HUB
