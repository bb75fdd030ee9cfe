"""An operator's commands: each one atomic act on the store, and a switch that is followed until it is done."""

from __future__ import annotations

import asyncio
import getpass
import socket
from collections.abc import Callable
from dataclasses import replace

from rectbot.errors import ConfigError, RectbotError
from rectbot.failover.clock import boottime_ms
from rectbot.failover.config import FailoverConfig
from rectbot.failover.events import Snapshot
from rectbot.failover.messages import Command, Declined
from rectbot.failover.store import LeaseStore

_LOOK_EVERY_S = 0.1


def who() -> str:
    """Whom the journal names: the user and the host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in a container
        user = "somebody"
    return f"{user}@{socket.gethostname()}"


async def perform(store: LeaseStore, config: FailoverConfig, command: Command) -> bool:
    """Carries a command out; False if it was so already. `by` is filled in when it is empty.

    Raises ConfigError for an unknown site, RectbotError with the reason when the store declines.
    """
    if command.act in ("switch", "drain", "undrain") and command.site not in config.priority:
        raise ConfigError(f"there is no site {command.site!r}: FAILOVER_PRIORITY={','.join(config.priority)}")
    outcome = await store.command(command if command.by else replace(command, by=who()))
    if isinstance(outcome, Declined):
        raise RectbotError(outcome.why)
    return outcome.changed


async def follow_switch(
    store: LeaseStore, site: str, patience_s: float, say: Callable[[str], None] = lambda _: None
) -> Snapshot:
    """Waits until the site leads; `say` is told of what happens meanwhile. Raises RectbotError when it does not."""
    give_up_at = boottime_ms() + patience_s * 1000
    before = ""
    while True:
        snapshot = await store.snapshot()
        leader = snapshot.leader.site if snapshot.leader else ""
        if leader == site:
            return snapshot
        if not snapshot.switch_to and leader:
            raise RectbotError(f"the switch was not done in time, and is called off: {leader} leads")
        if boottime_ms() >= give_up_at:
            raise RectbotError(
                f"{site} does not lead after {patience_s:.0f} s ({leader or 'nobody'} does), but it still may:"
                " see 'rectbot failover status' and 'history'"
            )
        now = f"{leader} leads and hands over" if leader else f"nobody leads, {site} takes over"
        if now != before:
            say(now)
        before = now
        await asyncio.sleep(_LOOK_EVERY_S)
