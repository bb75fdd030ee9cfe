"""The commands: `python -m localdiscord`; others may add them to theirs, as `rectbot discord` does.

The server is imported when it is needed: whoever only wants the help need not wait for it.
"""

from __future__ import annotations

from pathlib import Path

import click

PORT = 9800


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="What it listens on.")
@click.option("--port", type=click.IntRange(1, 65535), default=PORT, show_default=True)
@click.option("--token", default="local-discord", show_default=True, help="The bot token that it accepts.")
@click.option(
    "--journal", type=click.Path(path_type=Path, dir_okay=False), help="Also append the journal to this file."
)
def serve(host: str, port: int, token: str, journal: Path | None) -> None:
    """Speak Discord's API v10 to bots on this machine, and keep a journal of every session at GET /journal."""
    from localdiscord import discord

    discord.serve(host, port, token, journal)


@click.command()
@click.option("--event", "events", multiple=True, metavar="NAME", help="Only these, for example session_open.")
@click.option("--url", default=f"http://127.0.0.1:{PORT}", show_default=True, metavar="URL", help="Where it is.")
def journal(events: tuple[str, ...], url: str) -> None:
    """Print what the local Discord saw, a JSON object a line, oldest first: every session, login and call."""
    from foundation.terminal import as_json
    from localdiscord.journal import fetch

    for entry in fetch(url, events):
        click.echo(as_json(entry))


class _Serves(click.Group):
    """Without the name of a command it serves."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["serve", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Serves)
def main() -> None:
    """A Discord for tests on this machine. Without the name of a command it serves."""


main.add_command(serve)
main.add_command(journal)
