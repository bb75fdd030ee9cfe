"""The login page: a plain form that needs no JavaScript."""

from __future__ import annotations

import asyncio
import html
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response

from rectbot.console.auth import Auth, TooManyAttempts
from rectbot.console.words import Words, choose

log = logging.getLogger(__name__)
_MAX_BODY_BYTES = 4_096
_FOLDER = Path(__file__).with_name("static")
_WRONG_SECONDS = 0.5  # a wrong password is answered no faster


def add_routes(app: FastAPI, auth: Auth) -> None:
    """`/login`, `/logout`, and what is needed before a login."""
    pages = _Login(auth)
    app.add_api_route("/healthz", _healthz)
    app.add_api_route("/console.css", _file("console.css"))
    app.add_api_route("/console.js", _file("console.js"))
    app.add_api_route("/login", pages.form)
    app.add_api_route("/login", pages.enter, methods=["POST"])
    app.add_api_route("/logout", pages.leave, methods=["POST"])


class _Login:
    def __init__(self, auth: Auth) -> None:
        self._auth = auth

    async def form(self, request: Request) -> Response:
        target = _inside(request.query_params.get("next", ""))
        if self._auth.session(request.scope["session"]) is not None:
            return RedirectResponse(target, 303)
        return _page(_words(request), target)

    async def enter(self, request: Request) -> Response:
        words, fields = _words(request), await _fields(request)
        if fields is None:
            return PlainTextResponse("too long\n", 413)
        target, address = _inside(fields.get("next", "")), request.client.host if request.client else ""
        try:
            role = self._auth.check(fields.get("password", ""), address)
        except TooManyAttempts as error:
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
        if (session := self._auth.session(request.scope["session"])) is not None:
            self._auth.end(session)
        request.scope["session"].clear()
        return RedirectResponse("/login", 303)


async def _healthz() -> Response:
    return PlainTextResponse("ok\n")


def _file(name: str) -> Callable[[], Awaitable[Response]]:
    async def serve() -> Response:
        return FileResponse(_FOLDER / name, headers={"Cache-Control": "no-cache"})

    return serve


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
    return {name: values[-1] for name, values in parse_qs(body.decode(errors="replace")).items()}


def _page(
    words: Words, target: str, problem: str = "", status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    alert = f'<p role="alert" class="problem">{html.escape(problem)}</p>' if problem else ""
    text = f"""<!doctype html>
<html lang="{words.language}"><head><meta charset="utf-8"><title>rectbot - {words("login.title")}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<link rel="stylesheet" href="/console.css"></head>
<body class="login"><main><h1>rectbot</h1>
<form method="post" action="/login"><input type="hidden" name="next" value="{html.escape(target)}">
<label for="password">{words("login.password")}</label>
<input id="password" name="password" type="password" autocomplete="current-password" required autofocus>
{alert}<button type="submit">{words("login.enter")}</button></form>
<p class="hint">{words("login.hint")}</p></main></body></html>"""
    return HTMLResponse(text, status, {"Cache-Control": "no-store", **(headers or {})})
