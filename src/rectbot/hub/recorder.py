"""Sees to it that the history is recorded, without being able to be hurt by it.

The hub looks whether there is something new, and then starts a program that records it and ends. So a database that
hangs, is full or is not there costs neither the exporter nor, in between, any memory.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable
from contextlib import suppress

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from foundation.terminal import one_line
from rectbot.failover.events import MEANINGS, Snapshot
from rectbot.history import places
from rectbot.history.spool import Spool, SpoolFull
from rectbot.hub.answers import Answer
from rectbot.settings import Settings
from rectbot.threads import in_thread

log = logging.getLogger(__name__)
COMMAND = (sys.executable, "-m", "rectbot", "hub", "record")
LOOK_SECONDS = 5.0
_MOST_SECONDS = 120.0
_REST, _LONGEST_REST = 5, 30.0  # a pass that took a second is followed by so many without one; and at most
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 60.0


class Recorder:
    """Looks on until it is cancelled; `snapshot` gives the failover's state, None while the store does not answer."""

    def __init__(self, settings: Settings, snapshot: Callable[[], Awaitable[Snapshot | None]]) -> None:
        self._snapshot = snapshot
        self._spool = Spool(places.alerts(settings))
        self._look_seconds = max(LOOK_SECONDS, settings.lease_poll_sec)
        self._counts: tuple[int, ...] | None = None
        self._said = ""
        self._succeeded: float | None = None
        self._fine: bool | None = None

    async def run(self) -> None:
        """Never returns."""
        done: object = None
        pause = _FIRST_PAUSE
        while True:
            wanted = await self._look()
            if wanted == done or wanted is None:
                await asyncio.sleep(self._look_seconds)
                continue
            began = time.monotonic()
            said = await self._pass()
            took = time.monotonic() - began
            self._tell(said)
            if said is None:
                done, pause = wanted, _FIRST_PAUSE
                await asyncio.sleep(max(self._look_seconds, min(_REST * took, _LONGEST_REST)))
            else:
                await asyncio.sleep(max(pause, took))
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _look(self) -> object:
        """What is other when there is something new to record; None while nothing is known."""
        snapshot = await self._snapshot()
        if snapshot is not None:
            self._counts = tuple(count for name, count in sorted(snapshot.counts.items()) if _is_event(name))
        try:
            waiting = self._spool.waiting()
        except OSError:
            waiting = 0
        if self._counts is None and not waiting:
            return None
        return self._counts, waiting, time.strftime("%Y-%m", time.gmtime())

    async def _pass(self) -> str | None:
        """Runs the recorder once. Returns why it failed, or None."""
        process = await asyncio.create_subprocess_exec(*COMMAND, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE)
        try:
            async with asyncio.timeout(_MOST_SECONDS):
                _, errors = await process.communicate()
        except TimeoutError:
            return f"it did not end within {_MOST_SECONDS:.0f} s"
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode == 0:
            return None
        if process.returncode == -signal.SIGKILL:
            return "the recorder was killed: where memory is short, the kernel does that (37 MB must be free)"
        lines = errors.decode(errors="replace").strip().splitlines()
        return one_line(lines[-1].removeprefix("rectbot: ")) if lines else f"exit code {process.returncode}"

    def _tell(self, said: str | None) -> None:
        """Once for each thing that goes wrong, and once when it is over."""
        self._fine = said is None
        if said is None:
            self._succeeded = time.time()
            if self._said:
                log.warning("the history is recorded again, with all that the store's journal still has")
        elif said != self._said:
            log.error("the history cannot be recorded, and is caught up with later: %s", said)
        self._said = said or ""

    def exposition(self) -> bytes:
        """For Prometheus; nothing before the first pass."""
        registry = CollectorRegistry(auto_describe=False)
        if self._fine is not None:
            Gauge("rectbot_history_up", "1 while the history is recorded.", registry=registry).set(self._fine)
        if self._succeeded is not None:
            name, text = (
                "rectbot_history_last_success_timestamp_seconds",
                "When the history was last brought up to date.",
            )
            Gauge(name, text, registry=registry).set(self._succeeded)
        return generate_latest(registry)

    async def take_alerts(self, body: bytes) -> Answer:
        """Alertmanager's webhook: thanks for what is on disk; for what is not it is asked to come again."""
        try:
            told = json.loads(body)
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict) or not isinstance(told.get("alerts"), list):
            return Answer(b"this is not what Alertmanager's webhook sends\n", 400)
        try:
            await in_thread(lambda: self._spool.put({"alerts": told["alerts"]}))
        except SpoolFull:
            return Answer(b"the history has not been recorded for too long: see the hub's log\n", 503)
        except OSError as error:
            log.warning("what Alertmanager tells cannot be kept: %s", error.strerror or error)
            return Answer(b"it cannot be written: see the hub's log\n", 503)
        return Answer(b"ok\n")


def _is_event(name: str) -> bool:
    return name.partition(":")[0] in MEANINGS
