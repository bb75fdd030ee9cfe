"""Whatever stands in the way to Redis is told in one line: what, where, and how to mend it. With real servers."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from addresses import swallowing
from rectbot.errors import ConfigError
from rectbot.failover.endpoint import Endpoint, parse_url
from rectbot.failover.resp import Connection, Disconnected, ServerError
from servers import PASSWORD, RedisServer, free_port, redis_server
from servers_monitoring import make_certificate, push_proxy, until

WORDS = ("EVAL", "return redis.call('SET', KEYS[1], '1')", 1, "rectbot:leader")  # what a lease does, in short


@dataclass
class Doors:
    """A Redis with and without TLS."""

    redis: RedisServer
    tls_port: int
    certificate: Path

    def plain(self, **changes: Any) -> Endpoint:
        return replace(Endpoint("127.0.0.1", self.redis.port, password=PASSWORD), **changes)

    def tls(self, **changes: Any) -> Endpoint:
        endpoint = Endpoint("localhost", self.tls_port, password=PASSWORD, tls=True, cacert=self.certificate)
        return replace(endpoint, **changes)


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[Doors]:
    make_certificate(tmp_path)
    port = free_port()
    more = (
        f"tls-port {port}\ntls-auth-clients no\ntls-cert-file {tmp_path}/tls.crt\ntls-key-file {tmp_path}/tls.key\n"
        "user reader on >reader-secret ~* &* +@read +select\nenable-protected-configs yes\n"
    )
    with redis_server(tmp_path / "redis", more=more) as redis:
        yield Doors(redis, port, tmp_path / "tls.crt")


async def attempt(endpoint: Endpoint, *words: str | int) -> Any:
    async with asyncio.timeout(20):
        connection = await Connection.open(endpoint)
        try:
            return await connection.call(*(words or WORDS))
        finally:
            connection.abort()


def told(endpoint: Endpoint, *words: str | int, kind: type[Exception] = Disconnected) -> str:
    """What is said, after a look at how."""
    with pytest.raises(kind) as caught:
        asyncio.run(attempt(endpoint, *words))
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 400
    assert str(endpoint) in text, "where"
    for secret in filter(None, (endpoint.password, PASSWORD)):
        assert secret not in text
    return text


def test_the_doors_are_open(doors: Doors) -> None:
    for endpoint in (doors.plain(), doors.tls()):
        assert asyncio.run(attempt(endpoint)) == b"OK"


@contextmanager
def saying(answer: bytes, *, wait: bool = True, reset: bool = False) -> Iterator[int]:
    """A server that says the same to everybody (when they have spoken, or at once), and hangs up."""

    def serve(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(10)
            if wait:
                client.recv(4096)
            client.sendall(answer)
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                return
            client.shutdown(socket.SHUT_WR)
            while client.recv(4096):
                pass

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


CLOSED = "closed the connection before the first answer: if the port is for TLS, set REDIS_TLS=true"
NO_TLS = "no TLS is spoken on this port: correct REDIS_PORT"
SHUT_OUT = (
    "before TLS began: perhaps this host's address is not allowed there: on its host 'rectbot init --allow ADDRESS'"
)


@pytest.mark.parametrize(
    ("answer", "plain", "tls"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", r"something else answers .* not Redis \('SSH-2.0-OpenSSH_9.2p1'\)", NO_TLS),
        (b"220 mail.example.org ESMTP\r\n", r"something else answers there, and not Redis \('220 mail", NO_TLS),
        (b"J\x00\x00\x00\n8.0.36\x00\x0b", r"something else answers there, and not Redis \('J\?\?\?'\)", NO_TLS),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", r"a web server answers there, and not Redis \('HTTP/1.1 400", NO_TLS),
        (b"<!DOCTYPE HTML>\n", r"a web server answers there, and not Redis", NO_TLS),
        (
            b"\x15\x03\x01\x00\x02\x02\x46",
            "TLS is spoken on this port: set REDIS_TLS=true, or write rediss://",
            "TLS failed",
        ),
        (b"", CLOSED, SHUT_OUT),
        (b":twelve\r\n", "something else answers there", NO_TLS),
        (b"$99999999999\r\n", "something else answers there", NO_TLS),
        (b"+OK", CLOSED, SHUT_OUT),
        (
            f"-ERR unknown command 'AUTH', with args beginning with: '{PASSWORD}'\r\n".encode(),
            r"lacks a command.*\*\*\*",
            NO_TLS,
        ),
        (b"-ERR max number of clients reached\r\n", "takes no more connections: raise its maxclients", NO_TLS),
        (
            b"-DENIED Redis is running in protected mode because\r\n",
            "in protected mode, .*: give it a password",
            NO_TLS,
        ),
    ],
)
@pytest.mark.parametrize("wait", [True, False])
def test_something_else_answers(answer: bytes, plain: str, tls: str, wait: bool, doors: Doors) -> None:
    with saying(answer, wait=wait) as port:
        kind = ServerError if answer[:1] == b"-" else Disconnected
        assert re.search(plain, told(doors.plain(port=port), kind=kind))
        assert re.search(tls, told(doors.tls(host="127.0.0.1", port=port)))


def test_a_proxy_that_resets_whom_it_does_not_allow(doors: Doors) -> None:
    with saying(b"", wait=False, reset=True) as port:
        text = told(doors.tls(host="127.0.0.1", port=port))
    assert "perhaps this host's address is not allowed there: on its host 'rectbot init --allow ADDRESS'" in text


def test_a_real_web_server_with_and_without_tls(doors: Doors, tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert "a web server answers there, and not Redis" in told(doors.plain(port=server.server_port))
        finally:
            server.shutdown()
            thread.join()
    (tmp_path / "nginx").mkdir()
    for file in ("tls.crt", "tls.key"):
        shutil.copy(tmp_path / file, tmp_path / "nginx" / file)
    with push_proxy(tmp_path / "nginx", 9) as proxy:
        assert "a web server answers there, and not Redis ('HTTP/1.1 400" in told(doors.tls(port=proxy.port))
        assert "correct REDIS_PORT" in told(doors.tls(port=proxy.port))


def test_tls_on_one_side_only(doors: Doors) -> None:
    text = told(doors.plain(port=doors.tls_port))
    assert "set REDIS_TLS=true" in text
    text = told(doors.tls(port=doors.redis.port))
    assert "unset REDIS_TLS" in text or "it speaks no TLS" in text


def test_who_takes_the_connection_and_says_nothing(doors: Doors) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert "no answer within 4 s: it takes the connection and says nothing" in told(doors.plain(port=port))
        assert "it takes the connection, but speaks no TLS" in told(doors.tls(host="127.0.0.1", port=port))


def test_who_is_not_there(doors: Doors, tmp_path: Path) -> None:
    assert "Connection refused: start it, or correct REDIS_PORT" in told(doors.plain(port=free_port()))
    assert "is not found" in told(doors.plain(host="no-such-host.invalid."))
    assert "correct REDIS_HOST" in told(doors.plain(host="a..b"))
    assert "No such file or directory: correct the path in REDIS_URL" in told(Endpoint(path=str(tmp_path / "none")))
    with swallowing("127.0.0.1") as port:
        assert "s: is the host up, and the port open in its firewall?" in told(doors.plain(port=port))


@pytest.mark.parametrize(
    ("names", "days", "host", "word"),
    [
        (("other.test",), 30, "localhost", r"for another name than localhost: .* 'rectbot init --host localhost'"),
        (("localhost",), 30, "127.0.0.1", r"for another name than 127.0.0.1: write a name that it has"),
        (("localhost",), -1, "localhost", r"has expired: renew it on its host with 'rectbot init --rotate tls'"),
    ],
)
def test_a_certificate_that_does_not_fit(
    names: tuple[str, ...], days: int, host: str, word: str, tmp_path: Path
) -> None:
    make_certificate(tmp_path, names, days=days)
    port = free_port()
    files = f"tls-cert-file {tmp_path}/tls.crt\ntls-key-file {tmp_path}/tls.key\n"
    with redis_server(tmp_path / "redis", more=f"tls-port {port}\ntls-auth-clients no\n{files}"):
        endpoint = Endpoint(host, port, password=PASSWORD, tls=True, cacert=tmp_path / "tls.crt")
        assert re.search(word, told(endpoint))
        assert "is not trusted" in told(replace(endpoint, cacert=None)) or days < 0


def test_a_certificate_file_that_is_none(doors: Doors, tmp_path: Path) -> None:
    (tmp_path / "not.crt").write_text("hello")
    for name, word in {
        "not.crt": "is not a certificate in PEM",
        "gone.crt": "No such file",
        ".": "Is a directory",
    }.items():
        with pytest.raises(ConfigError, match=rf"REDIS_CACERT=.*: {word}"):
            asyncio.run(attempt(doors.tls(cacert=tmp_path / name)))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"password": "wrong-secret"}, "refuses the login: correct REDIS_PASSWORD"),
        ({"password": ""}, "it wants a password: set REDIS_PASSWORD"),
        ({"username": "nobody"}, "refuses the login: correct REDIS_PASSWORD or REDIS_USER"),
        ({"username": "reader", "password": "wrong-secret"}, "refuses the login: correct REDIS_PASSWORD or REDIS_USER"),
        ({"db": 99}, "has no database 99: correct REDIS_DB"),
    ],
)
def test_a_login_that_is_refused(changes: dict[str, Any], word: str, doors: Doors) -> None:
    for endpoint in (doors.plain(**changes), doors.tls(**changes)):
        assert word in told(endpoint, kind=ConfigError)


def test_a_password_where_none_is_wanted(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis", more="requirepass ''\n")
    with contextlib.ExitStack() as stack:
        stack.callback(server.kill)
        with pytest.raises(AssertionError):
            server.start()  # the helper's own login is refused, too
        text = told(Endpoint("127.0.0.1", server.port, password="a-secret"), kind=ConfigError)
        assert "it has no password: unset REDIS_PASSWORD" in text


def _script_that_never_ends(redis: RedisServer) -> AbstractContextManager[None]:
    @contextmanager
    def busy() -> Iterator[None]:
        redis.command("CONFIG SET busy-reply-threshold 50")
        with socket.create_connection(("127.0.0.1", redis.port)) as link:
            link.sendall(f"AUTH {PASSWORD}\r\nEVAL 'while true do end' 0\r\n".encode())
            until(lambda: redis.command("GET x").startswith(b"-BUSY"), "it is busy")
            try:
                yield
            finally:
                redis.command("SCRIPT KILL")

    return busy()


def _folder_that_is_gone(redis: RedisServer) -> None:
    gone = redis.folder / "gone"
    gone.mkdir()
    redis.command(f"CONFIG SET dir {gone}")
    gone.rmdir()
    redis.command("CONFIG SET save '1 1'")
    redis.command("SET a b")
    redis.command("BGSAVE")
    until(lambda: redis.command("SET a b").startswith(b"-MISCONF"), "a save has failed", 30)


ILL: dict[str, tuple[Callable[[RedisServer], Any] | tuple[str, ...], str, str]] = {
    "a replica": (
        ("REPLICAOF 127.0.0.1 9",),
        "READONLY",
        "it is a read-only replica: name the master, or the Sentinels",
    ),
    "a lost replica": (("CONFIG SET replica-serve-stale-data no", "REPLICAOF 127.0.0.1 9"), "", "replica"),
    "without replicas": (("CONFIG SET min-replicas-to-write 1",), "NOREPLICAS", "fewer replicas than its min-replicas"),
    "full memory": (("CONFIG SET maxmemory 1",), "OOM", "its memory is full: raise its maxmemory"),
    "another's key": (("LPUSH rectbot:leader x",), "WRONGTYPE", "another program uses our keys: set LEADER_LOCK_KEY"),
    "an endless script": (_script_that_never_ends, "BUSY", "'redis-cli SCRIPT KILL' ends that"),
    "a failed save": (_folder_that_is_gone, "MISCONF", "it cannot write to its disk: free some space"),
}


@pytest.mark.parametrize("name", ILL)
def test_a_redis_that_is_ill(name: str, doors: Doors) -> None:
    """And the connection is not kept: its name may lead to another server by now."""
    make_ill, code, word = ILL[name]
    words = ("GET", "rectbot:leader") if name in ("another's key", "an endless script") else WORDS
    with contextlib.ExitStack() as stack:
        if callable(make_ill):
            if (held := make_ill(doors.redis)) is not None:
                stack.enter_context(held)
        else:
            for line in make_ill:
                assert doors.redis.command(line)[:1] in b"+:", line
        text = told(doors.plain(), *words, kind=ServerError)
        assert word in text
        assert code in text
        assert asyncio.run(_closed_by_its_error(doors.plain(), *words))


async def _closed_by_its_error(endpoint: Endpoint, *words: str | int) -> bool:
    try:
        connection = await Connection.open(endpoint)
    except ServerError:  # BUSY is an answer to the login, too
        return True
    try:
        assert not connection.closed
        with contextlib.suppress(ServerError):
            await connection.call(*words)
        return connection.closed
    finally:
        connection.abort()


async def test_a_script_that_is_not_known_is_no_reason_to_leave(doors: Doors) -> None:
    connection = await Connection.open(doors.plain())
    with pytest.raises(ServerError, match="NOSCRIPT"):
        await connection.call("EVALSHA", "0" * 40, 0)
    assert not connection.closed
    with pytest.raises(ServerError):
        await connection.call("EVAL", "return {1, {err = 'READONLY inside an answer'}, 2}", 0)
    assert connection.closed, "the rest of that answer is still to come"


def test_a_user_without_the_rights(doors: Doors) -> None:
    endpoint = doors.plain(username="reader", password="reader-secret")
    assert "the user may not do that: docs/redis.md lists the rights (NOPERM" in told(endpoint, kind=ServerError)


def test_a_redis_that_is_still_loading(tmp_path: Path) -> None:
    """Redis' own switch for tests makes it slow: so many microseconds a key."""
    with redis_server(tmp_path / "redis", persistent=False, more="rdbcompression no\n") as redis:
        for number in range(200):
            redis.command(f"SET key{number} {'x' * 1000}")
        assert redis.command("SAVE") == b"+OK\r\n"
        redis.kill()
        redis.more = "key-load-delay 30000\nloading-process-events-interval-bytes 1024\n"
        redis.launch()
        until(lambda: _answers_loading(redis), "it loads")
        text = told(Endpoint("127.0.0.1", redis.port, password=PASSWORD), kind=ServerError)
        assert "it is still reading its data from the disk: wait for that (LOADING" in text


def _answers_loading(redis: RedisServer) -> bool:
    with contextlib.suppress(OSError):
        return redis.command("GET x").startswith(b"-LOADING")
    return False


def test_a_cluster(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis", more="cluster-enabled yes\n") as redis:
        endpoint = Endpoint("127.0.0.1", redis.port, password=PASSWORD)
        assert "it is a Redis Cluster; the lease needs a single Redis" in told(endpoint, kind=ServerError)


WRONG_URLS = {
    "redis://:s3cret@:6379/0": "it has no host",
    "redis://": "it has no host",
    "redis://:s3cret@h:70000": "the port is no number from 1 to 65535",
    "redis://:s3cret@h:0": "the port is no number from 1 to 65535",
    "redis://:s3cret@h:port": "the port is no number from 1 to 65535",
    "redis://:s3cret/x@h:6379": "write @ / ? # % as",
    "redis://:s3cret#x@h:6379": "write @ / ? # % as",
    "redis://:s3cret@h/zero": "the database is no number",
    "redis://:s3cret@h/-1": "the database is no number",
    "redis://:s3cret@2001:db8::1:6379": "write an IPv6 address in brackets",
    "redis://:s3cret@[2001:db8::1": "write an IPv6 address in brackets",
    "redis://:s3cret@h h": "the host is no name",
    "redis+sentinel://:s3cret@h,i": "the master has no name",
    "http://:s3cret@h:6379": "write redis://",
    "h:6379": "write redis://",
}


@pytest.mark.parametrize("url", WRONG_URLS)
def test_a_url_that_is_wrong(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_url(url)
    text = str(caught.value)
    assert text.startswith("REDIS_URL is wrong")
    assert WRONG_URLS[url] in text
    assert "s3cret" not in text
    assert "\n" not in text


def test_an_ipv6_address_may_have_its_brackets() -> None:
    assert str(parse_url("redis://[::1]:6380/1")) == "[::1]:6380"
    assert parse_url("redis+sentinel://[::1],[::2]:5,three/m").sentinels == (
        ("::1", 26379),
        ("::2", 5),
        ("three", 26379),
    )
