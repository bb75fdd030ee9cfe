"""The hub's HTTP server: `/metrics` for Prometheus, `/healthz` for whoever keeps it running, and the console."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from rectbot.errors import ConfigError, RectbotError
from rectbot.failover.events import Snapshot
from rectbot.failover.store import RedisLeaseStore, StoreUnavailable
from rectbot.failover.wiring import failover_config, open_observer
from rectbot.hub import host
from rectbot.hub.exporter import exposition
from rectbot.push.trial import trial_of
from rectbot.settings import Settings

log = logging.getLogger(__name__)


class Hub:
    """Reads the store for each request; it keeps no state that could grow old."""

    def __init__(self, store: RedisLeaseStore, settings: Settings) -> None:
        self._store = store
        self._config = failover_config(settings, observer=True)
        self._push_proxy = host.push_proxy_address(settings)
        self._trial = trial_of(settings)
        self._folder = str(settings.rectbot_home)
        self._reachable: bool | None = None

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        return app

    async def _metrics(self, _: web.Request) -> web.Response:
        snapshot, around = await asyncio.gather(
            self._snapshot(), host.exposition(self._push_proxy, self._folder, self._trial)
        )
        body = exposition(snapshot, self._config) + around
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _snapshot(self) -> Snapshot | None:
        """The state now, or None; says it once when Redis goes away and once when it is back."""
        try:
            snapshot = await self._store.snapshot()
        except (StoreUnavailable, RectbotError) as error:
            if self._reachable is not False:
                log.warning("Redis does not answer: %s", error)
            self._reachable = False
            return None
        if self._reachable is False:
            log.warning("Redis answers again")
        self._reachable = True
        return snapshot


@asynccontextmanager
async def _console(settings: Settings) -> AsyncIterator[None]:
    """The console beside the metrics, unless CONSOLE_PORT is 0. What keeps it from running is logged: metrics go on."""
    port = settings.console_port if settings.console_port is not None else settings.port("console")
    async with AsyncExitStack() as stack:
        if port:
            from rectbot.console.serve import console  # noqa: PLC0415 - 25 MB, for who serves it

            try:
                await stack.enter_async_context(console(settings, port))
            except RectbotError as error:
                log.error("no console: %s", error)  # noqa: TRY400 - the line says it all
        yield


async def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises ConfigError when the port is taken."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    store = open_observer(settings)
    runner = web.AppRunner(Hub(store, settings).application(), access_log=None)
    await runner.setup()
    port = settings.port("hub")
    try:
        await web.TCPSite(runner, settings.hub_bind, port).start()
    except OSError as error:
        raise ConfigError(f"the hub cannot listen on {settings.hub_bind}:{port} ({error.strerror})") from None
    log.info("serving metrics on http://%s:%d/metrics", settings.hub_bind, port)
    try:
        async with _console(settings):
            await stop.wait()
    finally:
        await runner.cleanup()
        await store.close()
