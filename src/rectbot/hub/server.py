"""The hub's HTTP server: `/metrics` for Prometheus, `/healthz` for whoever keeps it running; and the console beside it.

The console is a process of its own: whatever browsers do to it, metrics and alerts go on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

from prometheus_client import CONTENT_TYPE_LATEST

from foundation import logline
from foundation.webguard import Guard
from rectbot.alerts.relay import Relay
from rectbot.errors import ConfigError, RectbotError
from rectbot.failover.events import Snapshot
from rectbot.failover.store import LeaseStore, StoreUnavailable
from rectbot.failover.wiring import failover_config, open_observer
from rectbot.hub import host
from rectbot.hub.answers import Answer, Answers, Take
from rectbot.hub.beside import Beside
from rectbot.hub.exporter import exposition
from rectbot.hub.recorder import Recorder
from rectbot.push.trial import trial_of
from rectbot.settings import Settings

log = logging.getLogger(__name__)
_CONSOLE = (sys.executable, "-m", "rectbot", "hub", "console")
_MOST_CONSOLE_BYTES = 256 * 2**20  # twice what it needs with all its pages open


class Hub:
    """Reads the store for each request; it keeps no state that could grow old."""

    def __init__(self, store: LeaseStore, settings: Settings) -> None:
        self._store = store
        self._config = failover_config(settings, observer=True)
        self._push_proxy = host.push_proxy_address(settings)
        self._trial = trial_of(settings)
        self._folder = str(settings.rectbot_home)
        self._relay = Relay(len(settings.alert_services))
        self._reachable: bool | None = None
        self._reading: asyncio.Task[bytes] | None = None
        self.recorder = Recorder(settings, self._snapshot) if settings.history_enabled else None

    def answers(self) -> Answers:
        """What is asked here, by programs only."""
        take = self.recorder.take_alerts if self.recorder is not None else _not_kept
        told: dict[str, Take] = {"/alerts": take, "/notify": self._notify}
        return Answers({"/metrics": self._metrics, "/healthz": self._healthz}, Guard(), told)

    async def _metrics(self) -> Answer:
        """Read once for all who ask at a time."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        return Answer(await asyncio.shield(self._reading), kind=CONTENT_TYPE_LATEST)

    async def _read(self) -> bytes:
        snapshot, around = await asyncio.gather(
            self._snapshot(), host.exposition(self._push_proxy, self._folder, self._trial)
        )
        recorded = self.recorder.exposition() if self.recorder is not None else b""
        return exposition(snapshot, self._config) + around + recorded

    async def _healthz(self) -> Answer:
        return Answer(b"ok\n")

    async def _notify(self, body: bytes) -> Answer:
        """Alertmanager's webhook, on the way to ALERT_URLS."""
        status, text = await self._relay.take(body)
        return Answer(f"{text}\n".encode(), status)

    async def _snapshot(self) -> Snapshot | None:
        """The state now, or None; says it once when the store goes away and once when it is back."""
        try:
            snapshot = await self._store.snapshot()
        except (StoreUnavailable, RectbotError) as error:
            if self._reachable is not False:
                log.warning("the lease's store does not answer: %s", error)
            self._reachable = False
            return None
        if self._reachable is False:
            log.warning("the lease's store answers again")
        self._reachable = True
        return snapshot


async def _not_kept(_: bytes) -> Answer:
    """Without a history; what is no error at Alertmanager."""
    return Answer(b"ok\n")


async def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises ConfigError when the port is taken."""
    logline.set_up()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    store = open_observer(settings)
    port = settings.port("hub")
    try:
        hub = Hub(store, settings)
        server = await hub.answers().listen(settings.hub_bind, port)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error  # its own text names the address again
        raise ConfigError(f"the hub cannot listen on {settings.hub_bind}:{port} ({reason})") from None
    log.info("serving metrics on http://%s:%d/metrics", settings.hub_bind, port)
    beside = Beside("console", _CONSOLE, _MOST_CONSOLE_BYTES) if settings.console_port != 0 else None
    recording = asyncio.create_task(hub.recorder.run()) if hub.recorder is not None else None
    try:
        await stop.wait()
    finally:
        if recording is not None:
            recording.cancel()
            await asyncio.gather(recording, return_exceptions=True)
        if beside is not None:
            await beside.stop()
        server.close()
        await store.close()
