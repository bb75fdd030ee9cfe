"""What a site's own host must have in order, so that its bot leads when it should, and only then."""

from __future__ import annotations

from rectbot.doctor.subject import Engine, Subject
from rectbot.doctor.verdict import Verdict, fail, ok, warn
from rectbot.errors import ConfigError
from rectbot.failover.wiring import failover_config
from rectbot.settings import wants_failover


def runs_under_the_lease(subject: Subject) -> Verdict:
    """A bot that is started here logs in under the lease, and nobody has merely forgotten to say so."""
    settings = subject.settings
    try:
        if wants_failover(settings):
            failover_config(settings)
            return ok(f"FAILOVER_ENABLED=true: the bot of {settings.site_id} logs in under the lease only")
    except ConfigError as error:
        return fail(str(error), f"correct it in {subject.layout.env_file}, and restart the bot")
    if subject.engine is Engine.SITE or settings.failover_enabled is False:
        return warn(
            "FAILOVER_ENABLED=false: a bot that is started here logs in beside the other site's",
            "write FAILOVER_ENABLED=true, unless you want that",
        )
    return ok("no site and no store is named: a bot that is started here is alone")
