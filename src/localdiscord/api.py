"""How every call to the REST API is served: version, faults, authentication, rate limits, errors and the journal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from localdiscord.errors import ApiError, not_found, unauthorized
from localdiscord.journal import Moment
from localdiscord.limits import Bucket, Verdict
from localdiscord.state import LocalDiscord

Handler = Callable[["Call"], Awaitable[Any]]

PREFIXES = ("", "/sites/{site}")
MAJOR_PARAMETERS = ("channel_id", "guild_id", "webhook_id", "webhook_token")
MAX_DIGITS = 20
_NO_NUMBER = {"code": "NUMBER_TYPE_COERCE", "message": "Value is not an int of 20 digits at most."}
DEFAULT_BUCKET = Bucket("default", 50, 1.0)


@dataclass(frozen=True)
class Call:
    """One request to the API, and the server that it came to."""

    discord: LocalDiscord
    request: web.Request
    at: Moment

    @property
    def site(self) -> str | None:
        return self.request.match_info.get("site")

    def __getitem__(self, name: str) -> str:
        """A parameter of the path."""
        return self.request.match_info[name]


@dataclass(frozen=True)
class Endpoint:
    """A route of the API. Its handler returns what becomes JSON; None becomes 204. Without a bucket it has no limit."""

    method: str
    path: str
    handler: Handler
    bucket: Bucket | None = DEFAULT_BUCKET
    auth: bool = True
    counts_globally: bool = True


def query_number(call: Call, name: str, default: int = 0) -> int:
    """A number of the query. Raises ApiError 400 for anything else there."""
    text = call.request.query.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS):
        raise ApiError(400, 50035, "Invalid Form Body", {name: {"_errors": [_NO_NUMBER]}})
    return int(text)


def page(call: Call, ids: Iterable[str], default: int = 25) -> list[str]:
    """The ids from `after` on, up to `limit`, as a client asks for page after page."""
    after, limit = query_number(call, "after"), query_number(call, "limit", default)
    return sorted((id_ for id_ in ids if int(id_) > after), key=int)[: max(1, limit)]


def add_endpoints(app: web.Application, discord: LocalDiscord, endpoints: Iterable[Endpoint]) -> None:
    """Registers endpoints with and without the site's prefix, with and without a version."""
    for endpoint in endpoints:
        for prefix in PREFIXES:
            for base in ("/api/v{version:[0-9]+}", "/api"):
                app.router.add_route(endpoint.method, prefix + base + endpoint.path, _serve(discord, endpoint))


def unknown_endpoint() -> Endpoint:
    """Answers 404 to what the API does not have; registered last."""

    async def refuse(_: Call) -> None:
        raise not_found()

    return Endpoint("*", "/{rest:.*}", refuse, auth=False)


def _serve(discord: LocalDiscord, endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve(request: web.Request) -> web.StreamResponse:
        call = Call(discord, request, Moment.now())
        started = time.monotonic()
        # discord.py takes a 429 without Via for a ban by Cloudflare, which is how Discord's own answers differ from it.
        headers = {"Via": "1.1 local-discord"}
        try:
            verdict = await _admit(call, endpoint)
            headers |= verdict.headers() if verdict else {}
            if verdict and verdict.retry_after is not None:
                response = web.json_response(verdict.body(), status=429, headers=headers)
            else:
                response = _answer(await endpoint.handler(call), headers)
        except ApiError as error:
            response = web.json_response(error.body, status=error.status, headers=headers)
        if response.content_type == "application/json":
            # Clients compare the header with Discord's, which names no charset.
            response.headers["Content-Type"] = "application/json"
        discord.journal.add(
            "rest",
            site=call.site,
            at=call.at,
            method=request.method,
            path=_public_path(request),
            status=response.status,
            duration_s=round(time.monotonic() - started, 6),
        )
        return response

    return serve


def _answer(result: Any, headers: dict[str, str]) -> web.Response:
    if isinstance(result, web.Response):
        result.headers.update(headers)
        return result
    return web.Response(status=204, headers=headers) if result is None else web.json_response(result, headers=headers)


async def _admit(call: Call, endpoint: Endpoint) -> Verdict | None:
    discord, request = call.discord, call.request
    faults = discord.faults.of(call.site)
    if faults.delay_ms:
        await asyncio.sleep(faults.delay_ms / 1000)
    if request.match_info.get("version", "10") != "10":
        raise ApiError(400, 50041, "Invalid API version provided.")
    caller = "anonymous"
    if endpoint.auth:
        if faults.refuse_logins:
            raise ApiError(503, 0, "503: Service Unavailable")
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bot" or faults.invalid_token or not discord.is_token(token):
            raise unauthorized()
        caller = "bot"
    if endpoint.bucket is None:
        return None
    major = "/".join(request.match_info.get(name, "") for name in MAJOR_PARAMETERS)
    return discord.rate_limits.take(endpoint.bucket, major, caller, counts_globally=endpoint.counts_globally)


def _public_path(request: web.Request) -> str:
    """The path without the site's prefix, and without the tokens that the paths of webhooks and interactions hold."""
    path = request.path.removeprefix(f"/sites/{request.match_info.get('site')}")
    for name in ("webhook_token", "interaction_token"):
        token = request.match_info.get(name)
        path = path.replace(f"/{token}", "/…") if token else path
    return path
