"""Gateway sessions: what survives a broken socket, so that a client can RESUME."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

from localdiscord.world import GUILD_ID

REPLAY_LIMIT = 1000
RESUME_WINDOW_S = 180.0


class Socket(Protocol):
    """A websocket of the gateway, as far as others use it."""

    @property
    def site(self) -> str | None: ...

    async def send(self, payload: dict[str, Any]) -> None:
        """Sends a payload; one that cannot be delivered is left to the client's RESUME."""

    async def reconnect(self) -> None:
        """Asks the client to come again."""

    async def invalidate(self, *, resumable: bool) -> None:
        """Tells the client that it has no session any longer, or may resume it."""

    async def close(self, code: int, reason: str) -> None:
        """Closes the socket, with 1006 without a close frame; returns once it has ended."""


class Session:
    """A logged-in client: its sequence of events, and the socket it is attached to, if any."""

    def __init__(self, site: str | None, intents: int, shard: tuple[int, int]) -> None:
        self.id = secrets.token_hex(16)
        self.site = site
        self.intents = intents
        self.shard = shard
        self.sequence = 0
        self.connection: Socket | None = None
        self._replay: deque[dict[str, Any]] = deque(maxlen=REPLAY_LIMIT)
        self._detached_at = 0.0

    @property
    def serves_guild(self) -> bool:
        """Whether the server belongs to this session's shard."""
        return (int(GUILD_ID) >> 22) % self.shard[1] == self.shard[0]

    @property
    def resumable(self) -> bool:
        return self.connection is not None or time.monotonic() - self._detached_at < RESUME_WINDOW_S

    def attach(self, connection: Socket) -> None:
        self.connection = connection

    def detach(self) -> None:
        self.connection = None
        self._detached_at = time.monotonic()

    def event(self, name: str, data: Any) -> dict[str, Any]:
        """Numbers a dispatch and remembers it for a replay."""
        self.sequence += 1
        payload = {"op": 0, "t": name, "s": self.sequence, "d": data}
        self._replay.append(payload)
        return payload

    async def dispatch(self, name: str, data: Any) -> None:
        """Sends an event, or keeps it for the RESUME while the socket is away."""
        payload = self.event(name, data)
        if self.connection:
            await self.connection.send(payload)

    def missed(self, sequence: int) -> list[dict[str, Any]] | None:
        """The events after a sequence number; None when some of them are no longer kept."""
        missed = [payload for payload in self._replay if payload["s"] > sequence]
        return missed if len(missed) == self.sequence - sequence else None


class Sessions:
    """All sessions that are live or may be resumed."""

    def __init__(self) -> None:
        self._by_id: dict[str, Session] = {}

    def add(self, session: Session) -> None:
        self._by_id = {id_: kept for id_, kept in self._by_id.items() if kept.resumable}
        self._by_id[session.id] = session

    def find(self, id_: object) -> Session | None:
        session = self._by_id.get(id_) if isinstance(id_, str) else None
        return session if session and session.resumable else None

    def forget(self, session: Session) -> None:
        self._by_id.pop(session.id, None)

    def live(self, site: str | None = None) -> Iterator[Session]:
        """The sessions with a socket, of one site or (None) of all."""
        for session in list(self._by_id.values()):
            if session.connection and site in (None, session.site):
                yield session

    def subscribed(self, intent: int) -> list[Session]:
        """The sessions that asked for the server's events of an intent; those without a socket get them by RESUME."""
        return [s for s in self._by_id.values() if s.resumable and s.serves_guild and s.intents & intent]

    async def dispatch(self, name: str, data: Any, intent: int) -> None:
        """Sends an event of the server to every session that asked for it."""
        await asyncio.gather(*(session.dispatch(name, data) for session in self.subscribed(intent)))
