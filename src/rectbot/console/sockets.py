"""The pages' WebSockets: each belongs to the session that it was opened under, and serves that session's pages only.

The toolkit looks at the page's id in a message and at nothing else: whoever knows the id of somebody's page could act
on it. Here a message counts only for the page that its socket was opened for, and a socket can be opened only for a
page of its own session, while that lasts. What no page sends ends the socket, or is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs

from nicegui import core
from nicegui.client import Client
from socketio.exceptions import ConnectionRefusedError as Refused  # type: ignore[import-untyped]
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from rectbot.console.auth import Auth, Session
from rectbot.console.clients import SOCKET, owner

MOST_SOCKETS = 64
HANDSHAKE_SECONDS = 10.0  # from a socket's beginning until it serves a page
_BURST, _BURST_SECONDS = 1_000, 10.0  # messages from one browser
_LONGEST_ID = 64
_END_SECONDS = 5.0  # after the end, for what was sent last
log = logging.getLogger(__name__)
_reports = [0.0]  # when the last one was written
T = TypeVar("T")


class Pipe(WebSocketsSansIOProtocol):
    """uvicorn's own, but it does not wait for ever for a browser that does not read any more."""

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        self.loop.call_later(_END_SECONDS, self.transport.abort)


class Socket:
    """One of them."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.connected = False
        self.sid = ""  # the toolkit's name for it, once it serves a page
        self._ended = asyncio.Event()
        self._since, self._messages = time.monotonic(), 0

    def end(self) -> None:
        """It is closed: at once, whatever is under way."""
        self._ended.set()

    async def receive(self, receive: Receive) -> Message:
        """The next message, or the end."""
        message = await self._unless_ended(receive())
        if message is None or message.get("bytes") is not None or self._is_flood():  # pages send text
            return {"type": "websocket.disconnect", "code": 1008}
        return message

    async def send(self, send: Send, message: Message) -> None:
        """Raises OSError when it has ended, also while the browser does not read."""
        await self._unless_ended(send(message))
        if self._ended.is_set():
            raise OSError("the socket has ended")

    def _is_flood(self) -> bool:
        now = time.monotonic()
        if now > self._since + _BURST_SECONDS:
            self._since, self._messages = now, 0
        self._messages += 1
        return self._messages > _BURST

    async def _unless_ended(self, work: Awaitable[T]) -> T | None:
        task, ended = asyncio.ensure_future(work), asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({task, ended}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()
            ended.cancel()


class Sockets:
    """All of one server."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth
        self._open: list[Socket] = []  # the oldest first
        self._handlers = dict(core.sio.handlers["/"])  # the toolkit's own
        core.sio.on("connect", self._connect)
        core.sio.on("handshake", self._handshake)
        for name in ("event", "javascript_response", "ack"):
            core.sio.on(name, self._of_its_page(self._handlers[name]))
        core.sio.on("log", _unheard)  # with it anybody who looks could write lines into our log

    async def serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, session: Session) -> None:
        """A new socket of this session, until its end. One too many ends the oldest of the session with the most."""
        socket = Socket(session)
        self._open.append(socket)
        if len(self._open) > MOST_SOCKETS:
            most, _ = Counter(each.session.id for each in self._open).most_common(1)[0]
            next(each for each in self._open if each.session.id == most).end()
        late = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, self._end_idle, socket)
        try:
            with contextlib.suppress(OSError):
                await app(
                    {**scope, SOCKET: socket},
                    lambda: socket.receive(receive),
                    lambda message: socket.send(send, message),
                )
        finally:
            late.cancel()
            self._open.remove(socket)

    @staticmethod
    def _end_idle(socket: Socket) -> None:
        if not socket.sid:
            socket.end()

    async def _connect(self, sid: str, environ: dict[str, Any], _: Any = None) -> None:
        socket = environ["asgi.scope"][SOCKET] if isinstance(environ, dict) and "asgi.scope" in environ else None
        if not isinstance(socket, Socket):
            return  # a message that calls itself so
        if socket.connected:
            raise Refused("once is enough")
        socket.connected = True
        query = {name: values[0] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
        if query.get("implicit_handshake") == "true" and not await self._handshake(sid, query):
            raise Refused("Implicit handshake failed")  # at these words the browser loads the page anew

    async def _handshake(self, sid: str, asked: Any = None, *_: Any) -> bool:
        socket: Socket = core.sio.get_environ(sid)["asgi.scope"][SOCKET]
        if socket.sid or not _is_handshake(asked) or not self._may_join(socket, asked["client_id"]):
            return False
        socket.sid = sid
        return bool(await self._handlers["handshake"](sid, asked))

    def _may_join(self, socket: Socket, client_id: str) -> bool:
        client = Client.instances.get(client_id)
        page = owner(client, self._auth) if client is not None else None
        return page is not None and (page.id, page.role) == (socket.session.id, socket.session.role)

    def _of_its_page(self, handler: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, None]]:
        async def take(sid: str, message: Any = None, *_: Any) -> None:
            environ = core.sio.get_environ(sid)
            socket: Socket | None = environ["asgi.scope"].get(SOCKET) if environ else None
            if socket is None or not isinstance(message, dict):
                return
            if message.get("client_id") not in core.sio.rooms(sid) or not self._auth.alive(socket.session):
                socket.end()
                return
            with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):  # not as a page sends it
                result = handler(sid, message)
                if inspect.isawaitable(result):
                    await result

        return take


def _is_handshake(asked: Any) -> bool:
    if not isinstance(asked, dict):
        return False
    ids = [asked.get(name) for name in ("client_id", "tab_id", "document_id")]
    ids += [asked[name] for name in ("old_tab_id",) if asked.get(name) is not None]
    number = str(asked.get("next_message_id") or 0)
    return all(isinstance(each, str) and 0 < len(each) <= _LONGEST_ID for each in ids) and (
        number.isascii() and number.isdigit() and len(number) < 10
    )


def quiet() -> None:
    """Keeps what a browser sends out of our log: these libraries would write a traceback for each odd message."""
    for name in ("engineio.server", "socketio.server"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    asyncio.get_running_loop().set_exception_handler(_report)
    core.app._exception_handlers[:] = [_failed]


def _report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if isinstance(error := context.get("exception"), Exception):
        _failed(error)
    else:
        log.warning("console: %s", context.get("message"))


def _failed(error: Exception) -> None:
    """One line, and one a second at most, for what failed in a page: a browser can send what makes something fail."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    if time.monotonic() > _reports[0] + 1:
        _reports[0] = time.monotonic()
        log.error("console: a page's message could not be carried out: %s%s", type(error).__name__, where)


async def _unheard(*_: Any) -> None:
    """Takes a message, and does nothing."""
