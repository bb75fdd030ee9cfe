"""Real monitoring servers for tests: each on a free port of 127.0.0.1, with its files in a folder of the test."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import bcrypt
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rectbot.alerts.alertmanager import render_native
from rectbot.stack import proof
from rectbot.stack.allowlist import DEFAULT, parse, render
from rectbot.stack.servers import NGINX_STREAM
from servers import free_port

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "docker" / "monitoring"
HTTP = urllib3.PoolManager(retries=False, timeout=10)
PASSWORD = "correct horse"


def until(condition: Callable[[], T | None], what: str, timeout: float = 30) -> T:
    """Waits for a condition to hold, and returns what it returned."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout:.0f} s"
        time.sleep(0.02)
    return value


def answers(url: str) -> bool:
    """Whether a server answers 200 there."""
    try:
        return HTTP.request("GET", url).status == 200
    except urllib3.exceptions.HTTPError:
        return False


@contextmanager
def running(command: list[str], log: Path, ready: Callable[[], bool]) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a server until the block ends; its output goes to `log`."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        until(lambda: process.poll() is not None or ready(), f"{command[0]} is ready")
        assert process.poll() is None, f"{command[0]} ended at once: {log.read_text()[-2000:]}"
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def pushgateway(folder: Path, port: int | None = None) -> Iterator[int]:
    """A Pushgateway without persistence; gives its port."""
    port = port or free_port()
    command = ["prometheus-pushgateway", f"--web.listen-address=127.0.0.1:{port}", "--persistence.file="]
    with running(command, folder / "pushgateway.log", lambda: answers(f"http://127.0.0.1:{port}/-/ready")):
        yield port


def pushed_groups(port: int) -> dict[str, Any]:
    """The Pushgateway's groups by job: for each metric its value and labels, as its API shows them."""
    data = HTTP.request("GET", f"http://127.0.0.1:{port}/api/v1/metrics").json()["data"]
    return {group["labels"]["job"]: group for group in data}


def make_certificate(folder: Path, names: tuple[str, ...] = ("localhost",), *, days: int = 30) -> None:
    """A self-signed tls.crt and tls.key in `folder`, for names and addresses; with negative `days` it has expired."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=60))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([*map(_general_name, names)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "tls.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "tls.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass(frozen=True)
class Proxy:
    """A running push proxy."""

    port: int
    certificate: Path
    log: Path

    def url(self, path: str = "/metrics/job/xserver-bot", host: str = "localhost") -> str:
        return f"https://{host}:{self.port}{path}"


def lay_out_proxy(
    folder: Path, upstream_port: int, port: int, allow: Sequence[str] = (), loki_port: int = 9
) -> list[str]:
    """nginx's files in `folder`, around the committed nginx.conf; gives the command that runs it."""
    (folder / "engine").mkdir(parents=True, exist_ok=True)
    (folder / "nginx.conf").symlink_to(CONFIG / "pushgateway" / "nginx.conf")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    ports = {"pushgateway": upstream_port, "loki": loki_port}
    upstream = "".join(f'map "" ${name} {{ default 127.0.0.1:{to}; }}\n' for name, to in ports.items())
    (folder / "allowlist.conf").write_text(render(parse(allow) if allow else DEFAULT))
    (folder / "engine" / "http.conf").write_text(upstream + paths)
    inner = f"127.0.0.1:{free_port()}"
    (folder / "engine" / "modules.conf").write_text(f"load_module {NGINX_STREAM};\n" if NGINX_STREAM.exists() else "")
    (folder / "engine" / "front.conf").write_text(f"listen 127.0.0.1:{port};\nproxy_pass {inner};\n")
    (folder / "engine" / "server.conf").write_text(f"listen {inner} ssl proxy_protocol;\n")
    (folder / "proof.conf").write_text(proof.render("prom", PASSWORD))
    password_hash = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (folder / "htpasswd").write_text(f"prom:{password_hash}\n")
    if not (folder / "tls.crt").exists():
        make_certificate(folder)
    as_root = " user root;" if os.geteuid() == 0 else ""
    command = f"daemon off; pid {folder}/nginx.pid;{as_root}"
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", command]


@contextmanager
def push_proxy(folder: Path, upstream_port: int, allow: Sequence[str] = (), loki_port: int = 9) -> Iterator[Proxy]:
    """nginx with the committed policy in front of a Pushgateway, and of Loki if there is a port.

    A tls.crt that is in `folder` is used. With `allow`, these addresses are allowed in place of the default.
    """
    port = free_port()
    command = lay_out_proxy(folder, upstream_port, port, allow, loki_port)
    log = folder / "nginx.log"
    with running(command, log, lambda: _listens(port)):
        yield Proxy(port, folder / "tls.crt", log)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def prometheus(folder: Path, targets: dict[str, int], changes: dict[str, str], rules: Path) -> Iterator[int]:
    """Prometheus with the committed configuration, changed in places, and the rules in a folder; gives its port."""
    port = free_port()
    (folder / "targets").mkdir(parents=True)
    for job, target in {**targets, "prometheus": port}.items():
        (folder / "targets" / f"{job}.yml").write_text(f'- targets: ["127.0.0.1:{target}"]\n')
    (folder / "alerts").symlink_to(rules)
    config = folder / "prometheus.yml"
    config.write_text(changed((CONFIG / "prometheus" / "prometheus.yml").read_text(), changes))
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(command, folder / "prometheus.log", lambda: answers(f"http://127.0.0.1:{port}/-/ready")):
        yield port


@contextmanager
def alertmanager(
    folder: Path, webhook_url: str | None, changes: dict[str, str], hub: str | None = None
) -> Iterator[int]:
    """Alertmanager with the committed configuration, changed in places; gives its port."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "alertmanager.yml"
    committed = CONFIG / "alertmanager" / "alertmanager.yml"
    config.write_text(changed(render_native(committed, webhook_url, hub, notify=hub is not None), changes))
    command = [
        "prometheus-alertmanager",
        f"--config.file={config}",
        f"--storage.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with running(command, folder / "alertmanager.log", lambda: answers(f"http://127.0.0.1:{port}/-/ready")):
        yield port


def changed(text: str, changes: dict[str, str]) -> str:
    """`text` with each key of `changes` replaced; a key that is not there is a mistake of the test."""
    for old, new in changes.items():
        assert old in text, f"the configuration has no {old!r}"
        text = text.replace(old, new)
    return text


@dataclass
class Discord:
    """A running local Discord, seen as the place where webhooks write."""

    port: int
    webhook: int = 0
    seen: int = 0

    def start_afresh(self) -> None:
        """A new webhook, with rate limits of its own, and nothing received yet; no failures are ordered."""
        self.webhook += 1
        self._control(None)
        self.seen += len(self.received())

    @property
    def webhook_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/webhooks/{self.webhook}/secret-token"

    def fail(self, status: int, times: int = 1, retry_after: float = 0.1) -> None:
        """Lets the next messages fail."""
        self._control({"status": status, "times": times, "retry_after": retry_after})

    def _control(self, failure: dict[str, Any] | None) -> None:
        response = HTTP.request("POST", f"http://127.0.0.1:{self.port}/control", json={"webhook_fail": failure})
        assert response.status == 200, response.data

    def received(self) -> list[dict[str, Any]]:
        """What was sent so far after the first `seen`, also what was not taken; oldest first."""
        sent: list[dict[str, Any]] = HTTP.request("GET", f"http://127.0.0.1:{self.port}/webhooks").json()
        return sent[self.seen :]

    def taken(self) -> list[dict[str, Any]]:
        """The messages that were taken."""
        return [entry["payload"] for entry in self.received() if entry["status"] < 300]


@contextmanager
def local_discord(folder: Path) -> Iterator[Discord]:
    """The local Discord as a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "rectbot", "discord", "serve", "--port", str(port)]
    with running(command, folder / "discord.log", lambda: answers(f"http://127.0.0.1:{port}/healthz")):
        yield Discord(port)


def firing(port: int) -> list[dict[str, Any]]:
    """The alerts that Prometheus has, pending ones too."""
    answer = HTTP.request("GET", f"http://127.0.0.1:{port}/api/v1/alerts")
    alerts: list[dict[str, Any]] = json.loads(answer.data)["data"]["alerts"]
    return alerts
