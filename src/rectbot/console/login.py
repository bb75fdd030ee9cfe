"""The login page: a plain form that needs no JavaScript."""

from __future__ import annotations

import asyncio
import html
import logging
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response

from rectbot.console import own
from rectbot.console.auth import Auth, Session, TooManyAttempts
from rectbot.console.words import Words, choose

log = logging.getLogger(__name__)
_MAX_BODY_BYTES, _MAX_FIELDS = 4_096, 10
_WRONG_SECONDS = 0.5  # a wrong password is answered no faster
_BROWSER_SECONDS = 180 * 24 * 3600  # without a login
ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><rect width='32' height='32' rx='7' fill='#2563eb'/>"
    "<path d='M8 16h5l3-8 3 16 3-8h4' fill='none' stroke='#fff' stroke-width='2.5' stroke-linejoin='round'/></svg>"
)

MANIFEST = {  # https://www.w3.org/TR/appmanifest/
    "name": "rectbot",
    "short_name": "rectbot",
    "id": "/",
    "start_url": "/",
    "display": "standalone",
    "background_color": "#0f1217",
    "theme_color": "#181c23",
    "icons": [{"src": "/favicon.ico", "sizes": "any", "type": "image/svg+xml", "purpose": "any"}],
}


@dataclass(frozen=True)
class Cookies:
    """What this console's cookies are called, as cookies know no ports and stacks share a host; `https`: only there."""

    port: int
    https: bool

    @property
    def session(self) -> str:
        return f"rectbot_console_{self.port}"

    @property
    def browser(self) -> str:
        return f"rectbot_browser_{self.port}"

    def remembering(self, value: str) -> bytes:
        """The header that makes a browser known: see Auth.check."""
        secure = "; secure" if self.https else ""
        return f"{self.browser}={value}; path=/; max-age={_BROWSER_SECONDS}; httponly; samesite=strict{secure}".encode()


def add_routes(app: FastAPI, auth: Auth, cookies: Cookies, on_leave: Callable[[Session], None]) -> None:
    """`/login`, `/logout`, and what is needed before a login. `on_leave` is told of a session before it ends."""
    pages = _Login(auth, cookies, on_leave)
    app.add_api_route("/healthz", _healthz)
    app.add_api_route("/favicon.ico", _icon)
    app.add_api_route("/manifest.webmanifest", _manifest)
    own.add_routes(app)
    app.add_api_route("/login", pages.form)
    app.add_api_route("/login", pages.enter, methods=["POST"])
    app.add_api_route("/logout", pages.leave, methods=["POST"])
    app.add_api_route("/session", pages.lasts)
    app.add_api_route("/session", pages.use, methods=["POST"])


class _Login:
    def __init__(self, auth: Auth, cookies: Cookies, on_leave: Callable[[Session], None]) -> None:
        self._auth, self._cookies, self._on_leave = auth, cookies, on_leave

    async def form(self, request: Request) -> Response:
        target = _inside(request.query_params.get("next", ""))
        if self._auth.session(request.scope["session"]) is not None:
            return RedirectResponse(target, 303)
        return _page(_words(request), target)

    async def enter(self, request: Request) -> Response:
        words, fields = _words(request), await _fields(request)
        if fields is None:
            return PlainTextResponse("a login has two fields, and 4 KB at most\n", 413)
        target, address = _inside(fields.get("next", "")), request.client.host if request.client else ""
        try:
            browser = request.cookies.get(self._cookies.browser, "")
            role = self._auth.check(fields.get("password", ""), address, browser)
        except TooManyAttempts as error:
            if error.first:  # once a minute is enough: whoever guesses could fill the log
                log.warning("console: %s: too many wrong passwords", address)
            again = round(error.seconds) + 1
            return _page(words, target, words("login.wait", seconds=again), 429, {"Retry-After": str(again)})
        if role is None:
            log.warning("console: %s: a wrong password", address)
            await asyncio.sleep(_WRONG_SECONDS)
            return _page(words, target, words("login.wrong"), 403)
        log.info("console: %s: logged in as %s", address, role.value)
        request.scope["session"].clear()
        request.scope["session"].update(self._auth.open(role))
        return RedirectResponse(target, 303)

    async def leave(self, request: Request) -> Response:
        if (session := self._auth.session(request.scope["session"])) is not None and self._auth.required:
            self._on_leave(session)
            self._auth.end(session)
        request.scope["session"].clear()
        return RedirectResponse("/login", 303)

    @staticmethod
    async def lasts() -> Response:
        """For a page that has lost its connection; who has no session does not get here."""
        return Response(status_code=204)

    async def use(self, request: Request) -> Response:
        """For a page that somebody works with: the session and its cookie last from now on anew."""
        if (session := self._auth.session(request.scope["session"])) is not None and self._auth.required:
            request.scope["session"]["used"] = self._auth.use(session)
        return Response(status_code=204)


async def _healthz() -> Response:
    return PlainTextResponse("ok\n")


async def _icon() -> Response:
    return Response(ICON, media_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"})


async def _manifest() -> Response:
    return JSONResponse(MANIFEST, media_type="application/manifest+json", headers={"Cache-Control": "max-age=86400"})


def _words(request: Request) -> Words:
    return choose(request.cookies, request.headers.get("accept-language", ""))


def _inside(target: str) -> str:
    """A path on this host, or the first page: a login must lead nobody elsewhere."""
    inside = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if inside else "/"


async def _fields(request: Request) -> dict[str, str] | None:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            return None
    try:
        found = parse_qs(body.decode(errors="replace"), max_num_fields=_MAX_FIELDS)
    except ValueError:
        return None
    return {name: values[-1] for name, values in found.items()}


def _page(
    words: Words, target: str, problem: str = "", status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    alert = f'<p role="alert" class="problem">{html.escape(problem)}</p>' if problem else ""
    text = f"""<!doctype html>
<html lang="{words.language}"><head><meta charset="utf-8"><title>rectbot - {words("login.title")}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<link rel="stylesheet" href="{own.STYLE}"><link rel="icon" href="/favicon.ico" type="image/svg+xml">
<link rel="manifest" href="/manifest.webmanifest"></head>
<body class="login"><main><h1>rectbot</h1>
<form method="post" action="/login"><input type="hidden" name="next" value="{html.escape(target)}">
<label for="password">{words("login.password")}</label>
<input id="password" name="password" type="password" autocomplete="current-password" required autofocus>
{alert}<button type="submit">{words("login.enter")}</button></form>
<p class="hint">{words("login.hint")}</p></main></body></html>"""
    return HTMLResponse(text, status, {"Cache-Control": "no-store", **(headers or {})})
