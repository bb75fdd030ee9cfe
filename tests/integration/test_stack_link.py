"""The relay that stands for the network between two hosts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from rectbot.stack import link
from servers import free_port
from servers_monitoring import until


class Echo:
    """Answers what it is sent in capitals, and after the end of that says goodbye."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                there, _ = self.server.accept()
                threading.Thread(target=self._answer, args=(there,), daemon=True).start()

    @staticmethod
    def _answer(there: socket.socket) -> None:
        with there, suppress(OSError):
            while block := there.recv(65536):
                there.sendall(block.upper())
            there.sendall(b"bye")


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.server.close()


@pytest.fixture
def relay(echo: Echo) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    process = subprocess.Popen(link.command(f"127.0.0.1:{port}", f"127.0.0.1:{echo.port}"), stderr=subprocess.PIPE)
    try:
        until(lambda: _answers(port), "it listens")
        yield process, port
    finally:
        process.kill()
        process.communicate()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def dial(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def read(sock: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size and (block := sock.recv(65536)):
        got += block
    return got


def test_everything_passes_both_ways_and_a_half_closed_connection_stays_so(
    relay: tuple[subprocess.Popen[bytes], int],
) -> None:
    _, port = relay
    with dial(port) as one, dial(port) as other:
        other.sendall(b"other")
        big = os.urandom(1) + b"x" * 3_000_000
        threading.Thread(target=one.sendall, args=(big,), daemon=True).start()
        assert read(one, len(big)) == big.upper()
        assert read(other, 5) == b"OTHER"
        one.shutdown(socket.SHUT_WR)
        assert read(one, 99) == b"bye"
        assert one.recv(9) == b""


def test_frozen_it_is_a_network_that_is_cut_and_what_was_on_its_way_comes_late(
    relay: tuple[subprocess.Popen[bytes], int],
) -> None:
    process, port = relay
    with dial(port) as old:
        old.sendall(b"a")
        assert read(old, 1) == b"A"
        process.send_signal(signal.SIGSTOP)
        old.sendall(b"b")
        with dial(port) as new:  # the kernel accepts it
            new.sendall(b"c")
            for sock in (old, new):
                sock.settimeout(0.5)
                with pytest.raises(TimeoutError):
                    sock.recv(1)
                sock.settimeout(30)
            process.send_signal(signal.SIGCONT)
            assert (read(old, 1), read(new, 1)) == (b"B", b"C")


def test_without_the_other_end_there_is_none_here(relay: tuple[subprocess.Popen[bytes], int], echo: Echo) -> None:
    _, port = relay
    echo.server.shutdown(socket.SHUT_RDWR)
    echo.server.close()
    with dial(port) as sock:
        sock.settimeout(30)
        with suppress(ConnectionResetError):
            assert sock.recv(1) == b""


def test_it_ends_at_once_when_asked_to_also_with_connections(relay: tuple[subprocess.Popen[bytes], int]) -> None:
    process, port = relay
    with dial(port) as sock:
        sock.sendall(b"a")
        assert read(sock, 1) == b"A"
        process.terminate()
        assert process.wait(20) == 0


@pytest.mark.parametrize("address", ["x", "127.0.0.1:", "127.0.0.1:99999", "192.0.2.1:1"])
def test_an_address_that_cannot_be_is_said_in_one_line(address: str) -> None:
    done = subprocess.run(link.command(address, "127.0.0.1:1"), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("rectbot: ")
    assert done.stderr.count("\n") == 1
