"""Following a query: https://grafana.com/docs/loki/latest/reference/loki-http-api/#stream-logs"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp

from rectbot.errors import ConfigError, RectbotError
from rectbot.logs.client.query import Entry, entries
from rectbot.logs.client.target import Target
from rectbot.resolver import Resolver

TAIL_PATH = "/loki/api/v1/tail"
RETRY_SECONDS = 1.0


async def follow(
    target: Target, query: str, start: int, say: Callable[[str], None], joined: Callable[[], None] = lambda: None
) -> AsyncIterator[Entry]:
    """Lines from `start` (nanoseconds) on, as they come, for ever; a connection that breaks is made again.

    `say` is told what an operator should know, `joined` of each connection that is made.
    Raises ConfigError when the server does not take the query, RectbotError when it cannot be reached at first.
    """
    connected = False
    seen: set[tuple[int, str, str]] = set()  # the lines of the last moment: a new connection brings them again
    connector = aiohttp.TCPConnector(resolver=Resolver())
    async with aiohttp.ClientSession(headers=target.headers, connector=connector) as http:
        while True:
            try:
                params = {"query": query, "start": str(start), "limit": "5000"}
                async with http.ws_connect(
                    target.url + TAIL_PATH, params=params, ssl=target.tls or True, heartbeat=30, max_msg_size=0
                ) as socket:
                    connected = True
                    joined()
                    async for message in socket:
                        for entry in _entries(message, say):
                            key = (entry.time, str(entry.labels), entry.text)
                            if entry.time > start:
                                start, seen = entry.time, set()
                            if key not in seen:
                                seen.add(key)
                                yield entry
                say("the connection was closed; it is made again")
            except aiohttp.WSServerHandshakeError as error:
                if not connected or error.status < 500:
                    raise _refused(target, error) from None
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if not connected:
                    raise RectbotError(f"{target.url}: the connection failed ({error})") from None
                say("the connection broke; it is made again")
            await asyncio.sleep(RETRY_SECONDS)


def _entries(message: aiohttp.WSMessage, say: Callable[[str], None]) -> list[Entry]:
    if message.type is not aiohttp.WSMsgType.TEXT:
        return []
    try:
        frame: dict[str, Any] = json.loads(message.data)
    except ValueError:
        raise RectbotError("the answer is not Loki's; is it Loki that listens there?") from None
    if dropped := frame.get("dropped_entries"):
        say(f"{len(dropped)} lines came too fast, and were left out")
    return sorted(entries(frame.get("streams") or []), key=lambda entry: entry.time)


def _refused(target: Target, error: aiohttp.WSServerHandshakeError) -> RectbotError:
    match error.status:
        case 400:
            return ConfigError(f"{target.url} does not follow this query; only a log query without metrics can be")
        case 401:
            return RectbotError(f"{target.url}: 401: wrong user or password; correct LOKI_USER and LOKI_PASSWORD")
        case _:
            return RectbotError(f"{target.url}: {error.status}: the query cannot be followed there")
