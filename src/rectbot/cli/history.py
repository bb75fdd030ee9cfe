"""`rectbot history ...` and `rectbot report`"""

from __future__ import annotations

import sys

import click

from foundation.command import Duration, say
from rectbot.cli.common import Group, read_settings


@click.group(cls=Group)
def history() -> None:
    """What was recorded of the failover: for longer than the store's journal and Prometheus remember."""


@history.command("export")
def history_export() -> None:
    """Write all events as JSON lines to standard output, oldest first."""
    from rectbot.history.commands import export

    export(read_settings(), sys.stdout)


@history.command("import")
@click.argument("file", default="-")
def history_import(file: str) -> None:
    """Read events from FILE ('-': standard input), as 'export' writes them; what is known already changes nothing.

    Each line is a JSON object with time (ISO 8601), kind, site, owner, epoch, why and, where it is known, last_renewal.
    A line that is wrong is named, and nothing is read then.
    """
    from rectbot.history.commands import import_

    read, new = import_(read_settings(), file)
    say(f"history: {read} events read, {new} of them new")


@history.command("prune")
@click.option("--keep", required=True, type=Duration(least=86_400), metavar="TIME", help="What is younger: 400d, 52w.")
def history_prune(keep: float) -> None:
    """Forget what is older than --keep. Later reports of what is kept say the same as before."""
    from rectbot.history.commands import prune

    events, alerts = prune(read_settings(), keep)
    say(f"history: {events} events and {alerts} alerts forgotten")


@click.command()
@click.option("--month", metavar="MONTH", help="A whole month: 2026-11.")
@click.option("--since", metavar="DATE", help="From a date or time, UTC unless it says otherwise; or so long ago: 30d.")
@click.option("--until", metavar="DATE", help="Until then; without it, until now.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "html", "json", "csv"]),
    default="text",
    show_default=True,
    help="html is a page with a chart; csv lists the outages.",
)
@click.option("--post", is_flag=True, help="Also send the summary to DISCORD_ALERT_WEBHOOK_URL.")
def report(month: str | None, since: str | None, until: str | None, form: str, post: bool) -> None:
    """How was our month: availability, failovers, the longest gap, and the cause of each outage.

    Without a period: this month so far. The bot is up from its login to the end of its site's lease, of a site that
    went silent to the last renewal. The last lease goes on until the end of the period, also where that is to come.
    """
    from rectbot.history import commands

    settings = read_settings()
    found = commands.make_report(settings, commands.span_of(month, since, until))
    click.echo(commands.rendered(found, form))
    if post:
        commands.post(settings, found)
        say("report: the summary was posted", err=True)
