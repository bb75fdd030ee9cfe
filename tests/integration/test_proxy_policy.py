"""Who and what gets through nginx to the Pushgateway, with the committed nginx.conf and the real servers."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from servers import free_port
from servers_monitoring import (
    CONFIG,
    PASSWORD,
    Proxy,
    changed,
    lay_out_proxy,
    push_proxy,
    pushed_groups,
    pushgateway,
)

BODY = b"some_metric 1\n"
RIGHT = urllib3.make_headers(basic_auth=f"prom:{PASSWORD}")
WRONG = urllib3.make_headers(basic_auth="prom:wrong")
NOBODY = urllib3.make_headers(basic_auth=f"eve:{PASSWORD}")
OUTSIDER = "127.0.0.2"  # a loopback address that the allowlist does not have


@dataclass(frozen=True)
class Stack:
    """A proxy, and the port of the Pushgateway behind it."""

    proxy: Proxy
    behind: int

    def ask(self, method: str, path: str, headers: dict[str, str], body: Any = BODY, source: str | None = None) -> int:
        """The status of the answer to one request through the proxy."""
        address = (source, 0) if source else None
        context = ssl.create_default_context(cafile=self.proxy.certificate)
        with urllib3.PoolManager(ssl_context=context, source_address=address, retries=False, timeout=20) as pool:
            return pool.request(method, self.proxy.url(path), headers=headers, body=body, redirect=False).status

    def turned_away(self, source: str, headers: dict[str, str]) -> bool:
        """Whether a push from an address ends before TLS has begun: not a byte comes back."""
        with socket.create_connection(("127.0.0.1", self.proxy.port), timeout=20, source_address=(source, 0)) as plain:
            try:
                nothing = plain.recv(1) == b""
            except ConnectionResetError:
                nothing = True
        with pytest.raises((urllib3.exceptions.SSLError, urllib3.exceptions.ProtocolError)):
            self.ask("PUT", "/metrics/job/outsider", headers, source=source)
        return nothing

    def jobs(self) -> set[str]:
        """What the Pushgateway has been pushed."""
        return set(pushed_groups(self.behind))


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("proxy")
    with pushgateway(folder) as behind, push_proxy(folder / "nginx", behind) as proxy:
        yield Stack(proxy, behind)


@pytest.fixture
def stack(servers: Stack) -> Iterator[Stack]:
    """The running stack; after the test it must still take a push."""
    yield servers
    assert servers.ask("PUT", "/metrics/job/afterwards", RIGHT) == 200
    assert "afterwards" in servers.jobs()


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_the_right_password_from_an_allowed_address_pushes(method: str, stack: Stack) -> None:
    assert stack.ask(method, f"/metrics/job/{method}/instance/a", RIGHT) == 200
    assert method in stack.jobs()


@pytest.mark.parametrize("headers", [{}, WRONG, NOBODY, {"Authorization": "Bearer x"}, {"Authorization": "Basic !"}])
def test_without_the_right_password_nothing_gets_in(headers: dict[str, str], stack: Stack) -> None:
    assert stack.ask("PUT", "/metrics/job/intruder", headers) == 401
    assert "intruder" not in stack.jobs()


@pytest.mark.parametrize("headers", [RIGHT, WRONG, {}])
def test_another_address_is_refused_with_any_password(headers: dict[str, str], stack: Stack) -> None:
    """Before TLS: it costs the proxy nothing, and tells the stranger nothing."""
    assert stack.turned_away(OUTSIDER, headers)
    assert "outsider" not in stack.jobs()


def test_an_address_cannot_be_claimed_in_a_header(stack: Stack) -> None:
    claims = {**RIGHT, "X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "Forwarded": "for=127.0.0.1"}
    assert stack.turned_away(OUTSIDER, claims)


def test_an_address_cannot_be_claimed_in_front_of_tls(stack: Stack) -> None:
    """The PROXY protocol is for the inside: from a client it is no TLS."""
    with socket.create_connection(("127.0.0.1", stack.proxy.port), timeout=20) as plain:
        plain.sendall(b"PROXY TCP4 10.0.0.1 10.0.0.2 1 9443\r\n")
        assert plain.recv(100).startswith(b"HTTP/1.1 400 "), "no TLS"


def test_without_tls_it_is_a_bad_request(stack: Stack) -> None:
    url = f"http://127.0.0.1:{stack.proxy.port}/metrics/job/plain"
    answer = urllib3.request("PUT", url, headers=RIGHT, body=BODY, retries=False)
    assert answer.status == 400
    assert b"HTTP request was sent to HTTPS port" in answer.data
    assert "plain" not in stack.jobs()


def test_a_malformed_body_is_refused_by_the_pushgateway(stack: Stack) -> None:
    assert stack.ask("PUT", "/metrics/job/malformed", RIGHT) == 200
    assert stack.ask("PUT", "/metrics/job/malformed", RIGHT, body=b"this is { not a metric\n") == 400
    group = pushed_groups(stack.behind)["malformed"]
    assert group["some_metric"]["metrics"][0]["value"] == "1"


def test_a_body_of_50_mb_is_refused_before_it_is_sent_on(stack: Stack) -> None:
    """Also without a Content-Length, and without a password."""
    megabyte = b"# comment\n" * 100_000
    for headers in (RIGHT, {}):
        assert stack.ask("PUT", "/metrics/job/large", headers, body=megabyte * 50) == 413
    assert "large" not in stack.jobs()


def _sent_in_chunks(link: ssl.SSLSocket, chunks: int) -> bytes:
    """The answer to a body of so many chunks of 64 KiB, which may come early; nothing if the connection is cut."""
    try:
        for _ in range(chunks):
            link.sendall(b"10000\r\n" + b"#" * 65535 + b"\n\r\n")
            link.settimeout(0.001)
            try:
                return link.recv(100)
            except TimeoutError:
                link.settimeout(20)
        return link.recv(100)
    except TimeoutError:
        raise
    except OSError:
        return b""


def test_a_chunked_body_of_50_mb_is_refused_as_well(stack: Stack) -> None:
    """By hand, since the refusal comes while the client still sends."""
    context = ssl.create_default_context(cafile=stack.proxy.certificate)
    with (
        socket.create_connection(("127.0.0.1", stack.proxy.port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as link,
    ):
        link.sendall(
            b"PUT /metrics/job/large HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            b"Authorization: %s\r\n\r\n" % RIGHT["authorization"].encode()
        )
        answer = _sent_in_chunks(link, 800)
    assert answer.startswith(b"HTTP/1.1 413 ") or not answer, "who goes on sending may lose the answer"
    assert "large" not in stack.jobs()


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PATCH", "OPTIONS"])
def test_only_put_and_post_are_pushes(method: str, stack: Stack) -> None:
    assert stack.ask("PUT", "/metrics/job/kept", RIGHT) == 200
    assert stack.ask(method, "/metrics/job/kept", RIGHT, body=None) == 403
    assert "kept" in stack.jobs()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/metrics",
        "/metrics/",
        "/metrics/job",
        "/metrics/job/",
        "/-/ready",
        "/-/quit",
        "/api/v1/metrics",
        "/api/v1/admin/wipe",
        "/static/prometheus.js",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_nothing_else_of_the_pushgateway_is_reachable(method: str, path: str, stack: Stack) -> None:
    assert stack.ask(method, path, RIGHT, body=None) == 404
    assert stack.ask(method, path, {}, body=None) == 401


@pytest.mark.parametrize(
    "path",
    [
        "/metrics/job/../../api/v1/admin/wipe",
        "/metrics/job/%2e%2e/%2e%2e/api/v1/admin/wipe",
        "/metrics/job/x%2f..%2f..%2f..%2fapi/v1/admin/wipe",
        "//api/v1/admin/wipe",
    ],
)
def test_no_detour_leads_out_of_the_pushes(path: str, stack: Stack) -> None:
    """Sent as it is: a client library would tidy the path up."""
    context = ssl.create_default_context(cafile=stack.proxy.certificate)
    with (
        socket.create_connection(("127.0.0.1", stack.proxy.port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as link,
    ):
        request = f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n"
        link.sendall(f"{request}Authorization: {RIGHT['authorization']}\r\n\r\n".encode())
        assert link.recv(100).split()[1] in (b"400", b"404")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_tls_is_refused(version: ssl.TLSVersion, stack: Stack) -> None:
    context = ssl.create_default_context(cafile=stack.proxy.certificate)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = version
    context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", stack.proxy.port), timeout=20) as plain,
        pytest.raises(ssl.SSLError, match=r"(?i)protocol version"),
    ):
        context.wrap_socket(plain, server_hostname="localhost")


def test_what_a_stranger_learns_is_little(stack: Stack) -> None:
    context = ssl.create_default_context(cafile=stack.proxy.certificate)
    with urllib3.PoolManager(ssl_context=context, retries=False) as pool:
        answer = pool.request("GET", stack.proxy.url("/"))
    assert answer.headers["Server"] == "nginx"
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="rectbot push"'


def test_passwords_are_not_logged_and_requests_are(stack: Stack) -> None:
    stack.ask("PUT", "/metrics/job/logged", RIGHT)
    stack.ask("PUT", "/metrics/job/logged", WRONG)
    log = stack.proxy.log.read_text()
    assert "PUT /metrics/job/logged 200" in log
    for secret in (PASSWORD, "wrong", RIGHT["authorization"].split()[1], WRONG["authorization"].split()[1]):
        assert secret not in log


def test_the_password_is_not_passed_on(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        with push_proxy(tmp_path / "nginx", listener.getsockname()[1]) as proxy:
            context = ssl.create_default_context(cafile=proxy.certificate)
            with urllib3.PoolManager(ssl_context=context, retries=False, timeout=0.5) as pool:
                with pytest.raises(urllib3.exceptions.ReadTimeoutError):
                    pool.request("PUT", proxy.url(), headers=RIGHT, body=BODY)
                with listener.accept()[0] as behind:
                    behind.settimeout(20)
                    request = behind.recv(65536)
    assert request.startswith(b"PUT /metrics/job/xserver-bot HTTP/1.")
    assert b"authorization" not in request.lower()


def test_the_files_for_docker_compose_make_a_valid_configuration(tmp_path: Path) -> None:
    """All but the name of the Pushgateway's service, which only Docker's network resolves."""
    command = lay_out_proxy(tmp_path, free_port(), free_port())
    engine = CONFIG / "pushgateway" / "engine"
    upstream = changed((engine / "http.conf").read_text(), {"pushgateway:9091": "127.0.0.1:9091"})
    (tmp_path / "engine" / "http.conf").write_text(upstream)
    for name in ("front.conf", "server.conf", "stream.conf"):
        (tmp_path / "engine" / name).write_text((engine / name).read_text())
    check = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert "test is successful" in check.stderr, check.stderr


def test_the_allowlist_of_init_is_what_nginx_obeys(tmp_path: Path) -> None:
    """An address, a network, and one of IPv6, which nginx must at least take."""
    allow = ["127.0.0.1", "127.0.5.0/28", "2001:db8::/64"]
    with pushgateway(tmp_path) as behind, push_proxy(tmp_path / "nginx", behind, allow) as proxy:
        stack = Stack(proxy, behind)
        for source in ("127.0.0.1", "127.0.5.15"):
            assert stack.ask("PUT", "/metrics/job/listed", RIGHT, source=source) == 200, source
        for source in ("127.0.5.16", "127.0.0.2"):
            assert stack.turned_away(source, RIGHT), source
