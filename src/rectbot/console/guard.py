"""Refuses what does not come from the console's own pages in the operator's own browser.

What a website in that browser could send is refused by the rule that all our servers have; beyond that nobody without a
session gets further than the login: no page is made for him, and nothing of the toolkit is reached.
"""

from __future__ import annotations

from urllib.parse import quote

from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foundation.webguard import Guard as Rule
from rectbot.console.auth import Auth, Role, Session
from rectbot.console.doors import Doors
from rectbot.console.login import Cookies
from rectbot.console.own import SCRIPT, STYLE
from rectbot.console.sockets import Sockets

SOCKETS = "/_nicegui_ws/"
OPEN = (
    "/login",
    "/healthz",
    "/favicon.ico",
    "/manifest.webmanifest",
    STYLE,
    SCRIPT,
)  # without a session
_SAFE_METHODS = ("GET", "HEAD")
_POLICY = (
    # Vue compiles the toolkit's templates in the browser, hence unsafe-eval. Nothing may be loaded from elsewhere.
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


# Nothing that a visitor says may change where a page loads its code from.
_UNTRUSTED = (b"x-forwarded-prefix", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded")


class Guard:
    """ASGI middleware; below SessionMiddleware, above everything else."""

    def __init__(
        self,
        app: ASGIApp,
        auth: Auth,
        sockets: Sockets,
        doors: Doors,
        *,
        cookies: Cookies,
        rule: Rule,
        public: tuple[str, ...] = (),
    ) -> None:
        """`public`: what else is for everybody."""
        self._app, self._auth, self._sockets, self._doors, self._cookies = app, auth, sockets, doors, cookies
        self._rule = rule
        self._open = (*OPEN, *public)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        else:
            await self._request(scope, receive, send)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = self._auth.session(scope["session"])
        if session is None or self._forged(scope) or not scope["path"].startswith(SOCKETS):
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # before an accept: the answer is 403
        else:
            await self._sockets.serve(self._app, _without_untrusted(scope), receive, send, session)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal, added = self._forged(scope), list(_HEADERS)
        if refusal is None:
            session = self._auth.session(scope["session"])
            refusal = self._stranger(scope, session)
            if session is not None and self._auth.required:
                self._doors.proven(scope["client"])
                added += self._remember(scope, session)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        await (refusal or self._app)(_without_untrusted(scope), receive, send_with_headers)

    def _forged(self, scope: Scope) -> Response | None:
        """Whoever asks, it must be from our own page."""
        socket = scope["type"] == "websocket"
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        refusal = self._rule.refusal(scope.get("method", "GET"), headers, socket=socket)
        if refusal is not None:
            hint = "; or set CONSOLE_URL to it" if refusal.status == 421 else ""
            return PlainTextResponse(f"{refusal.text}{hint}\n", refusal.status)
        if scope["path"].startswith(SOCKETS) and not socket:
            return PlainTextResponse("WebSockets only\n", 403)  # long polling would need rules of its own
        return None

    def _remember(self, scope: Scope, session: Session) -> list[tuple[bytes, bytes]]:
        """Makes the administrator's browser known, with the first page that it gets."""
        known = any(self._cookies.browser.encode() in value for name, value in scope["headers"] if name == b"cookie")
        if known or session.role is not Role.ADMIN or scope["path"] in (*self._open, "/logout"):
            return []
        return [(b"set-cookie", self._cookies.remembering(self._auth.remember()))]

    def _stranger(self, scope: Scope, session: Session | None) -> Response | None:
        """Nobody without a session sees more than the login."""
        path = scope["path"]
        if path in self._open or session is not None:
            return None
        if scope["method"] not in _SAFE_METHODS:
            return PlainTextResponse("log in first\n", 401)
        query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
        return RedirectResponse(f"/login?next={quote(path + query, safe='')}", 303)


def _without_untrusted(scope: Scope) -> Scope:
    return {**scope, "headers": [pair for pair in scope["headers"] if pair[0] not in _UNTRUSTED]}
