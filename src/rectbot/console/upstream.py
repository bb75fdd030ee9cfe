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
from typing import Any, NamedTuple

import aiohttp

from rectbot.console.reach import Part, Reach, Unreachable
from rectbot.errors import RectbotError

TIMEOUT_SECONDS = 15.0
SILENT_SECONDS = 3.0  # a part that does not answer is not waited for longer
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


class _Question(NamedTuple):
    method: str
    path: str
    params: dict[str, str] | None = None
    body: Any = None


class Upstream:
    """One server's HTTP API that answers with JSON; `reach` is told whether it answers at all."""

    def __init__(
        self,
        name: Part,
        url: str,
        http: aiohttp.ClientSession,
        shared: Shared,
        reach: Reach,
        *,
        patience: float = TIMEOUT_SECONDS,
    ) -> None:
        self.name = name
        self.url = url.rstrip("/")
        self._http = http
        self._shared = shared
        self._reach = reach
        self._patience = patience

    async def get(self, path: str, params: dict[str, str] | None = None, seconds: float = 0) -> Any:
        """The JSON of a GET, at most `seconds` old. Raises Unreachable, or RectbotError for a refusal."""
        key = (self.name, path, tuple(sorted((params or {}).items())))
        question = _Question("GET", path, params)
        return await self._shared.get(key, seconds, lambda: self._json(question, self._patience))

    async def send(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of a request that changes something. Raises RectbotError."""
        return await self._json(_Question(method, path, body=body), TIMEOUT_SECONDS)

    async def text(self, path: str) -> str:
        """What a GET answers, if it is no JSON. Raises Unreachable, or RectbotError for a refusal."""
        return await self._text(self._http, _Question("GET", path), self._patience)

    async def probe(self, path: str) -> None:
        """Asks whether it is there, over a connection of its own: those for questions may all be waiting."""
        with suppress(RectbotError):
            async with aiohttp.ClientSession() as http:
                await self._text(http, _Question("GET", path), SILENT_SECONDS, absent=500)

    async def _json(self, question: _Question, patience: float) -> Any:
        if self._reach.unknown(self.name):
            patience = min(patience, SILENT_SECONDS)
        text = await self._text(self._http, question, patience)
        try:
            return json.loads(text) if text else None
        except ValueError:
            reason = f"{self.name} at {self.url} answers {question.path} with something else than JSON"
            raise self._reach.failed(self.name, reason) from None

    async def _text(
        self, http: aiohttp.ClientSession, question: _Question, patience: float, *, absent: int = 600
    ) -> str:
        """Raises Unreachable when nobody answers, or with a status from `absent` on; RectbotError for a refusal."""
        method, path, params, body = question
        limit = aiohttp.ClientTimeout(total=patience)
        try:
            async with http.request(method, self.url + path, params=params, json=body, timeout=limit) as answer:
                text = await answer.text()
        except TimeoutError:
            raise self._late(patience) from None
        except (aiohttp.ClientError, OSError):
            raise self._reach.failed(self.name, f"{self.name} at {self.url} does not answer") from None
        refusal = f"{self.name}: {answer.status}: {_said(text)}" if answer.status >= 400 else ""
        if answer.status >= absent:
            raise self._reach.failed(self.name, refusal)
        if answer.status >= 500:  # of one question, or of a proxy before a server that is not there: probes tell
            silent = self._reach.unknown(self.name)
            raise Unreachable(silent) if silent else RectbotError(refusal)
        self._reach.answered(self.name)
        if refusal:
            raise RectbotError(refusal)
        return text

    def _late(self, seconds: float) -> RectbotError:
        """One question that takes too long says nothing of the server, unless it is silent otherwise too."""
        reason = f"{self.name} at {self.url} does not answer within {seconds:.0f} s"
        if seconds > SILENT_SECONDS and self._reach.unknown(self.name) is None:
            return RectbotError(reason)
        return self._reach.failed(self.name, reason)


def _said(text: str) -> str:
    """The error in Prometheus's JSON, else the text itself, in one short line."""
    with suppress(ValueError, KeyError, TypeError):
        text = json.loads(text)["error"]
    return " ".join(str(text).split())[:300] or "no reason given"


def open_http() -> aiohttp.ClientSession:
    """The session for all of them: a few connections, whatever the number of pages."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    return aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=12, limit_per_host=6))
