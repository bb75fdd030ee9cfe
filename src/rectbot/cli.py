"""The command line: wiring only. Each command reads the settings and makes one call.

Imports stand inside the commands, so that a command starts without what only the others need.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rectbot import __version__
from rectbot.errors import RectbotError

if TYPE_CHECKING:
    from rectbot.settings import Settings

_SECONDS = click.FloatRange(min=0.01)


class _Group(click.Group):
    """A group that turns our errors into one line and an exit code, and lists commands in the order of this file."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RectbotError as error:
            click.echo(f"rectbot: {error}", err=True)
            ctx.exit(error.exit_code)
        except BrokenPipeError:
            sys.stderr.close()  # the reader of our output went away; Python would complain about that at exit
            ctx.exit(0)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def _settings() -> Settings:
    from rectbot.settings import load_settings

    return load_settings()


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
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
@click.option("--rotate", type=click.Choice(["push", "redis", "tls"]), help="Replace one secret.")
def init(hosts: tuple[str, ...], allow: tuple[str, ...], rotate: str | None) -> None:
    """Make .env with fresh secrets, the certificate and the push password's hash.

    Run again, it changes nothing and says so. All secrets are 0600 and git-ignored. After --rotate restart the stack
    ('rectbot down', 'rectbot up'), and carry the new secret to the other host.
    """
    from rectbot.stack.init import init as make
    from rectbot.stack.layout import Layout

    for line in make(Layout.of(_settings()), hosts, rotate, allow):
        click.echo(f"init: {line}")


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

    run(_settings(), name, command, dry_run=dry_run, cron=cron, say=click.echo)


@main.command()
@click.option("--detach", "-d", is_flag=True, help="Leave it running in the background.")
def up(detach: bool) -> None:
    """Start the stack on this machine: servers, local Discord, both sites; then show it live.

    Ctrl-C stops everything in order. With --detach it goes on in the background until 'rectbot down'.
    """
    from rectbot.stack.run import up as run

    sys.exit(run(_settings(), detach=detach, say=click.echo))


@main.command()
def down() -> None:
    """Stop the stack that runs in the background."""
    from rectbot.stack.run import down as run

    run(_settings(), say=click.echo)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(as_json: bool) -> None:
    """Who leads, sites and heartbeats, pushes, alerts, components. Exit code 1 when a component is not healthy."""
    from rectbot.stack.view import show

    sys.exit(show(_settings(), as_json=as_json))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(as_json: bool) -> None:
    """Check the running system against its promises: PASS, WARN or FAIL, and how to mend it.

    It looks at what runs here: the stack of 'rectbot up' or of docker compose, or a site's bot and push agent. It
    sends no message and changes nothing. Exit code 1 when a promise is broken, so that cron can mail it.
    """
    from rectbot.doctor.examine import examine

    sys.exit(examine(_settings(), as_json=as_json))


class _LogsGroup(_Group):
    """`rectbot logs NAME` is short for `rectbot logs show NAME`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["show", *args]
        return super().parse_args(ctx, args)


@main.group(cls=_LogsGroup)
def logs() -> None:
    """Show a component's output (rectbot logs NAME), ask Loki or the log store, ship log files."""


@logs.command("show")
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on as lines come.")
@click.option(
    "-n", "--lines", default=50, show_default=True, type=click.IntRange(0), help="How many lines to begin with."
)
def logs_show(name: str, follow: bool, lines: int) -> None:
    """Show the output of a component (see 'rectbot status' for the names); 'show' may be left out."""
    from rectbot.stack.logfiles import show

    show(_settings(), name, lines=lines, follow=follow)


@logs.command("query")
@click.argument("query", metavar="LOGQL")
@click.option("--since", default="1h", show_default=True, metavar="TIME", help="How far back: 30s, 15m, 1h30m, 2d, 1w.")
@click.option("--from", "begin", metavar="DATE", help="Since a date instead: 2026-11-23T15:00, or ...+09:00.")
@click.option("--to", "end", metavar="DATE", help="Until a date; without it, until now.")
@click.option(
    "-n", "--limit", default=100, show_default=True, type=click.IntRange(0), help="The newest lines; 0 for all."
)
@click.option("-f", "--follow", is_flag=True, help="Go on as lines come.")
@click.option("-o", "--output", type=click.Choice(["text", "json", "raw"]), default="text", show_default=True)
@click.option("--step", metavar="TIME", help="Between two values of a metric query.")
@click.option("--url", metavar="URL", help="The server; without it LOKI_URL, else the one on this machine.")
@click.option("--color/--no-color", "colour", default=None, help="Default: on a terminal, if NO_COLOR is unset.")
def logs_query(colour: bool | None, **options: Any) -> None:
    """Ask Loki, or the log store: rectbot logs query '{job="bot"} |= "error"' --since 2h"""
    import os

    from rectbot.logs.client.show import Question, show

    if options["output"] == "raw":
        colour = True  # as it was logged: nothing is stripped
    elif colour is None and os.environ.get("NO_COLOR"):
        colour = False
    show(
        _settings(),
        Question(**options),
        lambda line: click.echo(line, color=colour),
        lambda line: click.echo(f"rectbot: warning: {line}", err=True),
    )


@logs.command("ship")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--job", default="bot", show_default=True, metavar="NAME", help="The label job.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="A further label.")
@click.option("--state", type=click.Path(path_type=Path, dir_okay=False), help="Default var/logs/ship-JOB.json.")
@click.option("--new", "new_only", is_flag=True, help="Leave out what an unknown file holds at the start.")
@click.option("--once", is_flag=True, help="Stop at the end of the files.")
def logs_ship(files: tuple[Path, ...], labels: tuple[str, ...], **options: Any) -> None:
    """Ship the lines of FILES to LOKI_URL, as they come, for bots in any language.

    Rotation (renamed or copied files) and truncation are followed. After a restart it goes on where it was: the file
    --state remembers. While Loki is away nothing is read, and nothing is lost while the files are there. The labels
    are job, site (SITE_ID), filename, and level, where a line tells its own.
    """
    from rectbot.logs.ship.files import Options, parse_labels, ship_files

    ship_files(
        _settings(),
        files,
        Options(labels=parse_labels(labels), **options),
        lambda line: click.echo(f"logs ship: {line}", err=True),
    )


@logs.command("serve")
@click.option("--data", required=True, type=click.Path(path_type=Path, file_okay=False), help="The store's folder.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=3100, show_default=True)
@click.option("--retention", default="0", show_default=True, metavar="TIME", help="Such as 14d; 0 keeps all.")
@click.option("--retention-mb", default=4096, show_default=True, type=click.IntRange(1), help="Compressed size.")
def logs_serve(data: Path, host: str, port: int, retention: str, retention_mb: int) -> None:
    """Serve the embedded log store: Loki's API for pushes and queries."""
    from rectbot.logs.server import serve
    from rectbot.logs.store.limits import Limits, seconds

    serve(data, host, port, Limits(retention_seconds=seconds(retention), retention_bytes=retention_mb << 20))


@main.group(cls=_Group)
def site() -> None:
    """Play faults on the running stack, and see that the bot survives them."""


def _fault_command(fault: str, explanation: str) -> None:
    @site.command(fault, help=f"{explanation[0].upper()}{explanation[1:]}.")
    @click.argument("name", metavar="SITE")
    def play(name: str) -> None:
        from rectbot.stack import sites
        from rectbot.stack.layout import Layout

        settings = _settings()
        click.echo(sites.play(settings, Layout.of(settings), fault, name))


for _fault, _explanation in {
    "kill": "the host dies: kill -9 to everything at the site",
    "pause": "the host freezes: SIGSTOP to everything but the guardians, which end a bot that would outlive its lease",
    "resume": "the frozen host goes on",
    "cut": "the site is cut off from Redis: connections hang",
    "heal": "the cut is mended, and what hung arrives late",
    "stop": "a clean shutdown of the site",
    "start": "the site comes (back) up",
}.items():
    _fault_command(_fault, _explanation)


@site.command(hidden=True)
@click.argument("listen")
@click.argument("target")
def link(listen: str, target: str) -> None:
    """Relay TCP from LISTEN to TARGET: a site's way to Redis on one machine."""
    import asyncio

    from rectbot.stack.link import relay

    asyncio.run(relay(listen, target))


@main.command()
@click.option("--app", metavar="MODULE:FACTORY", help="Run your own discord.py client: FACTORY() returns it.")
def bot(app: str | None) -> None:
    """Run the Discord bot of this site; with FAILOVER_ENABLED=true only while it holds the lease."""
    from rectbot.bot.main import run_bot

    settings = _settings()
    sys.exit(run_bot(settings.model_copy(update={"bot_app": app}) if app else settings))


@main.group(cls=_Group)
def failover() -> None:
    """One leader over all sites: run any program under the lease."""


@failover.command("run", context_settings={"allow_interspersed_args": False})
@click.option("--ready-file", metavar="PATH", default="", help="The program makes this file when it serves.")
@click.option("--ready-timeout", type=_SECONDS, default=60, show_default=True, help="How long that may take.")
@click.option("--health-cmd", metavar="SHELL", default="", help="This succeeds while the program serves.")
@click.option("--health-interval", type=_SECONDS, default=10, show_default=True, help="Between two such checks.")
@click.option("--restarts", type=click.IntRange(0), default=3, show_default=True, help="In a row, before it gives up.")
@click.option("--backoff", type=_SECONDS, default=1, show_default=True, help="Before the first of them; it doubles.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def failover_run(command: tuple[str, ...], **options: Any) -> None:
    """Run COMMAND while this site holds the lease: rectbot failover run -- node bot.js

    It is started when the lease is won and gets SIGTERM, then SIGKILL, in time for the lease's end, with all that it
    has started. SIGTERM stops the site; other signals and the exit code pass through. When it ends by itself it is
    started again, and the lead is given up when that happens too often. With exit code 78 it says that trying again
    cannot help. It finds RECTBOT_SITE and RECTBOT_EPOCH in its environment. Without FAILOVER_ENABLED=true it simply
    runs.
    """
    from rectbot.failover.agent import become_agent
    from rectbot.failover.child import ChildOptions

    become_agent(_settings(), command, ChildOptions(**options))


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

    show_status(_settings(), click.echo, as_json=as_json)


@failover.command("history")
@click.option("-n", "--count", default=30, show_default=True, type=click.IntRange(1, 10_000), help="How many events.")
@click.option("--explain", is_flag=True, help="Say what each kind of event means.")
@_as_json
def failover_history(count: int, explain: bool, as_json: bool) -> None:
    """The last events, newest last: who led when, why it changed, who ordered what."""
    from rectbot.failover.console import show_history

    show_history(_settings(), click.echo, count, as_json=as_json, explain=explain)


@failover.command("switch")
@click.argument("site")
@click.option("--wait", type=_SECONDS, help="How long to wait for it; without it, twice LOCK_TTL_MS.")
@_why
def failover_switch(site: str, wait: float | None, why: str) -> None:
    """Hand the lead over to SITE, and wait until it leads. It keeps the lead until it loses it, or the next switch."""
    from rectbot.failover.console import switch

    switch(_settings(), click.echo, _order("switch", site, why), wait)


@failover.command("hold")
@click.option("--for", "duration", metavar="TIME", help="For example 30m or 2h; without it, until 'unhold'.")
@_why
def failover_hold(duration: str | None, why: str) -> None:
    """No automatic moves: only the site that leads now may lead, even after a crash. A switch is obeyed."""
    from rectbot.failover.console import order, parse_duration

    order(_settings(), click.echo, _order("hold", "", why, parse_duration(duration) if duration else None))


@failover.command("unhold")
@_why
def failover_unhold(why: str) -> None:
    """Allow automatic moves again."""
    from rectbot.failover.console import order

    order(_settings(), click.echo, _order("unhold", "", why))


def _drain_command(act: str, explanation: str) -> None:
    @failover.command(act, help=explanation)
    @click.argument("site", required=False)
    @_why
    def drain(site: str | None, why: str) -> None:
        from rectbot.failover.console import order, own_site

        settings = _settings()
        order(settings, click.echo, _order(act, own_site(settings, site), why))


_drain_command("drain", "SITE (without it: this site) gives up the lead and does not lead until 'undrain'.")
_drain_command("undrain", "SITE (without it: this site) may lead again.")


class _Push(click.Command):
    """Ends its help with the exit codes of a failed push."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from rectbot.push.errors import EXIT_CODES

        with formatter.section("Exit codes"):
            formatter.write_dl(
                [("0, 2", "pushed; a wrong setting"), *((str(int(c)), t) for c, t in EXIT_CODES.items())]
            )


@main.command(cls=_Push)
@click.option("--every", type=click.FloatRange(min=1), metavar="SECONDS", help="Go on pushing; without it, push once.")
@click.option("--job", metavar="NAME", help="Push under this job instead of the URL's.")
def push(every: float | None, job: str | None) -> None:
    """Measure this host and its bot, and push to the Pushgateway through the push proxy."""
    from rectbot import push as pusher

    settings = _settings()
    if every is None:
        pusher.push_once(settings, job)
    else:
        sys.exit(pusher.push_every(settings, every, job))


@main.command()
@click.argument("text")
def alert(text: str) -> None:
    """Send TEXT ('-': standard input) to the webhook DISCORD_ALERT_WEBHOOK_URL."""
    from rectbot.alerts.webhook import send_alert

    send_alert(sys.stdin.buffer.read().decode(errors="replace") if text == "-" else text, _settings())


@main.group(cls=_Group)
def hub() -> None:
    """What the outside asks about the failover."""


@hub.command("serve")
def hub_serve() -> None:
    """Serve the failover's state as Prometheus metrics on port 9464."""
    import asyncio

    from rectbot.hub.server import serve

    asyncio.run(serve(_settings()))


@main.group(cls=_Group)
def discord() -> None:
    """The local Discord: for trying and testing without the real one."""


@discord.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), help="Default 9800, shifted by RECTBOT_PORT_OFFSET.")
@click.option("--token", default="local-discord", show_default=True, help="The bot token that it accepts.")
@click.option(
    "--journal", type=click.Path(path_type=Path, dir_okay=False), help="Also append the journal to this file."
)
def discord_serve(host: str, port: int | None, token: str, journal: Path | None) -> None:
    """Speak Discord's API v10 to bots on this machine, and keep a journal of every session at GET /journal."""
    from rectbot.testing.discord import serve

    serve(host, port or _settings().port("discord"), token, journal)
