"""Refuses what a hostile web page in somebody's browser sends to a server of ours.

Any website can send requests to loopback, post forms to it, open WebSockets to it (to which no same-origin policy
applies), and make its own name point to it (DNS rebinding). So every request must name the server by an address, as
`localhost`, by a configured name or, where containers talk to each other, by a name without a dot, which nobody in the
Internet can own; and a request that says where it comes from must come from the server's own pages. Programs that are
no browsers send neither Origin nor Referer nor Sec-Fetch-Site, and are not asked for them.
References: RFC 6454; RFC 6455, section 10.2; https://www.w3.org/TR/fetch-metadata/
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.typedefs import Middleware

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_HOST = re.compile(r"(?:\[([0-9a-z:.%]+)\]|([0-9a-z._-]+))(?::\d{1,5})?", re.IGNORECASE | re.ASCII)


class Refusal(NamedTuple):
    """What to answer: an HTTP status and a sentence."""

    status: int
    text: str


@dataclass(frozen=True)
class Guard:
    """What is asked of each request; one rule for all servers, with what differs between them as its fields."""

    names: frozenset[str] = frozenset()
    """Names of this host beside addresses and localhost, in small letters."""
    dotless: bool = True
    """Whether any name without a dot will do, such as that of a container."""
    pages: bool = False
    """Whether it is for browsers: a link from elsewhere may be followed; what changes something must say its origin."""

    def refusal(self, method: str, headers: Iterable[tuple[str, str]], *, socket: bool = False) -> Refusal | None:
        """Why a request is not served, or None. `headers` has a pair for each header line; `socket`: a WebSocket."""
        found: dict[str, list[str]] = {}
        for name, value in headers:
            found.setdefault(name.lower(), []).append(value)
        host = _only(found, "host")
        if host is None or not self.knows(host):
            return Refusal(421, "refused: this server is not known by that name; ask by its address, or configure it")
        changes = socket or method not in _SAFE_METHODS
        origin = _only(found, "origin")
        if origin is None or not self._fits(origin, host, needed=self.pages and changes):
            return Refusal(403, "refused: this request comes from another site")
        if not origin and changes and not self._fits(_only(found, "referer") or "", host, needed=False):
            return Refusal(403, "refused: this request comes from another site")
        if self._embedded(found):
            return Refusal(403, "refused: another site embeds this")
        return None

    def knows(self, host: str) -> bool:
        """Whether a Host header ("": there is none, which no browser does) names this server."""
        if not host:
            return not self.pages
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = (match[1] or match[2]).removesuffix(".").lower()
        if name == "localhost" or name in self.names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return self.dotless and match[1] is None and name != "" and "." not in name
        return True

    @staticmethod
    def _fits(origin: str, host: str, *, needed: bool) -> bool:
        """Whether an Origin, or a Referer, is this server."""
        if not origin:
            return not needed
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()

    def _embedded(self, headers: dict[str, list[str]]) -> bool:
        """Whether a browser says that another site asks, for anything but a link that somebody follows."""
        sites = headers.get("sec-fetch-site", [])
        followed = (
            self.pages
            and headers.get("sec-fetch-mode") == ["navigate"]
            and headers.get("sec-fetch-dest", ["document"]) == ["document"]
        )
        return any(site not in ("none", "same-origin") for site in sites) and not followed


def _only(headers: dict[str, list[str]], name: str) -> str | None:
    """A header's value, "" without one; None if it is there twice, so that nobody can take the other one."""
    values = headers.get(name, [""])
    return values[0] if len(values) == 1 else None


def guard_of(*urls: str | None, dotless: bool = True, pages: bool = False) -> Guard:
    """The guard of a server that is also known by the host names in these URLs."""
    found = (urlsplit(url).hostname for url in urls if url)
    return Guard(frozenset(name.lower() for name in found if name), dotless, pages)


def middleware(guard: Guard) -> Middleware:
    """The guard of an aiohttp application; it belongs before all other middlewares."""
    from aiohttp import web  # noqa: PLC0415 - 11 MB, for who has such an application

    @web.middleware
    async def check(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        socket = request.headers.get("Upgrade", "").lower() == "websocket"
        refusal = guard.refusal(request.method, request.headers.items(), socket=socket)
        if refusal is None:
            return await handler(request)
        # The body is not read, so the connection cannot be used again.
        return web.Response(status=refusal.status, text=f"{refusal.text}\n", headers={"Connection": "close"})

    return check
