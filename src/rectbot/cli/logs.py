"""`rectbot logs ...`"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from foundation.command import Duration, say
from logstore.command import serve
from rectbot.cli.common import Group, read_settings


class _LogsGroup(Group):
    """`rectbot logs NAME` is short for `rectbot logs show NAME`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_LogsGroup)
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

    show(read_settings(), name, lines=lines, follow=follow)


@logs.command("query")
@click.argument("query", metavar="LOGQL")
@click.option(
    "--since",
    "--from",
    "begin",
    default="1h",
    show_default=True,
    metavar="TIME",
    help="How far back, as 30s, 1h30m, 2d or 1w; or a date: 2026-11-23T15:00, or ...+09:00.",
)
@click.option("--until", "--to", "end", metavar="TIME", help="The same for the end; without it, until now.")
@click.option(
    "-n", "--limit", default=100, show_default=True, type=click.IntRange(0), help="The newest lines; 0 for all."
)
@click.option("-f", "--follow", is_flag=True, help="Go on as lines come.")
@click.option("-o", "--output", type=click.Choice(["text", "json", "raw"]), default="text", show_default=True)
@click.option("--step", type=Duration(), help="Between two values of a metric query.")
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
        read_settings(),
        Question(**options),
        lambda line: click.echo(line, color=colour),
        lambda line: say(f"rectbot: warning: {line}", err=True),
    )


@logs.command("ship")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--job", default="bot", show_default=True, metavar="NAME", help="The label job.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="A further label.")
@click.option("--state", type=click.Path(path_type=Path, dir_okay=False), help="Default var/logs/ship-JOB.json.")
@click.option("--new", "new_only", is_flag=True, help="Leave out what an unknown file holds at the start.")
@click.option("--once", is_flag=True, help="Stop at the end of the files.")
def logs_ship(files: tuple[Path, ...], labels: tuple[str, ...], **options: Any) -> None:
    """Ship the lines of FILES to LOKI_URL, as they come, for bots in any language; without it, to this machine's Loki.

    Rotation under any name, by renaming, copying or compressing, is followed, and so is truncation. After a restart it
    goes on where it was: the file --state remembers. While Loki is away nothing is read, and nothing is lost while the
    files are there. The labels are job, site (SITE_ID), filename, and level, where a line tells its own.
    """
    from rectbot.logs.ship.files import Options, parse_labels, ship_files

    ship_files(
        read_settings(),
        files,
        Options(labels=parse_labels(labels), **options),
        lambda line: say(f"logs ship: {line}", err=True),
    )


logs.add_command(serve)
