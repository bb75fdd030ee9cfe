"""The push proxy under attack: from addresses off its list, with wrong passwords, with odd paths and bodies."""

from __future__ import annotations

import base64
import gzip
import itertools
import random
import re
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest
import urllib3
import yaml

from servers_monitoring import CONFIG, HTTP, PASSWORD, Proxy, push_proxy, pushed_groups, pushgateway

RIGHT = urllib3.make_headers(basic_auth=f"prom:{PASSWORD}")
OUTSIDER = "127.0.0.2"
BODY = b"some_metric 1\n"
STACK_JOBS = [
    job["job_name"] for job in yaml.safe_load((CONFIG / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
]


@dataclass(frozen=True)
class Stack:
    """A proxy, and the port of the Pushgateway behind it."""

    proxy: Proxy
    behind: int

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.proxy.certificate)

    def push(self, path: str = "/metrics/job/good", body: bytes = BODY, **headers: str) -> int:
        """A push as a site sends it, within the time that a site allows."""
        with urllib3.PoolManager(ssl_context=self.tls(), retries=False, timeout=10) as pool:
            sent = {**RIGHT, **{name.replace("_", "-"): value for name, value in headers.items()}}
            return pool.request("PUT", self.proxy.url(path), headers=sent, body=body, redirect=False).status

    def raw(self, head: str, body: bytes = b"") -> bytes:
        """The answer to a request that no client library would send; its path is sent as it is."""
        with (
            socket.create_connection(("127.0.0.1", self.proxy.port), timeout=10) as plain,
            self.tls().wrap_socket(plain, server_hostname="localhost") as link,
        ):
            link.sendall(head.encode("latin-1") + body)
            return link.recv(65536)

    def put(self, path: str, body: bytes = BODY, *more: str) -> int:
        lines = [f"PUT {path} HTTP/1.1", "Host: localhost", f"Authorization: {RIGHT['authorization']}", *more]
        if not any(line.lower().startswith("transfer-encoding") for line in more):
            lines.append(f"Content-Length: {len(body)}")
        return int(self.raw("\r\n".join([*lines, "Connection: close", "", ""]), body).split()[1])

    def groups(self) -> list[dict[str, str]]:
        data = HTTP.request("GET", f"http://127.0.0.1:{self.behind}/api/v1/metrics").json()["data"]
        return [group["labels"] for group in data]

    def wipe(self) -> None:
        for group in self.groups():
            pairs = [("job", group.pop("job")), *group.items()]
            path = "/".join(
                f"{name}@base64/{base64.urlsafe_b64encode(value.encode()).decode() or '='}" for name, value in pairs
            )
            HTTP.request("DELETE", f"http://127.0.0.1:{self.behind}/metrics/{path}")

    def is_well(self) -> bool:
        """The Pushgateway can be scraped, and takes pushes."""
        return (
            HTTP.request("GET", f"http://127.0.0.1:{self.behind}/metrics").status == 200
            and self.push() == 200
            and "good" in pushed_groups(self.behind)
        )


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("attacks")
    with pushgateway(folder) as behind, push_proxy(folder / "nginx", behind) as proxy:
        yield Stack(proxy, behind)


@pytest.fixture
def stack(servers: Stack) -> Iterator[Stack]:
    servers.wipe()
    yield servers
    assert servers.is_well()


@contextmanager
def half_sent(stack: Stack, source: str, count: int, *, in_tls: bool = False) -> Iterator[None]:
    """Connections that begin a request, or TLS, and then say nothing; one that is closed is opened anew."""
    over = threading.Event()
    begin = _begin_request if in_tls else _begin_tls

    def hold(number: int) -> None:
        while not over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", stack.proxy.port), 5, (source, 0)) as plain:
                    begin(stack, plain, over, number)
            except OSError:
                over.wait(0.1)

    threads = [threading.Thread(target=hold, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(20)


def _begin_tls(_: Stack, plain: socket.socket, over: threading.Event, number: int) -> None:
    """Up to three bytes of a handshake, and silence until the other side hangs up."""
    plain.sendall(b"\x16\x03\x01"[: number % 4])
    plain.settimeout(0.5)
    while not over.is_set():
        try:
            if not plain.recv(100):
                return
        except TimeoutError:
            continue


def _begin_request(stack: Stack, plain: socket.socket, over: threading.Event, _: int) -> None:
    """A header that never ends, a byte now and then."""
    with stack.tls().wrap_socket(plain, server_hostname="localhost") as link:
        link.sendall(b"PUT /metrics/job/slow HTTP/1.1\r\nHost: a\r\n")
        while not over.wait(0.2):
            link.sendall(b"X")


@pytest.mark.parametrize(
    ("source", "count", "in_tls"), [(OUTSIDER, 260, False), ("127.0.0.1", 200, False), ("127.0.0.1", 100, True)]
)
def test_half_sent_requests_do_not_keep_pushes_out(source: str, count: int, in_tls: bool, stack: Stack) -> None:
    """From an address that is not on the list there may be any number; from one that is, fewer than its share."""
    with half_sent(stack, source, count, in_tls=in_tls):
        assert [stack.push() for _ in range(10)] == [200] * 10


def test_one_address_cannot_take_what_belongs_to_another(tmp_path: Path) -> None:
    allow = ["127.0.0.1", "127.0.5.1"]
    with pushgateway(tmp_path) as behind, push_proxy(tmp_path / "nginx", behind, allow) as proxy:
        stack = Stack(proxy, behind)
        with half_sent(stack, "127.0.5.1", 400):
            assert [stack.push() for _ in range(10)] == [200] * 10


@contextmanager
def guessing(stack: Stack, clients: int, *, keep: bool) -> Iterator[list[int]]:
    """Clients that send wrong passwords as fast as they are answered, each another one, and what they are answered."""
    over, answers = threading.Event(), []

    def guess(client: int) -> None:
        for number in itertools.count():
            with urllib3.PoolManager(ssl_context=stack.tls(), retries=False, timeout=20) as pool:
                for more in range(50 if keep else 1):
                    wrong = urllib3.make_headers(basic_auth=f"prom:{client}.{number}.{more}")
                    if over.is_set():
                        return
                    try:
                        url = stack.proxy.url("/metrics/job/guess")
                        answers.append(pool.request("PUT", url, headers=wrong, body=BODY).status)
                    except urllib3.exceptions.HTTPError:
                        over.wait(0.05)

    threads = [threading.Thread(target=guess, args=(number,), daemon=True) for number in range(clients)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join(30)


@pytest.mark.parametrize("keep", [True, False], ids=["one connection each", "a connection for each guess"])
def test_guesses_do_not_keep_pushes_out_and_are_not_all_checked(keep: bool, tmp_path: Path) -> None:
    """With the hash that `rectbot init` makes, of which one check takes some 50 ms."""
    with pushgateway(tmp_path) as behind, push_proxy(tmp_path / "nginx", behind) as proxy:
        htpasswd = tmp_path / "nginx" / "htpasswd"
        htpasswd.write_text(f"prom:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()}\n")
        stack = Stack(proxy, behind)
        with guessing(stack, 8, keep=keep) as answers:
            begin = time.monotonic()
            assert [stack.push() for _ in range(10)] == [200] * 10
            took = time.monotonic() - begin
        assert set(answers) <= {401, 429}
        assert answers.count(401) <= 21 + 2 * (took + 30)
        assert answers.count(429) > 0


def test_pushes_with_the_right_password_wait_their_turn_and_are_not_refused(stack: Stack) -> None:
    with ExitStack() as many:
        pool = many.enter_context(urllib3.PoolManager(ssl_context=stack.tls(), retries=False, timeout=20))
        url = stack.proxy.url("/metrics/job/many")
        assert {pool.request("PUT", url, headers=RIGHT, body=BODY).status for _ in range(40)} == {200}


BOMB = gzip.compress(b"# " + b"x" * 300_000_000, 9)


@pytest.mark.parametrize(
    "header",
    [
        "Content-Encoding: gzip",
        "content-ENCODING:gzip",
        "Content-Encoding: GZIP",
        "Content-Encoding: gzip, ",
        "Content-Encoding: identity, gzip",
        "Content-Encoding: x-gzip",
        "Content-Encoding: snappy",
        "Content-Encoding: deflate",
        "Content-Encoding: br\r\nContent-Encoding: gzip",
        "Content-Encoding:\r\nContent-Encoding: gzip",
        "Content-Encoding: 0",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked\r\nContent-Length: 9",
    ],
)
def test_nothing_is_unpacked_for_a_client(header: str, stack: Stack) -> None:
    """10 KB of gzip would have been 300 MB behind the proxy."""
    body = BOMB[:10_000]
    assert stack.put("/metrics/job/bomb", body, *header.split("\r\n")) in (
        400,
        413,
        415,
        501,
        502,
    )  # 502: the Pushgateway hangs up on it
    assert stack.groups() == []


def test_packed_logs_pass(tmp_path: Path) -> None:
    """Those who ship logs pack them; what they are unpacked to is the log store's to limit."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        with push_proxy(tmp_path / "nginx", 9, loki_port=listener.getsockname()[1]) as proxy:
            head = "POST /loki/api/v1/push HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n"
            link = Stack(proxy, 9)
            sender = threading.Thread(
                target=lambda: link.raw(f"{head}Authorization: {RIGHT['authorization']}\r\n\r\n", b"abc"), daemon=True
            )
            sender.start()
            with listener.accept()[0] as behind:
                behind.settimeout(20)
                request = behind.recv(65536)
                behind.sendall(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
            sender.join(20)
    assert b"Content-Encoding: gzip" in request


@pytest.mark.parametrize(("size", "status"), [(60_000, 200), (70_000, 413), (1_100_000, 413)])
def test_a_push_of_more_than_64_kib_is_too_large(size: int, status: int, stack: Stack) -> None:
    assert stack.push(body=b"# " + b"x" * (size - 20) + b"\nsome_metric 1\n") == status


def encoded(job: str, dice: random.Random) -> Iterator[str]:
    """Ways in which a path can name a job."""
    yield f"job/{job}"
    yield "job/" + "".join(f"%{ord(c):02{dice.choice('xX')}}" if dice.random() < 0.5 else c for c in job)
    yield f"job/x/job/{job}"
    yield f"job/x/job@base64/{base64.urlsafe_b64encode(job.encode()).decode()}"
    for before in ("/", "./", "x/../", "%2e/", "x/%2e%2e/", "../metrics/"):
        yield f"{before}job/{job}"
    yield from (f"job//{job}", f"job/./{job}", f"job/x/../{job}", f"j%6fb/{job}", f"job/{job}/", f"job/{job}//")
    yield from (f"job/{job}?x=/metrics/job/y", f"job/{job}/..", f"job/{job}/instance/../../{job}", f"job/{job}%2f")
    digits = base64.urlsafe_b64encode(job.encode()).decode().rstrip("=")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    free = {0: 1, 2: 16, 3: 4}[len(digits) % 4]  # values of the last character that mean the same
    last = alphabet.index(digits[-1])
    for spare in range(free):
        for padding in ("", "=", "==", "===="):
            text = digits[:-1] + alphabet[last - last % free + spare] + padding
            yield f"job@base64/{text}"
            yield "job@base64/" + "".join(f"%{ord(c):02x}" if dice.random() < 0.3 else c for c in text)
            yield f"job@base64/{text[:2]}%0a{text[2:]}"
            yield f"job%40base64/{text}"
            yield f"job@base64/{text}/instance@base64/="


@pytest.mark.parametrize("job", STACK_JOBS)
def test_nobody_pushes_under_a_job_of_the_stack(job: str, stack: Stack) -> None:
    with urllib3.PoolManager(ssl_context=stack.tls(), retries=False, timeout=20):
        for path in encoded(job, random.Random(job)):
            answer = stack.put(f"/metrics/{path}")
            assert answer in (400, 403, 404, 200), path
            assert not any(group["job"].lower() == job for group in stack.groups()), path


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("job@base64/c2hvcC9ib3Q", {"job": "shop/bot"}),
        ("job@base64/c2hvcC9ib3Q=", {"job": "shop/bot"}),
        ("job@base64/eHNlcnZlci1ib3Q=", {"job": "xserver-bot"}),
        ("job@base64/Pz8-Pg", {"job": "??>>"}),  # `-` and `_` are what base64 for URLs has for + and /
        ("job@base64/Pz8_Pw==/instance/a", {"job": "????", "instance": "a"}),
        ("job/bot/instance@base64/YS9i", {"job": "bot", "instance": "a/b"}),
        ("job/bot/instance/a%20b%3Ac", {"job": "bot", "instance": "a b:c"}),
        ("job/bot/instance@base64/=", {"job": "bot"}),
        ("job/bot/instance@base64/", {"job": "bot"}),
        ("job/bot/instance/", {"job": "bot"}),
        ("job/bot/a@base64/=/b/c/d@base64/===", {"job": "bot", "b": "c"}),
        ("job@base64/YS9i/instance@base64/=", {"job": "a/b"}),
    ],
)
def test_what_client_libraries_send_is_taken(path: str, group: dict[str, str], stack: Stack) -> None:
    """Base64 for what cannot stand in a path, and for an empty value, which is as good as no label at all."""
    assert stack.put(f"/metrics/{path}") == 200
    assert stack.groups() == [group]
    assert stack.put(f"/metrics/job/{urllib.parse.quote(group['job'], safe='')}") in (200, 400)


@pytest.mark.parametrize(
    "value",
    ["job/%FF", "job/%C3%28", "job@base64/_w", "job@base64/w4M=", "job/x/instance@base64/YWL_", "job/x/a/%ED%A0%80"],
)
def test_bytes_that_are_no_text_do_not_reach_the_pushgateway(value: str, stack: Stack) -> None:
    """It takes them, and then refuses every push and every scrape."""
    assert stack.put(f"/metrics/{value}") == 400


def test_base64_is_taken_if_and_only_if_it_is_ascii(stack: Stack) -> None:
    dice = random.Random(1)
    for _ in range(150):
        value = bytes(dice.choice([dice.randrange(32, 127), dice.randrange(256)]) for _ in range(dice.randrange(1, 9)))
        text = base64.urlsafe_b64encode(value).decode().rstrip("=" if dice.random() < 0.5 else "")
        ascii_only = all(byte < 128 for byte in value)
        assert (stack.put(f"/metrics/job/x/instance@base64/{text}") == 200) == ascii_only, value
    stack.wipe()


def test_the_job_and_the_instance_of_a_push_are_those_of_its_path(stack: Stack) -> None:
    assert (
        stack.push("/metrics/job/bot/instance/a", b'some_metric{job="hub",instance="b"} 1\npush_time_seconds 9e9\n')
        == 200
    )
    text = HTTP.request("GET", f"http://127.0.0.1:{stack.behind}/metrics").data.decode()
    assert re.findall("^some_metric.*", text, re.MULTILINE) == ['some_metric{instance="a",job="bot"} 1']
    assert [
        line for line in text.splitlines() if line.startswith("push_time_seconds") and line.endswith(" 9e+09")
    ] == []
