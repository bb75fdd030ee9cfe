"""How the stack's state looks in a terminal."""

from __future__ import annotations

import asyncio
import time
from dataclasses import fields, replace

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from foundation.terminal import as_json as to_json
from foundation.terminal import cleaned, one_line
from rectbot.errors import RectbotError
from rectbot.failover.events import Event
from rectbot.hosts import is_loopback
from rectbot.settings import Settings
from rectbot.stack.layout import Layout
from rectbot.stack.status import Observer, Status, look_once
from rectbot.stack.supervise import Supervisor

REFRESH_SECONDS = 1.0
_HEALTH = {True: Text("ok", "green"), False: Text("DOWN", "bold red"), None: Text("unknown", "yellow")}


def show(settings: Settings, *, as_json: bool) -> int:
    """Prints one look, as plain text where the output is not a terminal, or as JSON.

    On a site's own host, where no stack runs, it asks the store that the site uses. Returns 0 when all is known and
    every component healthy, else 1. Raises RectbotError when no stack runs, after the JSON.
    """
    runs = Supervisor(Layout.of(settings)).running()
    away = not runs and is_away(settings)
    status = asyncio.run(look_once(settings, away=away))
    absent = not runs and not away and not any(part["healthy"] for part in status.components.values())
    if as_json:
        click.echo(to_json(status.as_dict(), indent=2))
    elif not absent:
        Console().print(render(status))
    if absent:
        raise RectbotError("no stack is running here; start it with 'rectbot up'")
    return 0 if status.healthy and not status.unknown else 1


def is_away(settings: Settings) -> bool:
    """Whether this is the host of a site whose stack is elsewhere, as its settings tell."""
    named = settings.lease_url is not None or settings.redis_url is not None
    elsewhere = named or not is_loopback(settings.redis_host)
    return settings.site_id is not None and (elsewhere or settings.pushgateway_url is not None)


def address_table(status: Status) -> Table:
    """Every component, where it answers, and whether it does."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for heading in ("component", "health", "address"):
        table.add_column(heading, no_wrap=True)
    for name, part in status.components.items():
        health = _HEALTH[part["healthy"]]
        table.add_row(Text(name), health, Text(one_line(part["address"])))
    return table


def render(status: Status) -> RenderableType:
    """The whole picture."""
    status = _readable(status)
    gap = Text()
    orders = Text("\n".join(status.orders), "yellow")
    facts: list[RenderableType] = [_leader(status), *([orders] if status.orders else []), gap, _sites(status), gap]
    if not status.components:
        away = Text(
            "the stack's parts, pushes and alerts are on another host: ask there; 'rectbot doctor' checks this one"
        )
        return Group(*facts, _events(status), gap, away)
    facts += [_pushes(status), _alerts(status), gap, _events(status), gap]
    return Group(*facts, address_table(status))


def _readable(status: Status) -> Status:
    """Without what a terminal would obey: names, reasons and owners come from whoever may write into the stores."""
    texts = {each.name: cleaned(getattr(status, each.name)) for each in fields(status) if each.name != "events"}
    return replace(status, **texts, events=[Event(*map(cleaned, event)) for event in status.events])


def _leader(status: Status) -> Text:
    if status.unknown:
        return Text(f"leader  unknown: {status.unknown}", "bold yellow")
    if status.leader is None:
        return Text("leader  nobody", "bold red")
    leader = status.leader
    line = Text.assemble("leader  ", (leader["site"], "bold green"), f"  epoch {leader['epoch']}")
    return line.append(f"  since {leader['since']}  lease {leader['lease_remaining_ms'] / 1000:.1f} s")


def _sites(status: Status) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for heading in ("site", "priority", "heartbeat", "eligible"):
        table.add_column(heading, no_wrap=True)
    table.add_column("state")
    for name, site in status.sites.items():
        age = site["heartbeat_age_s"]
        heartbeat = Text("none", "red") if age is None else Text(f"{age:.1f} s ago")
        eligible = Text("yes") if site["eligible"] else Text("no", "yellow")
        if status.unknown:
            heartbeat = eligible = Text("unknown", "yellow")
        table.add_row(Text(name), str(site["priority"]), heartbeat, eligible, Text(site["state"]))
    return table


def _pushes(status: Status) -> Text:
    if status.push is None:
        return Text("push    unknown: the Pushgateway does not answer", "yellow")
    ages = ", ".join(f"{job} {entry['age_s']:.0f} s ago" for job, entry in status.push.items())
    return Text(f"push    {ages or 'none yet: on that host run scripts/prometheus-push.sh, it says what is wrong'}")


def _alerts(status: Status) -> Text:
    line = Text("alerts  ")
    if status.alerts is None:
        return line.append("unknown: Prometheus does not answer", "yellow")
    if not status.alerts:
        return line.append("none", "green")
    for alert in status.alerts:
        firing = alert["state"] == "firing"
        line.append(f"{alert['name']} {alert['state']} ({alert['severity']})  ", "bold red" if firing else "yellow")
    return line


def _events(status: Status) -> Text:
    lines = Text("last events", "bold")
    for event in status.events:
        moment = time.strftime("%H:%M:%S", time.localtime(event.time))
        why = f": {event.why}" if event.why else ""
        lines.append(f"\n  {moment}  {event.kind:<12} {event.site}  epoch {event.epoch}{why}", "not bold")
    return lines


async def live(settings: Settings, stop: asyncio.Event) -> None:
    """Shows the stack until `stop`: redrawn each second on a terminal, else a line whenever something changes."""
    console = Console()
    async with Observer(settings) as observer:
        if not console.is_terminal:
            await _lines(console, observer, stop)
            return
        with Live(console=console, auto_refresh=False, screen=False) as display:
            while not stop.is_set():
                display.update(
                    Group(render(await observer.look()), Text("\nCtrl-C stops everything", "dim")), refresh=True
                )
                await _pause(stop)


async def _lines(console: Console, observer: Observer, stop: asyncio.Event) -> None:
    before = ""
    while not stop.is_set():
        status = _readable(await observer.look())
        line = _in_one_line(status)
        if line != before:
            console.print(Text(f"{time.strftime('%H:%M:%S')} {line}"), soft_wrap=True)
            before = line
        await _pause(stop)


def _in_one_line(status: Status) -> str:
    leader = "unknown" if status.unknown else "nobody"
    if status.leader:
        leader = f"{status.leader['site']} (epoch {status.leader['epoch']})"
    parts = status.components.items()
    lists = {
        "down": [name for name, part in parts if part["healthy"] is False],
        "unknown": [name for name, part in parts if part["healthy"] is None],
        "firing": [alert["name"] for alert in status.alerts or () if alert["state"] == "firing"],
    }
    if not lists["unknown"]:
        del lists["unknown"]
    if status.alerts is None:
        lists["firing"] = ["unknown"]
    return "; ".join([f"leader {leader}", *(f"{name}: {', '.join(found) or 'none'}" for name, found in lists.items())])


async def _pause(stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(REFRESH_SECONDS):
            await stop.wait()
    except TimeoutError:
        pass
