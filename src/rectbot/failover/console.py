"""The failover as text, and what the command line calls for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from foundation.terminal import as_json as to_json
from foundation.terminal import one_line
from rectbot.errors import ConfigError
from rectbot.failover.config import FailoverConfig
from rectbot.failover.events import MEANINGS, Event, SiteState, Snapshot
from rectbot.failover.messages import Command
from rectbot.failover.operator import follow_switch, perform
from rectbot.failover.store import LeaseStore
from rectbot.failover.wiring import failover_config, open_store_from_settings

if TYPE_CHECKING:
    from rectbot.settings import Settings

T = TypeVar("T")
Say = Callable[[str], None]

_FOREVER_S = 10 * 365 * 86_400
_DONE = {
    "hold": "no automatic moves",
    "unhold": "automatic moves again",
    "drain": "{site} does not lead any more",
    "undrain": "{site} may lead again",
}
_WAS_SO = {
    "hold": "no automatic moves",
    "unhold": "there was no hold",
    "drain": "{site} was drained already",
    "undrain": "{site} was not drained",
}
_STATES: dict[SiteState, str] = {
    "leads": "leads",
    "starting": "leads, and does not serve (yet)",
    "out": "sits out after a failure, or is stopping",
    "silent": "silent",
    "absent": "not running, or cut off from the store",
}


def show_status(settings: Settings, say: Say, *, as_json: bool = False) -> None:
    """`rectbot failover status`."""
    snapshot = _with_store(settings, lambda store, _: store.snapshot())
    if as_json:
        say(to_json(snapshot.as_dict(), indent=2))
        return
    for line in describe(snapshot, settings.failover_priority):
        say(one_line(line))


def show_history(settings: Settings, say: Say, count: int, *, as_json: bool = False, explain: bool = False) -> None:
    """`rectbot failover history`; as JSON one event a line, oldest first."""
    events = _with_store(settings, lambda store, _: store.events(count))
    for event in events:
        say(to_json(event._asdict()) if as_json else one_line(describe_event(event)))
    if explain:
        say("")
        for kind in dict.fromkeys(event.kind for event in events):
            say(f"{one_line(kind):<20} {MEANINGS.get(kind, 'an event of another version')}")


def switch(settings: Settings, say: Say, command: Command, patience_s: float | None) -> None:
    """`rectbot failover switch`: returns when the site leads. Raises RectbotError when it does not."""

    async def act(store: LeaseStore, config: FailoverConfig) -> None:
        changed = await perform(store, config, command)
        patience = 2 * config.lock_ttl_ms / 1000 if patience_s is None else patience_s
        began = time.monotonic()
        snapshot = await follow_switch(store, command.site, patience, say)
        assert snapshot.leader is not None
        how = f"after {time.monotonic() - began:.1f} s" if changed else "already"
        say(f"{command.site} leads with epoch {snapshot.leader.epoch}, {how}")
        if command.site != config.priority[0]:
            say("it keeps the lead from preferred sites until it loses it, or until the next switch")

    _with_store(settings, act)


def order(settings: Settings, say: Say, command: Command) -> None:
    """`rectbot failover hold, unhold, drain, undrain`."""

    async def act(store: LeaseStore, config: FailoverConfig) -> Snapshot:
        changed = await perform(store, config, command)
        say((_DONE if changed else _WAS_SO)[command.act].format(site=command.site))
        return await store.snapshot()

    snapshot = _with_store(settings, act)
    if command.act == "hold" and snapshot.hold is not None:
        say(
            f"only {snapshot.hold.site}, which leads now, may lead; a switch is obeyed"
            if snapshot.hold.site
            else "nobody leads now, and nobody will, until 'rectbot failover unhold' or 'switch'"
        )
        if command.for_ms is not None:
            end = time.localtime(time.time() + snapshot.hold.remaining_s)
            say(f"until {time.strftime('%Y-%m-%d %H:%M:%S', end)}, which is in {_duration(snapshot.hold.remaining_s)}")
    if command.act == "drain" and not any(site.eligible for site in snapshot.sites.values()):
        say("no other site stands ready: nobody leads")


def own_site(settings: Settings, site: str | None) -> str:
    """The site that is meant when none is named. Raises ConfigError when that is not known."""
    if site or settings.site_id:
        return site or settings.site_id or ""
    raise ConfigError(f"which site? Name one of {', '.join(settings.failover_priority)}, or set SITE_ID")


def _with_store(settings: Settings, act: Callable[[LeaseStore, FailoverConfig], Awaitable[T]]) -> T:
    async def run() -> T:
        config = failover_config(settings, observer=True)
        store = open_store_from_settings(settings, config)
        try:
            return await act(store, config)
        finally:
            await store.close()

    return asyncio.run(run())


def describe(snapshot: Snapshot, priority: tuple[str, ...]) -> Iterator[str]:
    """The state for people, a line each."""
    leader = snapshot.leader
    if leader is None:
        yield f"leader    nobody (the last epoch was {snapshot.epoch})"
    else:
        left = leader.lease_remaining_ms / 1000
        yield f"leader    {leader.site}, epoch {leader.epoch}, since {leader.since}"
        yield f"lease     {left:.1f} s left unless renewed"
        yield f"process   {leader.owner}"
    if snapshot.suspended_ms:
        yield (
            f"waiting   nobody is granted the lead for {snapshot.suspended_ms / 1000:.1f} s:"
            " the store may have lost its memory, and a lease with it"
        )
    yield from orders(snapshot, priority)
    again = f"; the next one in {_duration(snapshot.next_login_s)}" if snapshot.next_login_s else ""
    yield f"logins    {snapshot.logins_left} left at once{again}"
    yield f"{'site':<12}{'heartbeat':<14}state"
    for name in priority:
        site = snapshot.sites.get(name)
        age = f"{site.heartbeat_age_s:.1f} s ago" if site else "none"
        yield f"{name:<12}{age:<14}{site_state(snapshot, name)}"


def orders(snapshot: Snapshot, priority: tuple[str, ...]) -> Iterator[str]:
    """What operators have ordered and what of it is under way, a line each."""
    if snapshot.hold is not None:
        until = (
            "until unhold" if snapshot.hold.remaining_s > _FOREVER_S else f"for {_duration(snapshot.hold.remaining_s)}"
        )
        who = f"only {snapshot.hold.site}" if snapshot.hold.site else "nobody"
        yield f"hold      {who} may lead, {until} ({snapshot.hold.why})"
    if snapshot.switch_to:
        yield f"switch    to {snapshot.switch_to}, under way"
    if pinned := snapshot.pin_against(priority):
        yield f"pinned    {pinned} keeps the lead from preferred sites: an operator switched to it"


def site_state(snapshot: Snapshot, name: str) -> str:
    """What a site does, and why it does not lead."""
    state, site = snapshot.state_of(name), snapshot.sites.get(name)
    if state == "drained":
        return snapshot.drained[name]
    if site is None or state not in ("standby", "damped"):
        return _STATES[state]
    damped = f", damped for {_duration(site.damped_s)} after {site.losses} losses" if site.damped_s else ""
    waits = f", waits: {site.waits}" if site.waits not in ("", "held") else ""
    return f"stands by{damped}{waits}"


def describe_event(event: Event) -> str:
    """One line of history, in local time."""
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
    why = f"  {event.why}" if event.why else ""
    return f"{moment}  {event.kind:<20} {event.site or '-':<12} epoch {event.epoch:<5}{why}  [{event.owner}]"


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
