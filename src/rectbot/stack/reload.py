"""Lets what runs here take over what was changed: natively through the supervisor, else through docker compose."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence

from rectbot.errors import RectbotError
from rectbot.settings import Settings
from rectbot.stack import configuration
from rectbot.stack.docker import docker
from rectbot.stack.layout import Layout
from rectbot.stack.supervise import Supervisor

_SECONDS = 20.0
_DOCKER_SECONDS = 120


def runs_natively(layout: Layout) -> bool:
    """Whether the stack of `rectbot up` runs here."""
    return Supervisor(layout).running()


def restart(settings: Settings, layout: Layout, parts: Sequence[str]) -> Iterator[str]:
    """Restarts these parts where they run, with configuration as the settings say; yields what was done.

    A part that this engine does not have is passed over. Raises RectbotError when one does not come back.
    """
    parts = list(dict.fromkeys(parts))
    supervisor = Supervisor(layout)
    if supervisor.running():
        configuration.write(settings, layout)
        for part in parts:
            if part in supervisor.states():
                supervisor.stop(part)
                _start(supervisor, part)
                yield f"restarted {part}"
        return
    compose = layout.compose_file
    running = _services(str(compose)) if compose.is_file() else []
    if wanted := [part for part in parts if part in running]:
        docker("compose", "-f", str(compose), "restart", *wanted, seconds=_DOCKER_SECONDS)
        yield f"restarted {', '.join(wanted)}"
    elif not running:
        yield f"no stack runs here: it counts from the next start of {', '.join(parts)}"


def _start(supervisor: Supervisor, part: str) -> None:
    supervisor.start(part)
    deadline = time.monotonic() + _SECONDS
    while (state := supervisor.states().get(part)) != "RUNNING":
        if time.monotonic() > deadline:
            raise RectbotError(f"{part} does not come back (it is {state}): 'rectbot logs {part}' says why")
        time.sleep(0.1)


def _services(compose: str) -> list[str]:
    """The project's running services; none where there is no Docker, or nobody may ask it."""
    if shutil.which("docker") is None:
        return []
    try:
        listed = docker("compose", "-f", compose, "ps", "--services", "--status", "running", seconds=_DOCKER_SECONDS)
        return listed.split()
    except RectbotError:
        return []
