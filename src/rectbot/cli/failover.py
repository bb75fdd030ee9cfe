"""`rectbot failover ...`"""

from __future__ import annotations

from typing import Any

import click

from foundation.command import Duration, say
from rectbot.cli.common import Group, read_settings

_SECONDS = Duration()


@click.group(cls=Group)
def failover() -> None:
    """One leader over all sites: run any program under the lease."""


@failover.command("run", context_settings={"allow_interspersed_args": False})
@click.option("--ready-file", metavar="PATH", default="", help="The program makes this file when it serves.")
@click.option("--ready-timeout", type=_SECONDS, default=60, show_default=True, help="How long that may take.")
@click.option("--health-cmd", metavar="SHELL", default="", help="This succeeds while the program serves.")
@click.option("--health-interval", type=_SECONDS, default=10, show_default=True, help="Between two such checks.")
@click.option("--restarts", type=click.IntRange(0), default=3, show_default=True, help="In a row, before it gives up.")
@click.option("--backoff", type=_SECONDS, default=1, show_default=True, help="Before the first of them; it doubles.")
@click.option("--warm", is_flag=True, help="Start it before the lease; it waits for that itself (Python: join()).")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def failover_run(command: tuple[str, ...], **options: Any) -> None:
    """Run COMMAND while this site holds the lease: rectbot failover run -- node bot.js

    It is started when the lease is won and gets SIGTERM, then SIGKILL, in time for the lease's end, with all that it
    has started. SIGTERM stops the site; other signals and the exit code pass through. When it ends by itself it is
    started again, and the lead is given up when that happens too often. With exit code 78 it says that trying again
    cannot help. It finds RECTBOT_SITE and RECTBOT_EPOCH in its environment. With FAILOVER_ENABLED=false it simply
    runs.
    """
    from rectbot.failover.agent import become_agent
    from rectbot.failover.config import ChildOptions

    become_agent(read_settings(), command, ChildOptions(**options))


def _order(act: str, site: str = "", why: str = "", for_ms: int | None = None) -> Any:
    from rectbot.failover.messages import Command

    return Command(act, "", why, site, for_ms)  # type: ignore[arg-type]


_why = click.option("--why", default="", metavar="TEXT", help="The reason, for the history.")
_as_json = click.option("--json", "as_json", is_flag=True, help="For programs.")


@failover.command("status")
@_as_json
def failover_status(as_json: bool) -> None:
    """Who leads, who stands by, who waits and why, and what operators have ordered."""
    from rectbot.failover.console import show_status

    show_status(read_settings(), say, as_json=as_json)


@failover.command("history")
@click.option("-n", "--count", default=30, show_default=True, type=click.IntRange(1, 10_000), help="How many events.")
@click.option("--explain", is_flag=True, help="Say what each kind of event means.")
@_as_json
def failover_history(count: int, explain: bool, as_json: bool) -> None:
    """The last events, newest last: who led when, why it changed, who ordered what."""
    from rectbot.failover.console import show_history

    show_history(read_settings(), say, count, as_json=as_json, explain=explain)


@failover.command("switch")
@click.argument("site")
@click.option("--wait", type=_SECONDS, help="How long to wait for it; without it, twice LOCK_TTL_MS.")
@_why
def failover_switch(site: str, wait: float | None, why: str) -> None:
    """Hand the lead over to SITE, and wait until it leads. It keeps the lead until it loses it, or the next switch."""
    from rectbot.failover.console import switch

    switch(read_settings(), say, _order("switch", site, why), wait)


@failover.command("hold")
@click.option("--for", "duration", type=_SECONDS, help="For example 30m or 2h; without it, until 'unhold'.")
@_why
def failover_hold(duration: float | None, why: str) -> None:
    """No automatic moves: only the site that leads now may lead, even after a crash. A switch is obeyed."""
    from rectbot.failover.console import order

    order(read_settings(), say, _order("hold", "", why, None if duration is None else round(duration * 1000)))


@failover.command("unhold")
@_why
def failover_unhold(why: str) -> None:
    """Allow automatic moves again."""
    from rectbot.failover.console import order

    order(read_settings(), say, _order("unhold", "", why))


def _drain_command(act: str, explanation: str) -> None:
    @failover.command(act, help=explanation)
    @click.argument("site", required=False)
    @_why
    def drain(site: str | None, why: str) -> None:
        from rectbot.failover.console import order, own_site

        settings = read_settings()
        order(settings, say, _order(act, own_site(settings, site), why))


_drain_command("drain", "SITE (without it: this site) gives up the lead and does not lead until 'undrain'.")
_drain_command("undrain", "SITE (without it: this site) may lead again.")
