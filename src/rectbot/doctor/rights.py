"""Redis: nobody may more there than the lease needs, so that who steals a site's password has the site, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rectbot.doctor.subject import Engine, Subject
from rectbot.doctor.verdict import Verdict, fail, ok, warn
from rectbot.errors import RectbotError
from rectbot.failover.endpoint import Endpoint

_ELSEWHERE = "rectbot-doctor:nobody-s-key"
_TOO_MUCH = (("ACL", "WHOAMI"), ("EXISTS", _ELSEWHERE))  # harmless, and refused to whoever has the least rights


def least_rights(subject: Subject) -> Verdict:
    """Each login that this host knows is refused what it does not need, and `default` is off."""
    wide = [name for name, endpoint in _logins(subject) if _may_too_much(subject, endpoint)]
    if wide:
        found = f"at Redis {', '.join(wide)} may change users, settings and others' keys"
        if subject.engine is Engine.SITE:
            return warn(found, "give this site a user of its own: REDIS_USER and REDIS_PASSWORD (docs/redis.md)")
        return fail(found, "run 'rectbot init', and restart Redis")
    if subject.engine is not Engine.SITE and subject.settings.redis_default_password is not None:
        return warn(
            "the user default is still on, for a host that has the Redis password of an older version",
            "give that host REDIS_USER and REDIS_PASSWORD of its own, empty REDIS_DEFAULT_PASSWORD in .env, "
            "run 'rectbot init', and restart Redis",
        )
    return ok("each login is refused what the lease does not need")


def _logins(subject: Subject) -> Iterator[tuple[str, Endpoint]]:
    yield subject.redis.username or "default", subject.redis
    if subject.engine is not Engine.SITE:
        priority = subject.settings.failover_priority
        for user, password in subject.settings.redis_logins.items():
            if user in priority:
                yield user, replace(subject.redis, username=user, password=password)


def _may_too_much(subject: Subject, endpoint: Endpoint) -> bool:
    """Raises RectbotError when Redis does not answer, ConfigError when it refuses the login itself."""
    for words in _TOO_MUCH:
        try:
            subject.ask_redis(*words, endpoint=endpoint)
        except RectbotError as error:
            if "NOPERM" not in str(error):
                raise
        else:
            return True
    return False
