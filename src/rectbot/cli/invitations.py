"""The commands that take a site's host in, and shut it out."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foundation.command import Duration, say
from rectbot.cli.common import read_settings, require
from rectbot.errors import ConfigError, RectbotError

if TYPE_CHECKING:
    from rectbot.stack.invitation import Header


@click.command()
@click.argument("site")
@click.option("--plain", is_flag=True, help="Not encrypted: for a pipe through ssh, and for nothing else.")
@click.option("--file", "path", type=click.Path(path_type=Path, dir_okay=False), help="Write it to this file (0600).")
@click.option("--qr", is_flag=True, help="Also draw it as a QR code (on standard error).")
@click.option("--host", metavar="NAME", help="Where the site reaches this host; default: the certificate's first name.")
@click.option("--redis", metavar="HOST[:PORT]", help="Where it reaches Redis over TLS, if that is elsewhere.")
@click.option("--allow", multiple=True, metavar="ADDRESS", help="Also let this address of the site's host push.")
@click.option(
    "--valid", type=Duration(least=60), default="24h", show_default=True, metavar="TIME", help="How long it is good."
)
def invite(
    *,
    site: str,
    plain: bool,
    path: Path | None,
    qr: bool,
    host: str | None,
    redis: str | None,
    allow: tuple[str, ...],
    valid: float,
) -> None:
    """On the monitoring host: print one line that holds all that the host of SITE needs to take part.

    It goes to 'rectbot join' there, once. It is encrypted with a passphrase, which is shown apart (on standard error):
    send them by two ways. Through ssh nothing need be typed: ssh oci rectbot invite xserver --plain | rectbot join -
    """
    from rectbot.stack import invitation
    from rectbot.stack.invite import invite as make
    from rectbot.stack.invite import write_line

    if qr:
        require("segno")
    passphrase = None if plain else invitation.new_passphrase()
    made = make(read_settings(), site, passphrase=passphrase, host=host, redis=redis, allow=allow, seconds=valid)
    for line in made.done:
        say(f"invite: {line}", err=True)
    for line in made.warnings:
        say(f"invite: WARNING: {line}", err=True)
    if plain and path is None and sys.stdout.isatty():
        say("invite: WARNING: whoever sees the next line has the site's passwords: --plain is for a pipe", err=True)
    if path is None:
        click.echo(made.line)
    else:
        write_line(path, made.line)
    if qr:
        _draw(made.line)
    until = made.header.until
    say(f"invite: {made.header.id} for {site}, good for one use until {invitation.shown_time(until)}", err=True)
    if passphrase is not None:
        click.echo(f"invite: passphrase: {passphrase}", err=True)


def _draw(line: str) -> None:
    """Beside the line, which is good without it."""
    from rectbot.stack.qr import drawn

    columns = os.get_terminal_size(sys.stderr.fileno()).columns if sys.stderr.isatty() else None
    try:
        click.echo(drawn(line, columns), err=True)
    except RectbotError as error:
        say(f"invite: WARNING: {error}", err=True)


@click.command()
@click.argument("invitation", metavar="INVITATION")
@click.option("--install/--no-install", default=None, help="Also keep bot and pushes running, or do not ask.")
def join(invitation: str, install: bool | None) -> None:
    """Make this host the site of an INVITATION: the line, a file with it, or '-' for standard input.

    Everything is checked first, with a line each: version, clock, store, push, log, token, webhook. When all is well,
    .env (0600) and the certificate are written, and the invitation is used up; else nothing is changed. The passphrase
    is asked for, or taken from RECTBOT_PASSPHRASE.
    """
    from rectbot.join.run import find_line
    from rectbot.join.run import join as run
    from rectbot.settings import find_home

    settings = run(find_home(), find_line(_given(invitation)), _ask_passphrase, say)
    command = f"rectbot install --site {settings.site_id}"
    if install is None and sys.stdin.isatty():
        install = click.confirm("Keep bot and pushes running from now on (rectbot install)?", default=True)
    if not install:
        say(f"join: next: {command}, then rectbot doctor")
        return
    from rectbot.install import install as keep_running

    keep_running(settings, str(settings.site_id), (), dry_run=False, cron=False, say=say)


def _given(invitation: str) -> str:
    if invitation == "-":
        return sys.stdin.buffer.read(100_000).decode(errors="replace")
    path = Path(invitation)
    try:
        there = path.is_file()
    except OSError:  # a name that is too long is none
        there = False
    if not there:
        return invitation
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None


def _ask_passphrase(header: Header) -> str | None:
    """Of the terminal, also when the invitation came through a pipe; None where there is none."""
    if given := os.environ.get("RECTBOT_PASSPHRASE"):
        return given
    import getpass
    import warnings

    try:
        with Path("/dev/tty").open(encoding="utf-8"):
            pass
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", getpass.GetPassWarning)
            return getpass.getpass(f"Passphrase of the invitation {header.id} for {header.site}: ")
    except (OSError, EOFError):
        return None


@click.command()
@click.argument("site")
def revoke(site: str) -> None:
    """On the monitoring host: shut out the host of SITE, and no other, by giving the site new passwords.

    Servers that run here are restarted, so that the old passwords end at once. An invitation of SITE that nobody has
    used yet is void as well.
    """
    from rectbot.stack.revoke import revoke as shut_out

    for line in shut_out(read_settings(), site):
        say(f"revoke: {line}")
