"""What a page looks at stands in its address, and each change is an entry in the browser's history."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import tzinfo
from urllib.parse import parse_qs, unquote, urlencode

from nicegui import ui

from rectbot.console.times import ZONE_COOKIE, zone_named
from rectbot.console.visit import Visit

Query = Mapping[str, list[str]]
_ZONE_SECONDS = 3.0  # for a browser to say its zone
_MOST_FIELDS = 200


class Address:
    """A page's address, without its host."""

    def __init__(self, visit: Visit, path: str, on_back: Callable[[Query], Awaitable[None]]) -> None:
        """`on_back` is called with the address's query after Back and Forward."""
        self._visit, self._path, self._on_back = visit, path, on_back
        self._first = True
        ui.on("rectbot_back", lambda event: self._back(str(event.args or "")))

    def show(self, query: Iterable[tuple[str, str]]) -> None:
        """Puts the query into the address."""
        address = f"{self._path}?{urlencode(list(query))}"
        self._visit.client.run_javascript(f"rectbotAddress({json.dumps(address)}, {json.dumps(self._first)})")
        self._first = False

    async def _back(self, search: str) -> None:
        try:
            found = parse_qs(search.removeprefix("?"), max_num_fields=_MOST_FIELDS, keep_blank_values=True)
        except ValueError:
            return
        await self._on_back(found)


def zone_of(cookies: Mapping[str, str]) -> tzinfo:
    """The zone that a browser said before; UTC, where it has not."""
    return zone_named(unquote(cookies.get(ZONE_COOKIE, "")))


class Zone:
    """The browser's time zone, which its cookie says; at the first visit it is asked."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._name = unquote(visit.client.request.cookies.get(ZONE_COOKIE, ""))

    @property
    def now(self) -> tzinfo:
        """What is known of it now."""
        return zone_named(self._name)

    async def ask(self) -> None:
        """Asks the browser, where its cookie said nothing."""
        if self._name:
            return
        try:
            self._name = str(await self._visit.client.run_javascript("rectbotZone()", timeout=_ZONE_SECONDS))
        except TimeoutError:
            return
