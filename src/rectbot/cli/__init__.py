"""The command line: wiring only. Each command reads the settings and makes one call.

Imports stand inside the commands, so that a command starts without what only the others need.
"""

from __future__ import annotations

import sys

import click

import localdiscord.command as localdiscord
from foundation.command import Duration, say
from rectbot import __version__
from rectbot.cli.backup import backup, restore
from rectbot.cli.bi import bi
from rectbot.cli.common import Group, read_settings, require
from rectbot.cli.failover import failover
from rectbot.cli.history import history, report
from rectbot.cli.invitations import invite, join, revoke
from rectbot.cli.logs import logs
from rectbot.errors import ConfigError


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
def main() -> None:
    """Keeps one chat bot alive across two cheap hosts, never logged in twice, and shows what goes on.

    On one machine: 'rectbot init', then 'rectbot up'. Settings come from the environment and from .env; .env.example
    explains each. Exit codes: 0 done, 1 something failed, 2 a setting, a file or an argument is wrong.
    """


@main.command()
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="Further name or address for the certificate.")
@click.option(
    "--allow", multiple=True, metavar="ADDRESS", help="Who may push: an address or network; replaces the list."
)
@click.option(
    "--rotate", type=click.Choice(["push", "redis", "tls"]), help="Replace a password, or the certificate and its key."
)
@click.option("--ttl", type=Duration(), help="How long the lease lasts, and so a takeover: 10s to 30s (default 90s).")
@click.option("--upgrade", is_flag=True, help="Bring the files here to this version; what you have changed stays.")
def init(hosts: tuple[str, ...], allow: tuple[str, ...], rotate: str | None, ttl: float | None, upgrade: bool) -> None:
    """Make .env with fresh secrets, the certificate and the push password's hash; first the files around them.

    In an empty folder it lays out what docker compose and 'rectbot up' need. Run again, it changes nothing and says so.
    Only this user can read the secrets, and git ignores them. After --rotate restart the stack ('rectbot down',
    'rectbot up'), and carry the new secret to the other host.
    """
    from rectbot.stack.init import init as make
    from rectbot.stack.layout import Layout

    ttl_ms = None if ttl is None else round(ttl * 1000)
    for line in make(Layout.of(read_settings()), hosts, rotate, allow, ttl_ms, upgrade=upgrade):
        say(f"init: {line}")


main.add_command(invite)
main.add_command(join)
main.add_command(revoke)


@main.command(context_settings={"allow_interspersed_args": False})
@click.option("--site", "name", required=True, metavar="NAME", help="Which site this host is, for example xserver.")
@click.option("--dry-run", is_flag=True, help="Only show what would be written.")
@click.option("--cron", is_flag=True, help="Print lines for a crontab, also where there is systemd.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def install(name: str, dry_run: bool, cron: bool, command: tuple[str, ...]) -> None:
    """Keep this host's bot and its pushes running: systemd units, or lines for a crontab where there is no systemd.

    With COMMAND that program runs under the lease instead of our bot: rectbot install --site xserver -- node bot.js.
    As root the units run as the owner of the project folder; else they are your own. Run again to change them.
    """
    from rectbot.install import install as run

    run(read_settings(), name, command, dry_run=dry_run, cron=cron, say=say)


@main.command()
@click.option("--detach", "-d", is_flag=True, help="Leave it running in the background.")
@click.option("--site", "sites", multiple=True, metavar="NAME", help="Run this site only, as on one of two hosts.")
def up(detach: bool, sites: tuple[str, ...]) -> None:
    """Start the stack on this machine: servers, local Discord, both sites; then show it live.

    Ctrl-C stops everything in order. With --detach it goes on in the background until 'rectbot down'. All sites on one
    machine are for trying: where the other site has a host of its own, 'rectbot up --site oci' runs this one's bot and
    the monitoring, and neither the other's bot nor its pushes.
    """
    from rectbot.stack.run import up as run

    sys.exit(run(read_settings(), detach=detach, say=say, sites=sites))


@main.command()
def down() -> None:
    """Stop the stack on this machine, in order; nothing of it is left running."""
    from rectbot.settings import Settings, find_home, shift_of
    from rectbot.stack.layout import Layout
    from rectbot.stack.run import down as run

    settings: Settings | None = None
    try:
        settings = read_settings()
    except ConfigError as error:
        say(f"down: WARNING: {error}", err=True)
    layout = Layout.at(find_home(), shift_of(find_home())) if settings is None else Layout.of(settings)
    run(layout, settings, say=say)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(as_json: bool) -> None:
    """Who leads, sites and heartbeats, pushes, alerts, components. Exit code 1 when a component is not healthy."""
    from rectbot.stack.view import show

    sys.exit(show(read_settings(), as_json=as_json))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(as_json: bool) -> None:
    """Check the running system against its promises: PASS, WARN or FAIL, and how to mend it.

    It looks at what runs here: the stack of 'rectbot up' or of docker compose, or a site's bot and push agent. It
    sends no message and changes nothing. Exit code 1 when a promise is broken, so that cron can mail it.
    """
    from rectbot.doctor.examine import examine

    sys.exit(examine(read_settings(), as_json=as_json))


main.add_command(logs)


@main.group(cls=Group)
def site() -> None:
    """Play faults on the running stack, and see that the bot survives them."""


def _fault_command(fault: str, explanation: str) -> None:
    @site.command(fault, help=f"{explanation[0].upper()}{explanation[1:]}.")
    @click.argument("name", metavar="SITE")
    def play(name: str) -> None:
        from rectbot.stack import sites
        from rectbot.stack.layout import Layout

        settings = read_settings()
        say(sites.play(settings, Layout.of(settings), fault, name))


for _fault, _explanation in {
    "kill": "the host dies: kill -9 to everything at the site",
    "pause": "the host freezes: SIGSTOP to everything but the watchdogs, which end a bot that would outlive its lease",
    "resume": "the frozen host goes on",
    "cut": "the site is cut off from Redis: connections hang",
    "heal": "the cut is mended, and what hung arrives late",
    "stop": "a clean shutdown of the site",
    "start": "the site comes (back) up",
}.items():
    _fault_command(_fault, _explanation)


@main.command()
@click.option("--app", metavar="MODULE:FACTORY", help="Run your own discord.py client: FACTORY() returns it.")
def bot(app: str | None) -> None:
    """Run the Discord bot of this site; with FAILOVER_ENABLED=true only while it holds the lease.

    Where a site or a store is named, FAILOVER_ENABLED must be true or false: nothing is guessed.
    """
    from rectbot.bot.main import run_bot

    settings = read_settings()
    require("discord")
    sys.exit(run_bot(settings.model_copy(update={"bot_app": app}) if app else settings))


main.add_command(failover)
main.add_command(history)
main.add_command(report)
main.add_command(bi)
main.add_command(backup)
main.add_command(restore)


class _Push(click.Command):
    """Ends its help with the exit codes of a failed push."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from rectbot.push.errors import EXIT_CODES

        with formatter.section("Exit codes"):
            formatter.write_dl(
                [("0, 2", "pushed; a wrong setting"), *((str(int(c)), t) for c, t in EXIT_CODES.items())]
            )


@main.command(cls=_Push)
@click.option(
    "--every",
    type=Duration(least=1),
    metavar="TIME",
    help="Go on pushing, as with 60s; without it, once.",
)
@click.option("--job", metavar="NAME", help="Push under this job instead of the URL's.")
@click.option("--forget", metavar="JOB", help="At the stack's host: let the Pushgateway forget what JOB has pushed.")
def push(every: float | None, job: str | None, forget: str | None) -> None:
    """Measure this host and its bot, and push to the Pushgateway through the push proxy."""
    from rectbot import push as pusher

    settings = read_settings()
    if forget is not None:
        from rectbot.push.forget import forget as let_go

        say(f"push: {let_go(settings, forget)}")
        return
    if every is None:
        pusher.push_once(settings, job)
    else:
        pusher.push_every(settings, every, job)


@main.command()
@click.argument("text", required=False)
@click.option("--test", is_flag=True, help="Send a test to each of them, and say what became of it.")
def alert(text: str | None, test: bool) -> None:
    """Send TEXT ('-': standard input) to DISCORD_ALERT_WEBHOOK_URL and to all of ALERT_URLS.

    Without either, where a stack with the local Discord runs here, to that.
    """
    from rectbot.alerts.by_hand import send, try_each
    from rectbot.stack.supervise import with_local_webhook

    if (text is None) is not test:
        raise click.UsageError("give either a TEXT or --test")
    settings = with_local_webhook(read_settings())
    if text is None:
        sys.exit(try_each(settings, say))
    send(
        sys.stdin.buffer.read().decode(errors="replace") if text == "-" else text,
        settings,
        lambda line: say(f"rectbot: {line}", err=True),
    )


@main.group(cls=Group)
def hub() -> None:
    """What the outside asks about the failover."""


@hub.command("serve")
def hub_serve() -> None:
    """Serve the failover's state as Prometheus metrics on port 9464, and the console on port 3000."""
    import asyncio

    from rectbot.hub.server import serve

    settings = read_settings()
    if settings.console_port != 0:
        require("nicegui")
    asyncio.run(serve(settings))


@hub.command("record", hidden=True)
def hub_record() -> None:
    """Bring the history up to date once, as 'rectbot hub serve' does whenever there is something new."""
    from rectbot.history.bring import bring_in

    bring_in(read_settings())


@hub.command("retell", hidden=True)
def hub_retell() -> None:
    """Write what is recorded to standard output, for the console."""
    from rectbot.history.retell import retold

    click.echo(retold(read_settings()).as_json())


@hub.command("console", hidden=True)
def hub_console() -> None:
    """Serve the console alone, as 'rectbot hub serve' does beside its metrics."""
    import asyncio

    from foundation import logline
    from rectbot.console.serve import serve

    logline.set_up()
    sys.exit(asyncio.run(serve(read_settings())))


@main.group(cls=Group)
def dashboards() -> None:
    """The dashboards as code."""


@dashboards.command("build")
@click.option("--check", is_flag=True, help="Write nothing; fail when a file is not what the code makes.")
def dashboards_build(check: bool) -> None:
    """Write docker/monitoring/grafana/dashboards/*.json from the code and the alert rules' limits."""
    from rectbot.dashboards import build
    from rectbot.stack.layout import Layout

    monitoring = Layout.of(read_settings()).monitoring
    if check:
        build.check(monitoring)
        return
    for path in build.write(monitoring):
        click.echo(f"dashboards: {path.name} written")


def _discord_port() -> int:
    return read_settings().port("discord")


# Where the two commands would take a port of their own, they get the stack's.
_STACKS = {
    "serve": {"port": _discord_port},
    "journal": {"url": lambda: f"http://127.0.0.1:{_discord_port()}"},
}


@main.group(cls=Group, context_settings={"default_map": _STACKS})
def discord() -> None:
    """The local Discord: for trying and testing without the real one. RECTBOT_PORT_OFFSET shifts its port."""


discord.add_command(localdiscord.serve)
discord.add_command(localdiscord.journal)
