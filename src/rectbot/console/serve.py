"""The console's web server, in the event loop of whoever serves it."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from nicegui import core, ui
from starlette.exceptions import HTTPException
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

from foundation.webguard import guard_of
from rectbot.console import clients, history_page, login, pages, status_page
from rectbot.console.auth import SESSION_SECONDS, Auth
from rectbot.console.desk import Desk
from rectbot.console.doors import Doors
from rectbot.console.guard import Guard
from rectbot.console.sockets import Pipe, Sockets, quiet
from rectbot.console.squeeze import Squeeze
from rectbot.errors import RectbotError
from rectbot.settings import Settings

log = logging.getLogger(__name__)
_FALLS_FIRST = 500  # of 1,000: when memory is short this process is ended, and not the exporter beside it
_MISSING = 404
_STOP_SECONDS = 1  # open pages are cut off after this
_MAX_MESSAGE_BYTES = 256 * 1024  # from a browser


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The process has its own handlers."""
        yield


async def serve(settings: Settings) -> int:
    """Serves until SIGTERM, SIGINT, or the end of standard input; returns the exit code, the reason being logged."""
    _fall_first()
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _when_alone(stop.set)
    port = settings.console_port if settings.console_port is not None else settings.port("console")
    try:
        async with console(settings, port):
            await stop.wait()
    except RectbotError as error:
        log.error("no console: %s", error)  # noqa: TRY400 - the line says it all
        return error.exit_code
    return 0


def _fall_first() -> None:
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_FALLS_FIRST), encoding="ascii")


def _when_alone(end: Callable[[], None]) -> None:
    """Calls `end` when whoever started us is gone: he holds the other end of our standard input."""
    if not stat.S_ISFIFO(os.fstat(0).st_mode):
        return
    loop = asyncio.get_running_loop()

    def look() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            end()

    loop.add_reader(0, look)


@asynccontextmanager
async def console(settings: Settings, port: int) -> AsyncIterator[None]:
    """Serves the console while the context is open. Raises ConfigError, or RectbotError when the port is taken."""
    auth = Auth(settings)
    listener = _listen(settings.console_bind, port)
    async with Desk.open(settings) as desk:
        doors = Doors()
        server = _Server(_config(application(settings, port, auth, desk, doors), doors))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        quiet()
        try:
            gc.collect()
            gc.freeze()  # what is there now stays; looking through it again and again would hold everything up
            log.info("serving the console on http://%s:%d%s", settings.console_bind, port, _protection(auth))
            yield
        finally:
            server.should_exit = True
            await task


def application(settings: Settings, port: int, auth: Auth, desk: Desk, doors: Doors) -> ASGIApp:
    """The whole application; there can be one in a process, as the toolkit is a singleton."""
    cookies = login.Cookies(port, (settings.console_url or "").startswith("https:"))
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    login.add_routes(app, auth, cookies, lambda session: clients.dismiss(session, auth))
    pages.add(desk, auth)
    history_page.add_download(app, desk)
    public = status_page.add_routes(app, desk) if settings.status_page else ()
    core.app.config.socket_io_js_transports = ["websocket"]  # see Guard
    core.app.config.quasar_config["loadingBar"]["skipHijack"] = True  # a bar without a name, over what says it loads
    ui.run_with(
        app,
        title="rectbot",
        favicon=login.ICON,
        dark=None,
        tailwind=False,  # our style is console.css; its compiler in the browser would cost half a second
        gzip_middleware_factory=None,  # a second of one core for each new visitor: see Squeeze
        binding_refresh_interval=None,
        reconnect_timeout=10,  # for phones: so long a page that lost its connection is kept
        show_welcome_message=False,
        message_history_length=100,
    )
    _explain_errors()
    rule = guard_of(settings.console_url, dotless=False, pages=True)
    return SessionMiddleware(
        Guard(Squeeze(app), auth, Sockets(auth), doors, cookies=cookies, rule=rule, public=public),
        secret_key=auth.key,
        session_cookie=cookies.session,
        max_age=SESSION_SECONDS,
        same_site="strict",
        https_only=cookies.https,
    )


def _explain_errors() -> None:
    """In place of the toolkit's own: for a path that is not there it would make a page, and keep it for a minute."""

    async def missing(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return PlainTextResponse(
            "there is no such page\n" if error.status_code == _MISSING else f"{error.detail}\n", error.status_code
        )

    core.app.add_exception_handler(_MISSING, missing)
    core.app.add_exception_handler(HTTPException, missing)


def _config(app: Any, doors: Doors) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=doors.door,  # type: ignore[arg-type] # it is called as a class is
        ws=Pipe,
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="error",  # a visitor could fill the log with warnings of his own requests
        proxy_headers=False,  # anybody could name himself in them
        server_header=False,
        ws_max_size=_MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=128)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error  # its own text names the address again
        raise RectbotError(f"the console cannot listen on {host}:{port} ({reason})") from None


def _protection(auth: Auth) -> str:
    return ", behind a login" if auth.required else ", without a login, for this machine"
