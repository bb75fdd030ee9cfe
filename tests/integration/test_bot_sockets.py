"""The guarded sockets: seen from the wire, not from the client, nothing leaves once the lease is over."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from discord_helpers import until
from rectbot.bot.sockets import SocketGuard
from rectbot.failover import Lease
from rectbot.failover.clock import boottime_ms
from rectbot.stack.certificate import make


@dataclass
class Wire:
    """A TCP relay that counts what clients send, and connections."""

    port: int = 0
    sent: int = 0
    connections: int = 0
    ended: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


@asynccontextmanager
async def wire(target: int) -> AsyncIterator[Wire]:
    seen = Wire()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", target)

        async def down() -> None:
            while data := await up_reader.read(65536):
                writer.write(data)

        back = asyncio.create_task(down())
        try:
            while data := await reader.read(65536):
                seen.sent += len(data)
                up_writer.write(data)
        except ConnectionError:
            pass
        finally:
            seen.ended += 1
            back.cancel()
            up_writer.close()
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    seen.port = server.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        server.close()


def tls_contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a server, and of a client that trusts it."""
    certificate, key = make()
    pem = folder / "tls.pem"
    pem.write_text(key + certificate)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cadata=certificate)


@asynccontextmanager
async def web_server(context: ssl.SSLContext | None) -> AsyncIterator[int]:
    """A websocket that answers every message, and a page."""

    async def talk(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"got {message.data}")
        return socket

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="page")

    app = web.Application()
    app.router.add_get("/talk", talk)
    app.router.add_get("/page", page)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def talk_on(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Sends until that fails: aiohttp may take a frame before it finds the connection gone."""
    for _ in range(100):
        await socket.send_str("two")
        await asyncio.sleep(0)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("way", ["lease", "abort"])
async def test_nothing_leaves_after_the_end(tmp_path: Path, tls: bool, way: str) -> None:
    server, client = tls_contexts(tmp_path) if tls else (None, None)
    lease = Lease("oci", "me", 1, boottime_ms() + 60_000)
    guard = SocketGuard(lease)
    async with (
        web_server(server) as port,
        wire(port) as seen,
        aiohttp.ClientSession(connector=guard.connector()) as http,
    ):
        url = f"{'https' if tls else 'http'}://localhost:{seen.port}"
        async with http.get(f"{url}/page", ssl=client or True) as answer:
            assert await answer.text() == "page"
        socket = await http.ws_connect(f"{url}/talk", ssl=client or True)
        await socket.send_str("one")
        assert await socket.receive_str(timeout=5) == "got one"

        before, connections = seen.sent, seen.connections
        if way == "lease":
            lease.end()
        else:
            assert guard.abort() == connections
        with pytest.raises((ConnectionError, aiohttp.ClientError)):
            await talk_on(socket)
        await socket.close()
        for path in ("/page", "/talk"):
            with pytest.raises((aiohttp.ClientConnectionError, ConnectionError)):
                await http.get(url + path, ssl=client or True)
    assert (seen.sent, seen.connections) == (before, connections)
    await until(lambda: seen.ended == seen.connections)


async def test_data_that_waits_in_a_buffer_is_not_sent_either() -> None:
    """A peer reads nothing, so megabytes wait when the lease ends; then it reads all that it can get."""
    lease = Lease("oci", "me", 1, boottime_ms() + 60_000)
    guard = SocketGuard(lease)
    reading = asyncio.Event()
    received = bytearray()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await _handshake(reader))
        await reading.wait()
        try:
            while data := await reader.read(1 << 20):
                received.extend(data)
        except ConnectionError:
            pass
        finally:
            writer.close()
            done.set()

    done = asyncio.Event()
    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=1 << 16)
    port = server.sockets[0].getsockname()[1]
    total = 64 << 20
    async with aiohttp.ClientSession(connector=guard.connector()) as http:
        socket = await http.ws_connect(f"http://127.0.0.1:{port}/")
        sending = asyncio.create_task(socket.send_bytes(b"x" * total))
        await until(lambda: _waiting(socket) > 0)
        lease.end()
        reading.set()
        await asyncio.wait_for(done.wait(), 10)
        await asyncio.gather(sending, return_exceptions=True)
    assert 0 < len(received) < total
    server.close()


def _waiting(socket: aiohttp.ClientWebSocketResponse) -> int:
    transport = socket._writer.transport
    assert isinstance(transport, asyncio.WriteTransport)
    return transport.get_write_buffer_size()


async def _handshake(reader: asyncio.StreamReader) -> bytes:
    request = (await reader.readuntil(b"\r\n\r\n")).decode()
    key = next(line.split(": ")[1] for line in request.split("\r\n") if line.lower().startswith("sec-websocket-key"))
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
    accept = base64.b64encode(digest).decode()
    head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return f"{head}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
