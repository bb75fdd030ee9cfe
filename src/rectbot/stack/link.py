"""A site's way to Redis on one machine: a TCP relay that stands for the network between two hosts.

`rectbot site cut` freezes it with SIGSTOP. What a partition does then happens by itself: open connections hang, new
ones are accepted by the kernel and never answered, and what was on its way arrives late when the link heals.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal

from rectbot.errors import ConfigError

_BLOCK = 65536


def split_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`. Raises ConfigError for anything else."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"{text!r}: is not an address; write HOST:PORT, for example 127.0.0.1:6379")
    return host, int(port)


async def relay(listen: str, target: str) -> None:
    """Relays every connection to `listen` to `target` until SIGTERM or SIGINT."""
    host, port = split_address(listen)
    where = split_address(target)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection(*where)
        except OSError:
            writer.transport.abort()  # the other end is down: so is this one, then
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_copy(reader, there[1]))
                tasks.create_task(_copy(there[0], writer))
        finally:
            writer.transport.abort()
            there[1].transport.abort()

    try:
        server = await asyncio.start_server(connected, host, port)
    except OSError as error:
        raise ConfigError(f"{listen}: cannot be listened on ({error.strerror})") from None
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with server:
        await stop.wait()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # also of an end that has gone while we were frozen: ENOTCONN
        while block := await reader.read(_BLOCK):
            writer.write(block)
            await writer.drain()
        writer.write_eof()  # a half-closed connection stays half-closed
