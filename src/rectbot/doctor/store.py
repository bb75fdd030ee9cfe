"""Redis: its password, what it keeps through a power cut, and its clock; and who leads."""

from __future__ import annotations

import time
from dataclasses import replace

from rectbot.doctor.subject import Subject
from rectbot.doctor.verdict import Verdict, fail, ok, warn
from rectbot.errors import ConfigError

WARN_CLOCK_SECONDS = 2.0
FAIL_CLOCK_SECONDS = 30.0
_PROMISED = {
    "appendonly": ("yes", "a restart forgets the lease"),
    "appendfsync": ("always", "a power cut forgets renewals, and lets a second leader in"),
    "maxmemory-policy": ("noeviction", "a full memory may drop the lease"),
}
_RESTORE = "restore docker/monitoring/redis/redis.conf from git, and restart Redis"


def asks_for_a_password(subject: Subject) -> Verdict:
    """Without the password nothing is told, and with it all is."""
    stranger = replace(subject.redis, username="", password="")
    try:
        subject.ask_redis("PING", endpoint=stranger)
    except ConfigError:
        pass  # NOAUTH
    else:
        return fail(f"Redis at {subject.redis} asks nobody for a password", "run 'rectbot init', and restart Redis")
    subject.ask_redis("PING")
    return _encrypted(subject)


def _encrypted(subject: Subject) -> Verdict:
    where = subject.redis
    if where.path or where.tls or where.host.startswith("127."):
        return ok("a password is needed")
    if subject.containers:
        return ok("a password is needed; on the bridge only")
    return warn(
        f"a password is needed, but the way to {where} is not encrypted by TLS",
        "set REDIS_TLS=true (profile redis-tls on oci), unless WireGuard or a tunnel carries it",
    )


def keeps_its_data(subject: Subject) -> Verdict:
    """What was answered is on the disk."""
    for name, (promised, otherwise) in _PROMISED.items():
        _, value = subject.ask_redis("CONFIG", "GET", name)
        text = value.decode() if isinstance(value, bytes) else str(value)
        if text != promised:
            return fail(f"{name} is {text}, not {promised}: {otherwise}", _RESTORE)
    information = subject.ask_redis("INFO", "persistence")
    text = information.decode() if isinstance(information, bytes) else str(information)
    if "aof_last_write_status:ok" not in text:
        return fail("Redis could not write its append-only file", "free some disk space, and look into Redis' log")
    return ok("append-only file, synced at each write; nothing is evicted")


def agrees_on_the_time(subject: Subject) -> Verdict:
    """This host's clock and Redis' show the same; leases do not need that, but whoever reads a log does."""
    before = time.time()
    seconds, micros = subject.ask_redis("TIME")
    middle = (before + time.time()) / 2
    apart = abs(int(seconds) + int(micros) / 1e6 - middle)
    mend = "let NTP set both clocks: timedatectl set-ntp true"
    if apart > FAIL_CLOCK_SECONDS:
        return fail(f"the clocks of this host and of Redis are {apart:.0f} s apart", mend)
    if apart > WARN_CLOCK_SECONDS:
        return warn(f"the clocks of this host and of Redis are {apart:.1f} s apart", mend)
    return ok(f"the clocks are {apart * 1000:.0f} ms apart")
