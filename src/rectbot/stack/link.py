"""A site's way to Redis on one machine: a TCP relay that stands for the network between two hosts.

`rectbot site cut` freezes it with SIGSTOP. What a partition does then happens by itself: open connections hang, new
ones are accepted by the kernel and never answered, and what was on its way arrives late when the link heals.

It is run as a file, by a Python with the standard library only, and with threads: there is one for each site, and a
command line with an event loop would take twice the memory.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import sys
import threading
from pathlib import Path
from typing import NoReturn

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))  # `-I -S` leaves it out, and all that we do not need with it

from rectbot.errors import ConfigError

_BLOCK = 65536
_STACK_BYTES = 256 * 1024
_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: what is closed is reset


def command(listen: str, target: str) -> tuple[str, ...]:
    """The command line of a relay."""
    return (sys.executable, "-I", "-S", __file__, listen, target)


def split_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`. Raises ConfigError for anything else."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"{text!r}: is not an address; write HOST:PORT, for example 127.0.0.1:6379")
    return host, int(port)


def relay(listen: str, target: str) -> NoReturn:
    """Relays every connection to `listen` to `target`, for ever. Raises ConfigError when it cannot be listened on."""
    where = split_address(target)
    threading.stack_size(_STACK_BYTES)
    try:
        server = socket.create_server(split_address(listen), backlog=128)
    except OSError as error:
        raise ConfigError(f"{listen}: cannot be listened on ({error.strerror})") from None
    while True:
        with contextlib.suppress(OSError, RuntimeError):  # it has gone again; there are no more threads
            here, _ = server.accept()
            threading.Thread(target=_serve, args=(here, where), daemon=True).start()


def _serve(here: socket.socket, where: tuple[str, int]) -> None:
    with here:
        try:
            there = socket.create_connection(where)
        except OSError:  # the other end is down: so is this one, then
            here.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            return
        with there:
            for each in (here, there):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=_copy, args=(there, here), daemon=True)
            back.start()
            _copy(here, there)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Until the end, which is passed on: a half-closed connection stays half-closed, and a broken one breaks."""
    try:
        while block := source.recv(_BLOCK):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def main() -> None:
    """The process: HOST:PORT to listen on, and HOST:PORT to relay to. SIGTERM ends it at once."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    try:
        relay(*sys.argv[1:3])
    except ConfigError as error:
        sys.exit(f"rectbot: {error}")


if __name__ == "__main__":
    main()
