"""`rectbot bi ...`"""

from __future__ import annotations

import click

from foundation.command import Duration, say
from rectbot.cli.common import Group, read_settings


@click.group(cls=Group)
def bi() -> None:
    """Metabase on the history, the optional part of docker compose (docs/bi.md)."""


@bi.command("setup")
@click.option("--wait", type=Duration(least=0), default="15m", show_default=True, help="How long Metabase may take.")
def bi_setup(wait: float) -> None:
    """Set Metabase up: its administrator, the history as a database that it may only read, a dashboard.

    With docker compose: docker compose -f docker-compose.monitoring.yml run --rm bi-setup. Run again, it brings
    everything up to date and makes nothing twice; what you have renamed, moved or put into the trash stays so.
    """
    from rectbot.bi.setup import set_up

    for line in set_up(read_settings(), wait):
        say(f"bi: {line}")
