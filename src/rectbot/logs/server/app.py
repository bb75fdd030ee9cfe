"""The server: routes, worker threads, back-pressure, and a clean end."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiohttp import web

from rectbot import logline
from rectbot.errors import RectbotError
from rectbot.logs.logql.parse import warm_up
from rectbot.logs.server.handlers import Handlers
from rectbot.logs.server.tail import Tails
from rectbot.logs.store.limits import Limits
from rectbot.logs.store.store import Store
from rectbot.logs.store.upkeep import Upkeep
from rectbot.webguard import Guard, middleware

log = logging.getLogger(__name__)
_API = "/loki/api/v1"
_NO_NAMES = Guard()
_M_ARENA_MAX, _M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -8, -1, -3


def _frugal() -> None:
    """Has glibc give memory back: few arenas, and big blocks straight from the system. A no-op elsewhere."""
    try:
        libc = ctypes.CDLL(None)
        for option, value in ((_M_ARENA_MAX, 2), (_M_MMAP_THRESHOLD, 1 << 20), (_M_TRIM_THRESHOLD, 4 << 20)):
            libc.mallopt(option, value)
    except (OSError, AttributeError):
        return


def make_app(store: Store, guard: Guard = _NO_NAMES) -> web.Application:
    """The application on an open store."""
    pushes, queries = ThreadPoolExecutor(2, "log-push"), ThreadPoolExecutor(store.limits.queries, "log-query")
    tails = Tails(store)
    handlers = Handlers(store, pushes, queries)
    app = web.Application(client_max_size=store.limits.body_bytes, middlewares=[middleware(guard), handlers.errors])
    app.router.add_post(f"{_API}/push", handlers.push)
    for path, handler in handlers.readers().items():
        app.router.add_get(f"{_API}/{path}", handler)
        app.router.add_post(f"{_API}/{path}", handler)
    app.router.add_get(f"{_API}/tail", tails.handle)
    for method in ("POST", "PUT"):
        app.router.add_route(method, f"{_API}/delete", handlers.delete)
    app.router.add_get(f"{_API}/delete", handlers.deletions)
    app.router.add_delete(f"{_API}/delete", handlers.cancel_deletion)
    app.router.add_get(f"{_API}/status/buildinfo", handlers.buildinfo)
    app.router.add_get("/ready", handlers.ready)
    app.router.add_get("/metrics", handlers.metrics)
    app.router.add_post("/flush", handlers.flush)

    async def stop(_: web.Application) -> None:
        handlers.closing = True
        tails.close()

    async def finish(_: web.Application) -> None:
        for pool in (pushes, queries):
            pool.shutdown(wait=False, cancel_futures=True)

    app.on_shutdown.append(stop)
    app.on_cleanup.append(finish)
    return app


async def _serve(store: Store, host: str, port: int, guard: Guard) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    # A query ends when its client goes away: aiohttp cancels the handler.
    runner = web.AppRunner(make_app(store, guard), handler_cancellation=True, access_log=None, shutdown_timeout=3)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        log.info("Loki's API on http://%s:%d, %d lines in %d streams", host, port, store.index.lines, len(store.index))
        await asyncio.to_thread(warm_up)  # while pushes are taken already
        await stopped.wait()
    except OSError as error:
        raise RectbotError(f"{host}:{port}: cannot be listened on ({error.strerror or error})") from None
    finally:
        await runner.cleanup()


def serve(
    data: Path, host: str = "127.0.0.1", port: int = 3100, limits: Limits | None = None, guard: Guard = _NO_NAMES
) -> None:
    """Serves the store in `data` until SIGTERM. Raises RectbotError when it cannot be opened or listened for."""
    _frugal()
    logline.set_up()
    store = Store(data, limits)
    upkeep = Upkeep(store)
    try:
        gc.collect()
        gc.freeze()
        upkeep.start()
        asyncio.run(_serve(store, host, port, guard))
    finally:
        upkeep.stop()
        store.close()
