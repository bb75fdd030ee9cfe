"""`rectbot doctor` on a live stack: each promise is broken once, and doctor must say so."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import bcrypt
import psutil
import pytest
import urllib3
from dotenv import dotenv_values

from e2e.stack import ROOT, Stack, until
from rectbot.settings import BASE_PORTS
from servers_monitoring import changed, make_certificate

pytestmark = pytest.mark.timeout(480)

ELSEWHERE = "203.0.113.7"  # of no machine (RFC 5737): what listens there is not on loopback, and cannot be reached


@pytest.fixture(scope="module")
def checked(stack: Stack) -> Stack:
    """The stack with its compose file, and with all promises kept."""
    shutil.copy(ROOT / "docker-compose.monitoring.yml", stack.home)
    until(lambda: not _not_passed(stack), 60, "every promise is kept")
    return stack


def doctor(stack: Stack, **extra: str) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit code, and the checks by name."""
    done = stack.run("doctor", "--json", check=False, timeout=240, **extra)
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["engine"] == "native"
    checks = {check["name"]: check for check in report["checks"]}
    worst = max(("PASS", "WARN", "FAIL").index(check["result"]) for check in checks.values())
    assert report["result"] == ("PASS", "WARN", "FAIL")[worst]
    assert all(bool(check["mend"]) == (check["result"] != "PASS") for check in checks.values())
    return done.returncode, checks


def _not_passed(stack: Stack) -> dict[str, str]:
    return {name: check["found"] for name, check in doctor(stack)[1].items() if check["result"] != "PASS"}


@contextmanager
def edited(path: Path, edit: Callable[[str], str]) -> Iterator[None]:
    """A file with other content, for a while."""
    before = path.read_text()
    mode = path.stat().st_mode
    path.write_text(edit(before))
    try:
        yield
    finally:
        path.write_text(before)
        path.chmod(mode)


def replacing(old: str, new: str) -> Callable[[str], str]:
    return lambda text: changed(text, {old: new})


@contextmanager
def listener(address: str, port: int) -> Iterator[None]:
    """Somebody listens on an address that this machine does not have."""
    with socket.socket() as server:
        server.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND, ip(7)
        server.bind((address, port))
        server.listen()
        yield


@contextmanager
def nginx_with(stack: Stack, path: Path, edit: Callable[[str], str]) -> Iterator[None]:
    """nginx restarted with an edited file, and again without."""
    with ExitStack() as afterwards:
        afterwards.callback(_restart_nginx, stack)  # after the file is as it was
        afterwards.enter_context(edited(path, edit))
        _restart_nginx(stack)
        yield


def _restart_nginx(stack: Stack) -> None:
    port = BASE_PORTS["push-proxy"] + stack.offset
    before = _holder(port)
    assert before is not None
    os.kill(before, signal.SIGKILL)
    until(lambda: _holder(port) not in (None, before), 20, "a new nginx")


def _holder(port: int) -> int | None:
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
            return connection.pid
    return None


@contextmanager
def redis_with(stack: Stack, name: str, value: str) -> Iterator[None]:
    """Redis with another setting, for a while."""
    _, before = _redis(stack, "CONFIG", "GET", name)
    _redis(stack, "CONFIG", "SET", name, value)
    try:
        yield
    finally:
        _redis(stack, "CONFIG", "SET", name, before)


@contextmanager
def redis_user_with(stack: Stack, user: str, rule: str) -> Iterator[None]:
    """Redis with a user who may more, for a while."""
    before = next(line for line in _redis(stack, "ACL", "LIST") if line.startswith(f"user {user} "))
    _redis(stack, "ACL", "SETUSER", user, *rule.split())
    try:
        yield
    finally:
        _redis(stack, "ACL", "SETUSER", user, "reset", *before.split()[2:])


def _redis(stack: Stack, *words: str) -> list[str]:
    """A command by somebody who may everything: no user of the stack does, so one is added when first needed."""
    users = stack.var / "redis" / "users.conf"
    if "tester" not in users.read_text():
        users.write_text(f"{users.read_text()}user tester on nopass ~* &* +@all\n")
        port = BASE_PORTS["redis"] + stack.offset
        before = _holder(port)
        assert before is not None
        os.kill(before, signal.SIGKILL)
        until(lambda: _holder(port) not in (None, before), 20, "a new Redis")
        until(lambda: stack.leader() == "xserver", 30, "xserver leads")
    address = ["-p", str(BASE_PORTS["redis"] + stack.offset), "--user", "tester", "--pass", "x", "--no-auth-warning"]
    done = subprocess.run(["redis-cli", *address, *words], capture_output=True, text=True, check=True)
    assert "ERR" not in done.stdout
    return done.stdout.splitlines()


def docker(stack: Stack, *parts: str) -> Path:
    return stack.home.joinpath("docker", "monitoring", *parts)


@contextmanager
def expired(stack: Stack) -> Iterator[None]:
    folder = docker(stack, "tls")
    with edited(folder / "tls.crt", str), edited(folder / "tls.key", str):
        make_certificate(folder, days=-1)
        yield


@contextmanager
def not_restarted(stack: Stack) -> Iterator[None]:
    """A certificate that nginx has not read yet."""
    folder = docker(stack, "tls")
    with edited(folder / "tls.crt", str), edited(folder / "tls.key", str):
        make_certificate(folder, days=300)
        yield


@contextmanager
def readable_by_all(stack: Stack) -> Iterator[None]:
    with edited(stack.home / ".env", str):
        (stack.home / ".env").chmod(0o644)
        yield


@contextmanager
def nobody_leads(stack: Stack) -> Iterator[None]:
    for site in ("oci", "xserver"):
        stack.run("site", "stop", site)
    until(lambda: stack.leader() is None, 30, "nobody leads")
    try:
        yield
    finally:
        for site in ("xserver", "oci"):
            stack.run("site", "start", site)
        until(lambda: stack.leader() == "xserver", 60, "xserver leads again")


@contextmanager
def no_push(stack: Stack) -> Iterator[None]:
    """The Pushgateway has lost the job, and the agent is frozen: between two pushes, or one on its way would arrive."""
    metrics = f"{stack.url('pushgateway')}/metrics"
    agents = [each for each in map(psutil.Process, stack.leftovers()) if "resident.py" in " ".join(each.cmdline())]
    assert agents
    started = max(agent.create_time() for agent in agents)
    until(lambda: time.time() - stack.status()["push"]["xserver-bot"]["age_s"] > started, 30, "the agent has pushed")
    with ExitStack() as afterwards:
        afterwards.callback(stack.run, "push")
        for agent in agents:
            afterwards.callback(agent.resume)
            agent.suspend()
        assert urllib3.request("DELETE", f"{metrics}/job/xserver-bot", timeout=5).status == 202
        until(lambda: b'job="xserver-bot"' not in urllib3.request("GET", metrics, timeout=5).data, 10, "it is gone")
        yield


@contextmanager
def no_target(stack: Stack) -> Iterator[None]:
    """Prometheus reads its targets again by itself."""

    def targets() -> bytes:
        return urllib3.request("GET", f"{stack.url('prometheus')}/api/v1/targets?state=active", timeout=5).data

    with edited(stack.var / "prometheus" / "targets" / "hub.yml", lambda _: "[]\n"):
        until(lambda: b'"job":"hub"' not in targets(), 30, "Prometheus has lost the hub")
        yield
    until(lambda: b'"job":"hub"' in targets(), 30, "Prometheus has found the hub")


@contextmanager
def new_file(path: Path, text: str) -> Iterator[None]:
    path.write_text(text)
    try:
        yield
    finally:
        path.unlink()


RULE = "groups: [{name: new, rules: [{alert: New, expr: vector(1)}]}]\n"
TUNNEL = "ingress:\n- {hostname: a.example, service: 'http://prometheus:9090'}\n- {service: 'http_status:404'}\n"


NO_PASSWORD = replacing('auth_basic "rectbot push"', "auth_basic off")
OTHER_ROUTE = replacing("repeat_interval: 1d", "repeat_interval: 2d")
ANONYMOUS = replacing("[auth.anonymous]\nenabled = false", "[auth.anonymous]\nenabled = true")
NO_PIN = replacing("image: nginx:", "image: nginx:latest #")


def _weak_hash(text: str) -> str:
    user, _, _ = text.partition(":")
    return f"{user}:{bcrypt.hashpw(b'x', bcrypt.gensalt(4)).decode()}\n"


# What is broken, by which check it must be noticed, and what that must say.
BREAKS: dict[str, tuple[Callable[[Stack], Any], str, str]] = {
    "a port is open": (lambda s: listener(ELSEWHERE, BASE_PORTS["console"] + s.offset), "addresses", ELSEWHERE),
    "Redis is open": (lambda s: listener(ELSEWHERE, BASE_PORTS["redis"] + s.offset), "addresses", "Redis on"),
    "no TLS": (
        lambda s: nginx_with(s, s.var / "nginx" / "engine" / "server.conf", replacing(" ssl proxy", " proxy")),
        "proxy-tls",
        "plain HTTP",
    ),
    "no password": (
        lambda s: nginx_with(s, docker(s, "pushgateway", "nginx.conf"), NO_PASSWORD),
        "proxy-password",
        "not 401",
    ),
    "another password": (
        lambda s: edited(docker(s, "pushgateway", "htpasswd"), lambda _: _hash_of("another")),
        "proxy-password",
        "right password",
    ),
    "everybody on loopback": (
        lambda s: nginx_with(s, docker(s, "pushgateway", "allowlist.conf"), lambda text: f"{text}allow 127.0.0.0/8;\n"),
        "proxy-address",
        "is not turned away",
    ),
    "half the world is allowed": (
        lambda s: edited(docker(s, "pushgateway", "allowlist.conf"), lambda text: f"{text}allow 128.0.0.0/1;\n"),
        "allowlist",
        "nearly everybody",
    ),
    "all are allowed": (
        lambda s: edited(docker(s, "pushgateway", "allowlist.conf"), lambda text: f"{text}allow all;\n"),
        "allowlist",
        "admits everybody",
    ),
    "an expired certificate": (expired, "certificate", "expired"),
    "a certificate not loaded": (not_restarted, "certificate", "another certificate"),
    "a cheap hash": (lambda s: edited(docker(s, "pushgateway", "htpasswd"), _weak_hash), "htpasswd", "cost"),
    "no hash": (lambda s: edited(docker(s, "pushgateway", "htpasswd"), lambda _: "prom:x\n"), "htpasswd", "bcrypt"),
    "a readable .env": (readable_by_all, "file-modes", ".env"),
    "a default password": (
        lambda s: edited(s.home / ".env", lambda text: f"{text}\nDASHBOARD_ADMIN_PASSWORD=admin\n"),
        "passwords",
        "DASHBOARD_ADMIN_PASSWORD is easily guessed",
    ),
    "Redis without a password": (
        lambda s: redis_user_with(s, "default", "on nopass ~* &* +@all"),
        "redis-password",
        "asks nobody",
    ),
    "a site that may more than it needs": (lambda s: redis_user_with(s, "xserver", "+@all"), "redis-rights", "xserver"),
    "a site that reads others' keys": (lambda s: redis_user_with(s, "oci", "~*"), "redis-rights", "oci"),
    "Redis in memory only": (lambda s: redis_with(s, "appendonly", "no"), "redis-data", "appendonly is no"),
    "Redis synced at times": (lambda s: redis_with(s, "appendfsync", "everysec"), "redis-data", "appendfsync"),
    "nobody leads": (nobody_leads, "leader", "no site leads"),
    "no push": (no_push, "push", "never pushed"),
    "no target": (no_target, "targets", "no target for hub"),
    "a rule not loaded": (
        lambda s: new_file(docker(s, "prometheus", "alerts", "new.yml"), RULE),
        "rules",
        "New",
    ),
    "another Alertmanager": (
        lambda s: edited(docker(s, "alertmanager", "alertmanager.yml"), OTHER_ROUTE),
        "alertmanager",
        "another route",
    ),
    "anonymous access": (
        lambda s: edited(docker(s, "grafana", "grafana.ini"), ANONYMOUS),
        "dashboard",
        "auth.anonymous",
    ),
    "no console at its port": (
        lambda s: edited(s.home / ".env", lambda text: f"{text}\nCONSOLE_PORT={BASE_PORTS['prometheus'] + s.offset}\n"),
        "console",
        "does not answer as a console",
    ),
    "a tunnel to Prometheus": (
        lambda s: new_file(docker(s, "cloudflared", "config.yml"), TUNNEL),
        "tunnel",
        "http://prometheus:9090",
    ),
    "an image without a pin": (
        lambda s: edited(s.home / "docker-compose.monitoring.yml", NO_PIN),
        "versions",
        "nginx:latest",
    ),
}  # fmt: skip


def _hash_of(password: str) -> str:
    return f"prom:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(10)).decode()}\n"


@pytest.mark.parametrize(("broken", "check", "word"), BREAKS.values(), ids=BREAKS)
def test_a_broken_promise_is_a_fail(broken: Callable[[Stack], Any], check: str, word: str, checked: Stack) -> None:
    with broken(checked):
        code, checks = doctor(checked)
        assert code == 1, checks[check]
        assert checks[check]["result"] == "FAIL", checks[check]
        assert word in checks[check]["found"]


def test_a_webhook_that_was_deleted_is_a_fail_and_its_token_is_not_shown(checked: Stack) -> None:
    url = f"{checked.url('discord')}/api/webhooks/1/not-its-token"
    code, checks = doctor(checked, DISCORD_ALERT_WEBHOOK_URL=url)
    assert (code, checks["webhook"]["result"]) == (1, "FAIL")
    assert "401" in checks["webhook"]["found"]
    assert "not-its-token" not in json.dumps(checks)


def test_on_a_public_address_the_bridges_and_a_nameless_certificate_are_warned_of(checked: Stack) -> None:
    with listener(ELSEWHERE, BASE_PORTS["push-proxy"] + checked.offset):
        code, checks = doctor(checked)
    assert code == 0
    assert checks["addresses"]["found"].startswith("open to other hosts: push proxy on 203.0.113.7:")
    assert checks["allowlist"]["result"] == checks["certificate"]["result"] == "WARN"
    assert "172.16.0.0/12" in checks["allowlist"]["found"]
    assert "rectbot init --allow" in checks["allowlist"]["mend"]


def test_afterwards_every_promise_is_kept_again_and_people_can_read_it(checked: Stack) -> None:
    until(lambda: not _not_passed(checked), 60, "every promise is kept again")
    done = checked.run("doctor")
    assert done.stdout.count("PASS  ") == done.stdout.count("\n") - 2
    assert done.stdout.endswith(" 0 WARN, 0 FAIL\n")
    secrets = [value for name, value in dotenv_values(checked.home / ".env").items() if value and "PASSWORD" in name]
    assert not any(secret in done.stdout + done.stderr for secret in secrets)
    assert done.stderr == ""


def test_without_a_stack_the_files_are_looked_at(tmp_path: Path) -> None:
    idle = Stack.prepare(tmp_path)
    idle.run("init")
    done = idle.run("doctor", "--json", check=False)
    checks = {check["name"]: check["result"] for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert checks.pop("stack") == "FAIL"
    assert set(checks) >= {"file-modes", "passwords", "htpasswd", "allowlist"}
    assert set(checks.values()) == {"PASS"}

    (tmp_path / "docker/monitoring/pushgateway/htpasswd").unlink()
    report = json.loads(idle.run("doctor", "--json", check=False).stdout)
    (missing,) = [check for check in report["checks"] if check["name"] == "htpasswd"]
    assert "is missing; run 'rectbot init'" in missing["found"]
    assert missing["mend"] == "mend that, or restart what has not seen it change"
