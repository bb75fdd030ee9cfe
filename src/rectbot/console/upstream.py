"""What the console asks of Prometheus, Loki and Alertmanager, once for all who look.

Twenty open pages ask the same questions at the same time. So an answer is kept for as long as its asker says, and who
asks meanwhile, or while the answer is under way, gets the same one.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from typing import Any

import aiohttp

from rectbot.errors import RectbotError

TIMEOUT_SECONDS = 15.0
_FAILURE_SECONDS = 1.0  # for so long a failure is not tried again
_KEPT = 500


class Shared:
    """Answers by question."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: dict[Hashable, tuple[float, asyncio.Future[Any]]] = {}

    async def get(self, question: Hashable, seconds: float, ask: Callable[[], Awaitable[Any]]) -> Any:
        """The answer, not older than `seconds`; failures raise again for a moment."""
        now = self._clock()
        kept = self._answers.get(question)
        if kept is None or kept[0] <= now:
            self._answers = {key: entry for key, entry in self._answers.items() if entry[0] > now}
            while len(self._answers) >= _KEPT:
                del self._answers[next(iter(self._answers))]
            kept = self._answers[question] = (now + seconds, asyncio.ensure_future(ask()))
        try:
            return await asyncio.shield(kept[1])
        except RectbotError:
            if self._answers.get(question) == kept:
                self._answers[question] = (min(kept[0], self._clock() + _FAILURE_SECONDS), kept[1])
            raise


class Upstream:
    """One server's HTTP API that answers with JSON."""

    def __init__(self, name: str, url: str, http: aiohttp.ClientSession, shared: Shared) -> None:
        self.name = name
        self.url = url.rstrip("/")
        self._http = http
        self._shared = shared

    async def get(self, path: str, params: dict[str, str] | None = None, seconds: float = 0) -> Any:
        """The JSON of a GET, at most `seconds` old. Raises RectbotError."""
        key = (self.name, path, tuple(sorted((params or {}).items())))
        return await self._shared.get(key, seconds, lambda: self._ask("GET", path, params))

    async def send(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of a request that changes something. Raises RectbotError."""
        return await self._ask(method, path, None, body)

    async def _ask(self, method: str, path: str, params: dict[str, str] | None, body: Any = None) -> Any:
        try:
            async with self._http.request(method, self.url + path, params=params, json=body) as answer:
                text = await answer.text()
                if answer.status >= 400:
                    raise RectbotError(f"{self.name}: {answer.status}: {_said(text)}")
                return json.loads(text) if text else None
        except TimeoutError:
            raise RectbotError(f"{self.name} at {self.url} does not answer within {TIMEOUT_SECONDS:.0f} s") from None
        except (aiohttp.ClientError, OSError):
            raise RectbotError(f"{self.name} at {self.url} does not answer") from None
        except ValueError:
            raise RectbotError(f"{self.name} at {self.url} answers {path} with something else than JSON") from None


def _said(text: str) -> str:
    """The error in Prometheus's JSON, else the text itself, in one short line."""
    with suppress(ValueError, KeyError, TypeError):
        text = json.loads(text)["error"]
    return " ".join(str(text).split())[:300] or "no reason given"


def open_http() -> aiohttp.ClientSession:
    """The session for all of them: a few connections, whatever the number of pages."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    return aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=12, limit_per_host=6))
