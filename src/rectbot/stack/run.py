"""`rectbot up` and `rectbot down`: starts everything in order with a health check each, and stops it in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from rich.console import Console
from rich.table import Table

from rectbot.errors import RectbotError
from rectbot.failover.wiring import open_observer
from rectbot.settings import Settings
from rectbot.stack import configuration, control_socket, preflight, processes, supervise
from rectbot.stack.components import (
    Component,
    alert_webhook,
    choose_sites,
    local_sites,
    uses_local_discord,
)
from rectbot.stack.layout import Layout
from rectbot.stack.status import Observer, Status, lease_of_stack
from rectbot.stack.supervise import Supervisor, site_program
from rectbot.stack.view import address_table, live

START_SECONDS = 90.0  # in which of all that loads at once nothing else becomes healthy: on a small host that is a lot
LEADER_SECONDS = 40.0
STOP_SECONDS = 8.0  # what is left after this is killed, so that Ctrl-C is done within 10 s
_POLL_SECONDS = 0.2
_NEEDED_BY_SITES = ("redis", "pushgateway", "nginx", "discord", "link")

Say = Callable[[str], None]


def up(settings: Settings, *, detach: bool, say: Say, sites: Sequence[str] = ()) -> int:
    """Starts the stack; shows it until Ctrl-C and then stops it, or leaves it running when detached.

    `sites` are those that it runs; without them, all. Returns the exit code. Raises RectbotError when something keeps
    it from starting; then nothing is left running.
    """
    layout = Layout.of(settings)
    layout.claim()
    say = _to_whoever_listens(say)
    if Supervisor(layout).running():
        raise RectbotError("the stack is running already: see 'rectbot status', stop it with 'rectbot down'")
    choose_sites(settings, layout, sites)
    if leftovers := processes.of_stack(layout):
        say(f"up: ending {len(leftovers)} processes that an earlier stack left behind")
        processes.end(leftovers, grace=STOP_SECONDS)
    preflight.check(settings, layout)
    configuration.write(settings, layout)
    supervise.write_configuration(settings, layout)
    _on_signals(signal.default_int_handler)
    try:
        asyncio.run(_start(settings, layout, say))
        if detach:
            say("up: running in the background; 'rectbot status' looks, 'rectbot down' stops")
            return 0
        asyncio.run(_show(settings))
    except KeyboardInterrupt:
        say("")
    except BaseException:
        down(layout, settings, say=lambda _: None)
        raise
    _on_signals(signal.SIG_IGN)  # an impatient second Ctrl-C must not leave half of it running
    down(layout, settings, say=say)
    return 0


def _to_whoever_listens(say: Say) -> Say:
    """Says on as long as somebody reads: `rectbot up --detach | head` is to leave a whole stack running."""
    gone = False

    def said(line: str) -> None:
        nonlocal gone
        if not gone:
            try:
                say(line)
                sys.stdout.flush()
            except BrokenPipeError:
                gone = True
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what Python flushes at its end

    return said


async def _start(settings: Settings, layout: Layout, say: Say) -> None:
    supervisor = Supervisor(layout)
    supervisor.launch()
    if alert_webhook(settings) is None:
        say("up: WARNING: DISCORD_ALERT_WEBHOOK_URL is not set: alerts are shown here, and sent nowhere")
    async with Observer(settings) as observer:
        alone = local_sites(settings, layout) == settings.failover_priority
        nobody_else = alone and uses_local_discord(settings)
        needed, *others = _groups(observer.parts)
        await _bring_up(observer, supervisor, needed, say)
        if nobody_else:
            await _initialise(settings)
        for group in others:
            await _bring_up(observer, supervisor, group, say)
        status = await _wait_for_leader(observer)
    say("")
    say(_drawn(address_table(status)))
    say("")
    leader = status.leader
    if leader:
        say(f"up: {leader['site']} leads (epoch {leader['epoch']})")
    else:
        say("up: no site leads yet: a store that was just started grants no lease for LOCK_TTL_MS")
    if uses_local_discord(settings):
        say("up: DISCORD_BOT_TOKEN is not set, so the bot talks to the local Discord; set it in .env for the real one")

    elif alone and len(settings.failover_priority) > 1:
        say("up: all sites run here, for trying; on one of two hosts start only its own: 'rectbot up --site oci'")


def _drawn(table: Table) -> str:
    console = Console(highlight=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip("\n")


async def _initialise(settings: Settings) -> None:
    """Tells a new store that no lease is in force, so that the first leader need not wait a whole TTL.

    With the local Discord every bot is on this machine, and we have just seen that none is left. With a real token one
    may run on another host, under a lease that a new or restored Redis does not know: there the wait keeps it safe.
    """
    store = open_observer(lease_of_stack(settings))
    try:
        await store.initialise()
    finally:
        await store.close()


def _groups(parts: Sequence[Component]) -> Iterator[list[Component]]:
    """What is started at once, and awaited before the next begins: most of what each takes is its own loading.

    First what a bot or its first push would fail without; then the preferred site, so that it leads from the
    beginning; then the other sites, and what only looks on.
    """
    sites = list(dict.fromkeys(part.site for part in parts if part.site is not None))
    first = [part for part in parts if part.name.partition("-")[0] in _NEEDED_BY_SITES]
    preferred = [part for part in parts if part.site in sites[:1]]
    yield first
    yield preferred
    yield [part for part in parts if part not in first and part not in preferred]


def _program(part: Component) -> str:
    """What the supervisor calls that which runs it."""
    return part.program.name if part.site is None else site_program(part.site)


async def _bring_up(observer: Observer, supervisor: Supervisor, parts: Sequence[Component], say: Say) -> None:
    """Starts these, and says each that has become healthy. Raises RectbotError when for a while no other one does."""
    for name in dict.fromkeys(map(_program, parts)):
        supervisor.start(name)
    began = heard = time.monotonic()
    waiting = list(parts)
    while waiting:
        status = await observer.look()
        for part in [part for part in waiting if status.components[part.name]["healthy"]]:
            heard = time.monotonic()
            say(f"up: {part.name:<14} ok    {part.address}  ({heard - began:.1f} s)")
            waiting.remove(part)
        if waiting and time.monotonic() - heard > START_SECONDS:
            raise _unhealthy(observer.layout, waiting[0])
        await asyncio.sleep(_POLL_SECONDS if waiting else 0)


def _unhealthy(layout: Layout, part: Component) -> RectbotError:
    log = layout.log(part.program.name)
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return RectbotError(
        f"{part.name} is not healthy after {START_SECONDS:.0f} s; its last words: {_last(lines)}; see {log}"
    )


def _last(lines: list[str]) -> str:
    return lines[-1][-300:] if lines else "(none)"


async def _wait_for_leader(observer: Observer) -> Status:
    """The preferred site leads, or some time has passed; the bots' health was seen before."""
    deadline = time.monotonic() + LEADER_SECONDS
    while True:
        status = await observer.look()
        if (status.leader and status.healthy) or time.monotonic() > deadline:
            return status
        await asyncio.sleep(_POLL_SECONDS)


async def _show(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    supervisor = Supervisor(Layout.of(settings))
    watch = asyncio.create_task(_watch(supervisor, stop))
    await live(settings, stop)
    watch.cancel()


async def _watch(supervisor: Supervisor, stop: asyncio.Event) -> None:
    """Ends the view when somebody ran 'rectbot down' elsewhere."""
    while await asyncio.to_thread(supervisor.running):  # noqa: ASYNC110 - it is in another process
        await asyncio.sleep(1)
    stop.set()


def down(layout: Layout, settings: Settings | None, *, say: Say) -> None:
    """Stops the stack in order: sites first, Redis last. Nothing of it is running afterwards.

    Settings that cannot be read keep nothing running: without them it merely does not know which site leads.
    """
    supervisor = Supervisor(layout)
    left = processes.of_stack(layout)
    if not left:
        say("down: nothing was running")
        return
    began = time.monotonic()
    processes.send(left, signal.SIGCONT)  # what is frozen could not stop
    with contextlib.suppress(RectbotError, OSError):  # what the supervisor does not do is done below
        if supervisor.running():
            _stop_in_order(supervisor, settings, began)
    processes.end(processes.of_stack(layout), grace=max(0.5, STOP_SECONDS - (time.monotonic() - began)))
    control_socket.remove(layout.var)
    say(f"down: stopped ({time.monotonic() - began:.1f} s)")


def _stop_in_order(supervisor: Supervisor, settings: Settings | None, began: float) -> None:
    """The standbys first: of two that are stopped at once one would log in when the other releases the lead."""
    sites = [name for name in supervisor.states() if name.startswith(site_program(""))]
    last = [name for name in sites if name == site_program(_leader(settings))]
    for names, until in ([n for n in sites if n not in last], STOP_SECONDS / 4), (last, STOP_SECONDS / 2):
        for name in names:
            supervisor.stop(name, wait=False)
        while time.monotonic() - began < until and any(supervisor.states().get(name) == "STOPPING" for name in names):
            time.sleep(_POLL_SECONDS)
    supervisor.shutdown()
    while time.monotonic() - began < STOP_SECONDS and supervisor.running():
        time.sleep(_POLL_SECONDS)


def _leader(settings: Settings | None) -> str:
    """The site that leads, if Redis says so soon."""
    if settings is None:
        return ""
    with contextlib.suppress(RectbotError, TimeoutError):
        return asyncio.run(_ask_who_leads(lease_of_stack(settings)))
    return ""


async def _ask_who_leads(settings: Settings) -> str:
    store = open_observer(settings)
    try:
        async with asyncio.timeout(1):
            leader = (await store.snapshot()).leader
        return leader.site if leader else ""
    finally:
        await store.close()


def _on_signals(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)
