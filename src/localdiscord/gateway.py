"""The gateway: one Connection for each websocket.

https://discord.com/developers/docs/events/gateway and .../topics/opcodes-and-status-codes#gateway
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from localdiscord.compression import Plain, encoder
from localdiscord.journal import Moment
from localdiscord.sessions import Session
from localdiscord.state import LocalDiscord
from localdiscord.world import APPLICATION_ID, GUILD_ID, PERSON_ID, PRIVILEGED_FLAGS

HEARTBEAT, IDENTIFY, PRESENCE, VOICE_STATE, RESUME, RECONNECT = 1, 2, 3, 4, 6, 7
REQUEST_MEMBERS, INVALID_SESSION, HELLO, HEARTBEAT_ACK, REQUEST_SOUNDS, REQUEST_CHANNEL_INFO = 8, 9, 10, 11, 31, 43

NAMES = {
    HEARTBEAT: "heartbeat",
    IDENTIFY: "identify",
    PRESENCE: "presence",
    VOICE_STATE: "voice_state",
    RESUME: "resume",
    REQUEST_MEMBERS: "request_members",
    REQUEST_SOUNDS: "request_sounds",
    REQUEST_CHANNEL_INFO: "request_channel_info",
}

GUILDS = 1 << 0
KNOWN_INTENTS = (1 << 17) - 1 | 0b11 << 20 | 0b11 << 24
PRIVILEGED_INTENTS = 1 << 1 | 1 << 8 | 1 << 15

MAX_PAYLOAD_BYTES = 4096
MAX_EVENTS, MAX_EVENTS_S = 120, 60.0
HEARTBEAT_TOLERANCE = 1.5  # of the interval, then the connection counts as a zombie
CLOSE_TIMEOUT_S = 1.0
_ACK_DELAY_S = 0.02

_numbers = itertools.count(1)


class Close(Exception):  # noqa: N818 - not an error: how a handler ends its connection
    """Ends the connection with a close code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


async def gateway(request: web.Request, discord: LocalDiscord) -> web.StreamResponse:
    """Serves one websocket to its end."""
    socket = web.WebSocketResponse(compress=False, timeout=CLOSE_TIMEOUT_S, max_msg_size=1 << 20)
    await socket.prepare(request)
    await Connection(discord, request, socket).run()
    return socket


class Connection:
    """One socket of the gateway, before and after its login."""

    def __init__(self, discord: LocalDiscord, request: web.Request, socket: web.WebSocketResponse) -> None:
        self.id = next(_numbers)
        self.site = request.match_info.get("site")
        self.session: Session | None = None
        self._discord = discord
        self._request = request
        self._socket = socket
        self._encoder = encoder(request.query.get("compress")) or Plain()
        self._sending = asyncio.Lock()
        self._how = ""
        self._closing: tuple[int, str] | None = None
        self._ended = asyncio.Event()
        self._received: deque[float] = deque()
        self._beat = asyncio.Event()
        self._interval_ms = discord.heartbeat_interval_ms
        self._handlers: dict[int, Callable[[Any, Moment], Awaitable[None]]] = {
            HEARTBEAT: self._on_heartbeat,
            IDENTIFY: self._on_identify,
            PRESENCE: self._on_presence,
            VOICE_STATE: self._on_other,
            RESUME: self._on_resume,
            REQUEST_MEMBERS: self._on_request_members,
            REQUEST_SOUNDS: self._on_other,
            REQUEST_CHANNEL_INFO: self._on_other,
        }

    def note(self, event: str, at: Moment | None = None, **details: Any) -> None:
        """Enters an event of this connection in the journal."""
        session = self.session.id if self.session else None
        self._discord.journal.add(event, site=self.site, session=session, at=at, connection=self.id, **details)

    async def run(self) -> None:
        """Speaks the protocol until either side closes."""
        self.note("socket_open", compress=self._request.query.get("compress"))
        self._discord.connections.add(self)
        self._listener = asyncio.create_task(self._listen())
        watchdog = asyncio.create_task(self._watch_heartbeats())
        code = int(WSCloseCode.ABNORMAL_CLOSURE)
        try:
            code = await self._listener
        except Close as close:
            self._closing = (close.code, str(close))
        except asyncio.CancelledError:
            if self._closing is None:  # not close(): this request itself is cancelled
                raise
        finally:
            watchdog.cancel()
            await self._shut()
            self._finish(code)

    async def _listen(self) -> int:
        """Handles messages until the client ends the socket; its close code, 1006 if it sent none."""
        await self._greet()
        while True:
            message = await self._socket.receive()
            if message.type is WSMsgType.CLOSE:
                return int(message.data)
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return int(WSCloseCode.ABNORMAL_CLOSURE)
            await self._receive(message.data)

    async def _greet(self) -> None:
        query = self._request.query
        self._hang_up("open")
        if query.get("v", "10") != "10":
            raise Close(4012, "Invalid API version.")
        if query.get("encoding", "json") != "json":
            raise Close(4002, "Only encoding=json is spoken here.")
        if encoder(query.get("compress")) is None:
            raise Close(4002, "Unknown transport compression.")
        await self.send(
            {"op": HELLO, "s": None, "t": None, "d": {"heartbeat_interval": self._interval_ms, "_trace": []}}
        )
        self._hang_up("hello")

    def _hang_up(self, when: str) -> None:
        if self._discord.faults.of(self.site).hang_up == when:
            raise Close(4000, "Unknown error.")

    async def _receive(self, data: str | bytes) -> None:
        now = Moment.now()
        self._limit_rate()
        op, payload = _decode(data)
        handler = self._handlers.get(op)
        if handler is None:
            raise Close(4001, "Unknown opcode.")
        if self.session is None and op not in (HEARTBEAT, IDENTIFY, RESUME):
            raise Close(4003, "Not authenticated.")
        await handler(payload, now)

    def _limit_rate(self) -> None:
        now = time.monotonic()
        self._received.append(now)
        while now - self._received[0] >= MAX_EVENTS_S:
            self._received.popleft()
        if len(self._received) > MAX_EVENTS:
            raise Close(4008, "You are being rate limited.")

    # What the client sends

    async def _on_heartbeat(self, data: Any, now: Moment) -> None:
        self._beat.set()
        self.note("heartbeat", now, sequence=data)
        if self._discord.faults.of(self.site).ack_heartbeats:
            # discord.py notes when it sent a heartbeat after the sending; over loopback the answer would overtake that,
            # and the bot's latency be that of the heartbeat before.
            await asyncio.sleep(_ACK_DELAY_S)
            await self.send({"op": HEARTBEAT_ACK, "s": None, "t": None, "d": None})

    async def _on_identify(self, data: Any, now: Moment) -> None:
        self.note("identify", now)
        if self.session:
            raise Close(4005, "Already authenticated.")
        self._authenticate(data)
        shard, intents = _check_shard(data.get("shard")), self._check_intents(data.get("intents"))
        if not isinstance(data.get("properties"), dict):
            raise Close(4002, "Error while decoding payload: properties are missing.")
        if not self._discord.logins.spend():
            await self._discord.reset_token()
            raise Close(4004, "Authentication failed.")
        if not self._discord.logins.admit():
            await self.invalidate(resumable=False)
            return
        session = Session(self.site, intents, shard)
        self._discord.sessions.add(session)
        self._open(session, "identify", now)
        if isinstance(data.get("presence"), dict):
            self._show_presence(data["presence"], now)
        await self._welcome(session, with_shard="shard" in data)

    async def _welcome(self, session: Session, *, with_shard: bool) -> None:
        world = self._discord.world
        ready: dict[str, Any] = {
            "v": 10,
            "user": world.bot,
            "guilds": [{"id": GUILD_ID, "unavailable": True}] if session.serves_guild else [],
            "session_id": session.id,
            "session_type": "normal",
            "resume_gateway_url": self._discord.gateway_url(self._request),
            "private_channels": [],
            "relationships": [],
            "application": {"id": APPLICATION_ID, "flags": world.application["flags"]},
        }
        if with_shard:
            ready["shard"] = list(session.shard)
        await session.dispatch("READY", ready)
        self.note("ready")
        if session.serves_guild and session.intents & GUILDS:
            await session.dispatch("GUILD_CREATE", world.guild_create())

    async def _on_resume(self, data: Any, now: Moment) -> None:
        self.note("resume", now, of=data.get("session_id") if isinstance(data, dict) else None)
        if self.session:
            raise Close(4005, "Already authenticated.")
        self._authenticate(data)
        session = self._discord.sessions.find(data.get("session_id"))
        sequence = data.get("seq")
        if session is None or not isinstance(sequence, int):
            await self.invalidate(resumable=False)
            return
        if sequence > session.sequence:
            raise Close(4007, "Invalid seq.")
        missed = session.missed(sequence)
        if missed is None:
            await self.invalidate(resumable=False)
            return
        if session.connection:
            await session.connection.close(4000, "Resumed elsewhere.")
        self._open(session, "resume", now)
        async with self._sending:
            for payload in missed:
                await self._send(payload)
            await self._send(session.event("RESUMED", {"_trace": []}))
        self.note("resumed", replayed=len(missed))

    async def _on_presence(self, data: Any, now: Moment) -> None:
        if not isinstance(data, dict) or not isinstance(data.get("activities"), list):
            raise Close(4002, "Error while decoding payload: not a presence.")
        self._show_presence(data, now)

    def _show_presence(self, presence: dict[str, Any], now: Moment) -> None:
        # discord.py still sends the single `game` of older versions with its IDENTIFY.
        activities = presence.get("activities") or [presence.get("game")]
        names = [activity["name"] for activity in activities if isinstance(activity, dict) and "name" in activity]
        self.note("presence", now, status=presence.get("status"), activities=names)

    async def _on_request_members(self, data: Any, now: Moment) -> None:
        self.note("request_members", now)
        if not isinstance(data, dict) or str(data.get("guild_id")) != GUILD_ID or self.session is None:
            raise Close(4002, "Error while decoding payload: unknown guild.")
        world = self._discord.world
        ids = [str(id_) for id_ in data.get("user_ids") or (APPLICATION_ID, PERSON_ID)]
        chunk = {
            "guild_id": GUILD_ID,
            "members": [world.member(id_) for id_ in ids if id_ in world.users],
            "not_found": [id_ for id_ in ids if id_ not in world.users],
            "chunk_index": 0,
            "chunk_count": 1,
            "nonce": data.get("nonce"),
        }
        await self.session.dispatch("GUILD_MEMBERS_CHUNK", chunk)

    async def _on_other(self, _data: Any, now: Moment) -> None:
        self.note("frame", now)

    def _authenticate(self, data: Any) -> None:
        if not isinstance(data, dict):
            raise Close(4002, "Error while decoding payload.")
        self._hang_up("login")
        faults = self._discord.faults.of(self.site)
        if faults.refuse_logins:
            raise Close(4000, "Unknown error.")
        if faults.invalid_token or not self._discord.is_token(data.get("token")):
            raise Close(4004, "Authentication failed.")

    def _check_intents(self, intents: Any) -> int:
        if not isinstance(intents, int) or isinstance(intents, bool) or intents < 0 or intents & ~KNOWN_INTENTS:
            raise Close(4013, "Invalid intent(s).")
        if intents & PRIVILEGED_INTENTS and not self._discord.world.application["flags"] & PRIVILEGED_FLAGS:
            raise Close(4014, "Disallowed intent(s).")
        return intents

    def _open(self, session: Session, how: str, at: Moment) -> None:
        self.session, self._how = session, how
        session.attach(self)
        self.note("session_open", at, how=how, shard=list(session.shard))

    # What we send

    async def send(self, payload: dict[str, Any]) -> None:
        """Sends one payload; one that cannot be delivered is left to the client's RESUME."""
        async with self._sending:
            await self._send(payload)

    async def _send(self, payload: dict[str, Any]) -> None:
        delay_ms = self._discord.faults.of(self.site).delay_ms
        if delay_ms:
            await asyncio.sleep(delay_ms / 1000)
        message = self._encoder.encode(json.dumps(payload, separators=(",", ":")))
        try:
            if isinstance(message, str):
                await self._socket.send_str(message)
            else:
                await self._socket.send_bytes(message)
        except ConnectionError:
            return
        if payload["op"] == 0:
            self.note("dispatch", type=payload["t"], sequence=payload["s"])

    async def reconnect(self) -> None:
        """Asks the client to reconnect and resume (op 7)."""
        self.note("reconnect")
        await self.send({"op": RECONNECT, "s": None, "t": None, "d": None})

    async def invalidate(self, *, resumable: bool) -> None:
        """Tells the client that it has no session (op 9), or none any longer."""
        self.note("invalid_session", resumable=resumable)
        if self.session and not resumable:
            self._discord.sessions.forget(self.session)
        await self.send({"op": INVALID_SESSION, "s": None, "t": None, "d": resumable})

    async def close(self, code: int, reason: str) -> None:
        """Closes the socket with a close code, 1006 without a close frame; returns once it has ended."""
        if self._closing is None:
            self._closing = (code, reason)
            self._listener.cancel()
        await self._ended.wait()

    async def _shut(self) -> None:
        if self._closing is None:
            return
        transport = self._request.transport
        if self._closing[0] != WSCloseCode.ABNORMAL_CLOSURE:
            # Waits for the client's close frame, but not long: a paused client sends none.
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(2 * CLOSE_TIMEOUT_S):
                    await self._socket.close(code=self._closing[0], message=self._closing[1].encode())
        # A reset would take what the client has not read yet, our close frame included: only where that is meant.
        if transport and (self._closing[0] == WSCloseCode.ABNORMAL_CLOSURE or transport.get_write_buffer_size()):
            transport.abort()

    async def _watch_heartbeats(self) -> None:
        limit_s = self._interval_ms / 1000 * HEARTBEAT_TOLERANCE
        try:
            while True:
                async with asyncio.timeout(limit_s):
                    await self._beat.wait()
                self._beat.clear()
        except TimeoutError:
            self.note("zombie")
            await self.close(4000, "Heartbeats stopped.")

    def _finish(self, client_code: int) -> None:
        by_server = self._closing is not None
        code, reason = self._closing or (client_code, "closed by the client")
        ending: dict[str, Any] = {"code": code, "reason": reason, "by_server": by_server}
        session = self.session
        if session:
            self.note("session_close", how=self._how, shard=list(session.shard), **ending)
            if session.connection is self:
                session.detach()
            if not by_server and code in (1000, 1001):
                self._discord.sessions.forget(session)
        self.note("socket_close", **ending)
        self._discord.connections.discard(self)
        self._ended.set()


def _decode(data: str | bytes) -> tuple[int, Any]:
    if len(data) > MAX_PAYLOAD_BYTES:
        raise Close(4002, "Payload is larger than 4096 bytes.")
    try:
        payload = json.loads(data)
        op = payload["op"]
    except (ValueError, KeyError, TypeError):
        raise Close(4002, "Error while decoding payload.") from None
    if not isinstance(op, int):
        raise Close(4002, "Error while decoding payload.")
    return op, payload.get("d")


def _check_shard(shard: Any) -> tuple[int, int]:
    if shard is None:
        return (0, 1)
    try:
        number, count = shard
        if not 0 <= int(number) < int(count):
            raise ValueError
    except (TypeError, ValueError):
        raise Close(4010, "Invalid shard.") from None
    return (int(number), int(count))
