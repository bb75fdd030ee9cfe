"""`rectbot backup` and `rectbot restore`"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from foundation.command import say
from rectbot.cli.common import read_settings
from rectbot.errors import ConfigError

_PASSPHRASE = "BACKUP_PASSPHRASE"  # noqa: S105 - a name


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.argument("file", type=click.Path(path_type=Path, dir_okay=False)),
        click.option("--without-secrets", is_flag=True, help="Leave .env, certificate and passwords out."),
        click.option(
            "--passphrase-file",
            type=click.Path(path_type=Path, dir_okay=False),
            help=f"Its first line is the passphrase; else {_PASSPHRASE} in the environment, else it is asked for.",
        ),
        click.option(
            "--data",
            multiple=True,
            metavar="NAME=FOLDER",
            help="Where a server's data is, if not under var/: loki, prometheus, alertmanager, pushgateway, grafana.",
        ),
    ):
        command = option(command)
    return command


@click.command()
@_options
def backup(file: Path, **options: Any) -> None:
    """Write everything that matters into FILE, also while the stack runs.

    The history, logs, metrics, silences, dashboards and alert rules; .env, certificate and passwords encrypted with a
    passphrase. Not the lease: a lease of yesterday is not to be restored.
    """
    from rectbot.backup.make import make

    passphrase, elsewhere = _given(options, twice=True)
    for line in make(read_settings(), file, passphrase, elsewhere):
        say(f"backup: {line}")


@click.command()
@_options
def restore(file: Path, **options: Any) -> None:
    """Put back what 'backup' has written into FILE, into an empty place. Start the stack afterwards."""
    from rectbot.backup.restore import restore as put_back
    from rectbot.settings import find_home, shift_of
    from rectbot.stack.layout import Layout

    passphrase, elsewhere = _given(options, twice=False)
    for line in put_back(Layout.at(find_home(), shift_of(find_home())), file, passphrase, elsewhere):
        say(f"restore: {line}")


def _given(options: dict[str, Any], *, twice: bool) -> tuple[str | None, dict[str, Path]]:
    """The passphrase, None for none; and the folders that are elsewhere. Raises ConfigError."""
    elsewhere = {}
    for each in options["data"]:
        name, equals, folder = each.partition("=")
        if not equals or not folder:
            raise ConfigError(f"--data {each}: write NAME=FOLDER")
        elsewhere[name] = Path(folder)
    if options["without_secrets"]:
        return None, elsewhere
    return _passphrase(options["passphrase_file"], twice=twice), elsewhere


def _passphrase(file: Path | None, *, twice: bool) -> str:
    if file is not None:
        try:
            found = next(iter(file.read_text(encoding="utf-8").splitlines()), "")
        except (OSError, UnicodeDecodeError):
            raise ConfigError(f"{file}: cannot be read as a passphrase") from None
        if not found:
            raise ConfigError(f"{file}: its first line is empty")
        return found
    if given := os.environ.get(_PASSPHRASE):
        return given
    if not sys.stdin.isatty():
        raise ConfigError(f"a passphrase is needed: --passphrase-file, {_PASSPHRASE}; or use --without-secrets")
    prompted: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=twice)
    return prompted
