"""Refuses what does not come from the console's own pages in the operator's own browser.

Other websites in that browser can send requests to loopback, open WebSockets to it (to which no same-origin policy
applies), and make their own name point to it (DNS rebinding). So every request must name this host by an address, as
`localhost` or by the name in CONSOLE_URL; and whatever can change something must carry this page's Origin.
References: RFC 6455, section 10.2; https://www.w3.org/TR/fetch-metadata/
"""

from __future__ import annotations

import ipaddress
from urllib.parse import quote, urlsplit

from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rectbot.console.auth import Auth

SOCKETS = "/_nicegui_ws/"
_OPEN = (
    "/login",
    "/healthz",
    "/favicon.ico",
    "/console.css",
    "/console.js",
)  # without a session; and the toolkit's own files
_OPEN_FOLDER = "/_nicegui/"
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


class Guard:
    """ASGI middleware; below SessionMiddleware, above everything else."""

    def __init__(self, app: ASGIApp, auth: Auth, public_url: str | None) -> None:
        self._app = app
        self._auth = auth
        self._name = (urlsplit(public_url).hostname or "") if public_url else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if scope["type"] == "websocket":
            if refusal is None:
                await self._app(scope, receive, send)
            else:
                await receive()
                await send({"type": "websocket.close", "code": 1008})  # before an accept: the answer is 403
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        return self._forged(scope, headers) or self._stranger(scope)

    def _forged(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        """Whoever asks, it must be from our own page."""
        host, socket = headers.get("host", ""), scope["type"] == "websocket"
        if not self._is_ours(host):
            return PlainTextResponse("this console is not known by that name: set CONSOLE_URL\n", 421)
        if scope["path"].startswith(SOCKETS) and not socket:
            return PlainTextResponse("WebSockets only\n", 403)  # long polling would need rules of its own
        if _changes(scope) and not _same_origin(headers.get("origin"), host):
            return PlainTextResponse("refused: this request comes from another site\n", 403)
        if _from_elsewhere(headers):
            return PlainTextResponse("refused: another site embeds this\n", 403)
        return None

    def _stranger(self, scope: Scope) -> Response | None:
        """Nobody without a session sees more than the login."""
        path = scope["path"]
        if path in _OPEN or path.startswith(_OPEN_FOLDER) or self._auth.session(scope["session"]) is not None:
            return None
        if _changes(scope):
            return PlainTextResponse("log in first\n", 401)
        query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
        return RedirectResponse(f"/login?next={quote(path + query, safe='')}", 303)

    def _is_ours(self, host: str) -> bool:
        """An address cannot be rebound, and neither can localhost; a name must be the configured one."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in ("localhost", self._name) and name:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _changes(scope: Scope) -> bool:
    return scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS


def _same_origin(origin: str | None, host: str) -> bool:
    try:
        return origin is not None and urlsplit(origin).netloc.lower() == host.lower() and "://" in origin
    except ValueError:
        return False


def _from_elsewhere(headers: dict[str, str]) -> bool:
    """Anything but a link that the operator follows; browsers say so, other clients hold no cookie to misuse."""
    site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode")
    followed = mode == "navigate" and headers.get("sec-fetch-dest", "document") == "document"
    return site in ("cross-site", "same-site") and not followed
