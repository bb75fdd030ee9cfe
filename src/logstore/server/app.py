"""The server: routes, worker threads, back-pressure, and a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiohttp import web

from foundation import logline
from foundation.webguard import Guard, middleware
from logstore.errors import StoreError
from logstore.server.connections import Connections
from logstore.server.exposition import metrics
from logstore.server.frugal import frugal, give_back
from logstore.server.handlers import QUERIES, Handlers
from logstore.server.tail import Tails
from logstore.server.workers import Workers
from logstore.store.compactor import Compactor
from logstore.store.limits import Limits
from logstore.store.store import Store

log = logging.getLogger(__name__)
_API = "/loki/api/v1"
_NO_NAMES = Guard()
_MOST_FILES = 4096  # that may be open: connections, and the database in each thread
_GIVE_BACK_SECONDS = 3.0  # between times that free memory is given to the system


def make_app(store: Store, guard: Guard = _NO_NAMES, connections: Connections | None = None) -> web.Application:
    """The application on an open store; it has a worker while it runs. Call it where a loop runs."""
    limits = store.limits
    if connections is None:
        connections = Connections(limits.connections, limits.idle_seconds)
    pushes, workers = ThreadPoolExecutor(2, "log-push"), Workers(store)
    handlers = Handlers(store, pushes, workers, connections)
    tails = Tails(store, workers, handlers.answered)
    app = web.Application(
        middlewares=[handlers.busy, middleware(guard), handlers.errors],
        handler_args={"auto_decompress": False},  # bodies are unpacked where they are counted
    )
    app.router.add_post(f"{_API}/push", handlers.push)
    for path in QUERIES:
        app.router.add_get(f"{_API}/{path}", handlers.query(path))
        app.router.add_post(f"{_API}/{path}", handlers.query(path))
    app.router.add_get(f"{_API}/tail", tails.handle)
    for method in ("POST", "PUT"):
        app.router.add_route(method, f"{_API}/delete", handlers.delete)
    app.router.add_get(f"{_API}/delete", handlers.deletions)
    app.router.add_delete(f"{_API}/delete", handlers.cancel_deletion)
    app.router.add_get(f"{_API}/status/buildinfo", handlers.buildinfo)
    app.router.add_get("/ready", handlers.ready)
    app.router.add_get("/metrics", metrics(handlers))
    app.router.add_post("/flush", handlers.flush)

    async def start(_: web.Application) -> None:
        await workers.start()

    async def stop(_: web.Application) -> None:
        handlers.closing = True
        tails.close()

    async def finish(_: web.Application) -> None:
        pushes.shutdown(wait=False, cancel_futures=True)
        await workers.close()

    app.on_startup.append(start)
    app.on_shutdown.append(stop)
    app.on_cleanup.append(finish)
    return app


async def _give_back() -> None:
    while True:
        await asyncio.sleep(_GIVE_BACK_SECONDS)
        await asyncio.to_thread(give_back)


async def _serve(store: Store, host: str, port: int, guard: Guard) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    connections = Connections(store.limits.connections, store.limits.idle_seconds)
    # A query ends when its client goes away: aiohttp cancels the handler.
    app = make_app(store, guard, connections)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=3)
    await runner.setup()
    assert runner.server is not None
    sweepers = [asyncio.create_task(connections.sweep()), asyncio.create_task(_give_back())]
    try:
        server = await loop.create_server(connections.factory(runner.server), host, port)
        log.info("Loki's API on http://%s:%d, %d lines in %d streams", host, port, store.index.lines, len(store.index))
        await stopped.wait()
        server.close()
    except OSError as error:
        raise StoreError(f"{host}:{port}: cannot be listened on ({error.strerror or error})") from None
    finally:
        for sweeper in sweepers:
            sweeper.cancel()
        await runner.cleanup()


def serve(
    data: Path, host: str = "127.0.0.1", port: int = 3100, limits: Limits | None = None, guard: Guard = _NO_NAMES
) -> None:
    """Serves the store in `data` until SIGTERM. Raises StoreError when it cannot be opened or listened for."""
    with contextlib.suppress(OSError, ValueError):
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, _MOST_FILES) if most > 0 else _MOST_FILES, most))
    frugal()
    logline.set_up()
    store = Store(data, limits)
    compactor = Compactor(store)
    try:
        gc.collect()
        gc.freeze()
        compactor.start()
        asyncio.run(_serve(store, host, port, guard))
    finally:
        compactor.stop()
        store.close()
