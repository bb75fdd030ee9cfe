"""The faults that `rectbot site` plays on the running stack."""

from __future__ import annotations

import signal

from rectbot.errors import ConfigError, RectbotError
from rectbot.settings import Settings
from rectbot.stack import processes
from rectbot.stack.components import keeps_the_lease, local_sites
from rectbot.stack.layout import Layout
from rectbot.stack.supervise import Supervisor, site_program


def play(settings: Settings, layout: Layout, fault: str, site: str) -> str:
    """Plays a fault on a site and says what was done.

    Raises ConfigError for an unknown site, RectbotError when no stack runs or the site is not in a state for it.
    """
    if site not in settings.failover_priority:
        known = ", ".join(settings.failover_priority)
        raise ConfigError(f"unknown site {site!r}; the sites are {known} (FAILOVER_PRIORITY)")
    if site not in local_sites(settings, layout):
        raise ConfigError(f"site {site} does not run on this machine: 'rectbot up --site' chose others")
    supervisor = Supervisor(layout)
    if not supervisor.running():
        raise RectbotError("no stack is running here; start it with 'rectbot up'")
    if fault in ("cut", "heal"):
        if not keeps_the_lease(settings):
            raise ConfigError(
                "the lease is not in this stack's Redis, so no link of its own can be cut: cut the way there"
            )
        return _link(supervisor, site, cut=fault == "cut")
    if fault == "start":
        return _start(supervisor, site)
    pid = supervisor.pid(site_program(site))
    if pid is None:
        raise RectbotError(f"site {site} is not running; start it with 'rectbot site start {site}'")
    return {"kill": _kill, "pause": _pause, "resume": _resume, "stop": _stop}[fault](supervisor, site, pid)


def _link(supervisor: Supervisor, site: str, *, cut: bool) -> str:
    pid = supervisor.pid(f"link-{site}")
    if pid is None:
        raise RectbotError(f"the link of site {site} is not running; see 'rectbot logs link-{site}'")
    processes.send(
        processes.children(supervisor.layout, pid, recursive=True), signal.SIGSTOP if cut else signal.SIGCONT
    )
    return f"site {site} is {'cut off from' if cut else 'connected to'} Redis"


def _start(supervisor: Supervisor, site: str) -> str:
    if supervisor.pid(site_program(site)) is not None:
        return f"site {site} is running already"
    supervisor.start(site_program(site))
    return f"site {site} is starting"


def _kill(supervisor: Supervisor, site: str, pid: int) -> str:
    # The site's supervisor is first in the list: it must be dead before it can restart anything.
    count = processes.send(processes.children(supervisor.layout, pid, recursive=True), signal.SIGKILL)
    return f"site {site} is dead ({count} processes killed)"


def _pause(supervisor: Supervisor, site: str, pid: int) -> str:
    all_of_it = processes.children(supervisor.layout, pid, recursive=True)
    frozen = [each for each in all_of_it if not processes.is_watchdog(each)]
    count = processes.send(frozen, signal.SIGSTOP)
    return f"site {site} is frozen ({count} processes)"


def _resume(supervisor: Supervisor, site: str, pid: int) -> str:
    count = processes.send(processes.children(supervisor.layout, pid, recursive=True), signal.SIGCONT)
    return f"site {site} goes on ({count} processes)"


def _stop(supervisor: Supervisor, site: str, pid: int) -> str:
    processes.send(processes.children(supervisor.layout, pid, recursive=True), signal.SIGCONT)
    supervisor.stop(site_program(site))
    return f"site {site} is stopped"
