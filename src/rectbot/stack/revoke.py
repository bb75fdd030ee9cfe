"""`rectbot revoke SITE`: shuts one site's host out of the push proxy and of the stack's Redis, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator

from dotenv import dotenv_values

from rectbot.errors import ConfigError
from rectbot.hosts import is_loopback
from rectbot.settings import Settings, load_settings
from rectbot.stack import container_secrets, push_users, redis_users, reload
from rectbot.stack.components import keeps_the_lease, local_sites
from rectbot.stack.env_file import assign
from rectbot.stack.layout import Layout, read_text, write_private
from rectbot.stack.supervise import site_program


def revoke(settings: Settings, site: str) -> Iterator[str]:
    """Gives the site new passwords, which nobody has yet, and lets what runs here take them over.

    Yields a line for each thing done, and for what it cannot do. Raises ConfigError for a site that there is not,
    RectbotError when a file cannot be written, or a part does not come back.
    """
    layout = Layout.of(settings)
    values = dotenv_values(layout.env_file)
    pushes, redis = site in push_users.of_sites(values), site in settings.redis_logins
    if site not in settings.failover_priority and not pushes and not redis:
        known = ", ".join(settings.failover_priority)
        raise ConfigError(f"unknown site {site!r}; the sites are {known} (FAILOVER_PRIORITY)")
    made = (push_users.renewed(values, site) if pushes else {}) | (redis_users.renewed(values, site) if redis else {})
    if made:
        text = read_text(layout.env_file, "run 'rectbot init'")
        write_private(layout.env_file, assign(text, made))
        yield f"{site} has new passwords, in {layout.env_file} ({', '.join(made)}): the old ones end with the restart"
    yield from push_users.write_htpasswd(layout.htpasswd, dotenv_values(layout.env_file), anew=False)
    yield from container_secrets.write(layout)
    parts = [*(["redis"] if redis else []), *(["nginx"] if pushes else [])]
    if site in local_sites(settings, layout):
        parts += [site_program(site), f"bot-{site}"]
    yield from reload.restart(load_settings(rectbot_home=settings.rectbot_home), layout, parts)
    yield from _what_is_left(settings, site, pushes=pushes, redis=redis)


def _what_is_left(settings: Settings, site: str, *, pushes: bool, redis: bool) -> Iterator[str]:
    if not pushes:
        yield (
            f"WARNING: {site} was never invited, so it pushes with this host's own password, if at all: 'rectbot init"
            " --rotate push' shuts it out"
        )
    if settings.redis_default_password is not None and redis:
        yield (
            "WARNING: REDIS_DEFAULT_PASSWORD still lets in who has the Redis password of an older version: empty it in"
            " .env, run 'rectbot init', and restart Redis"
        )
    if not keeps_the_lease(settings) or not is_loopback(settings.redis_host) or not redis:
        yield f"WARNING: the lease is in a store whose login is not ours to give: renew there what {site} has"
    yield (
        f"what else {site} had, if its host was stolen: the bot's token (reset it in Discord's developer portal) and"
        f" the webhook. To let it in again: rectbot invite {site}"
    )
