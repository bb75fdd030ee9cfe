"""A host that was stolen is shut out, and it alone: an attacker goes on with what the host had."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import urllib3

from e2e.stack import Stack, until
from rectbot.settings import BASE_PORTS
from rectbot.stack import invitation
from rectbot.stack.layout import Layout


@dataclass(frozen=True)
class Thief:
    """Whoever has what an invitation brought to a host."""

    stack: Stack
    values: dict[str, str]

    def push(self) -> int:
        certificate = Layout.at(self.stack.home, 0).certificate
        headers = urllib3.make_headers(
            basic_auth=f"{self.values['PUSHGATEWAY_USER']}:{self.values['PUSHGATEWAY_PASSWORD']}"
        )
        with urllib3.PoolManager(ssl_context=ssl.create_default_context(cafile=certificate), retries=False) as pool:
            return pool.request("PUT", self.values["PUSHGATEWAY_URL"], headers=headers, body=b"").status

    def redis(self) -> bytes:
        return redis_says(self.stack, self.values["REDIS_USER"], self.values["REDIS_PASSWORD"])


def redis_says(stack: Stack, user: str, password: str) -> bytes:
    with socket.create_connection(("127.0.0.1", BASE_PORTS["redis"] + stack.offset), timeout=10) as link:
        link.sendall(f"AUTH {user} {password}\r\nGET rectbot:leader\r\n".encode())
        return link.makefile("rb").readline()


def _invited(stack: Stack, site: str) -> Thief:
    line = stack.run("invite", site, "--plain", "--host", "localhost").stdout
    return Thief(stack, invitation.read(line).values)


@pytest.fixture
def thief(stack: Stack) -> Iterator[Thief]:
    yield _invited(stack, "xserver")
    until(lambda: stack.leader() == "xserver", 60, "the stack is well again")


def test_a_stolen_host_is_shut_out_alone(thief: Thief, stack: Stack) -> None:
    other = _invited(stack, "oci")
    assert (thief.push(), thief.redis()) == (200, b"+OK\r\n"), "before"
    held = socket.create_connection(("127.0.0.1", BASE_PORTS["redis"] + stack.offset), timeout=30)
    held.sendall(f"AUTH {thief.values['REDIS_USER']} {thief.values['REDIS_PASSWORD']}\r\n".encode())
    assert held.recv(100) == b"+OK\r\n"
    said = stack.run("revoke", "xserver").stdout
    assert "restarted redis" in said
    assert "restarted nginx" in said
    assert "the bot's token" in said
    assert thief.push() == 401
    assert thief.redis().startswith(b"-WRONGPASS")
    held.sendall(b"GET rectbot:leader\r\n")
    assert held.recv(100) == b"", "the connection that it had is ended as well"
    held.close()
    assert (other.push(), other.redis()) == (200, b"+OK\r\n"), "the other site is not touched"
    again = _invited(stack, "xserver")
    assert (again.push(), again.redis()) == (200, b"+OK\r\n"), "a new invitation lets the site in again"
    assert thief.values["REDIS_PASSWORD"] not in (stack.home / ".env").read_text()
    for name in ("REDIS_PASSWORD", "PUSHGATEWAY_PASSWORD"):
        assert thief.values[name] not in said


def test_a_stolen_host_pushes_for_nobody_else(thief: Thief, stack: Stack) -> None:
    url = thief.values["PUSHGATEWAY_URL"].replace("xserver-bot", "oci-bot")
    assert Thief(stack, {**thief.values, "PUSHGATEWAY_URL": url}).push() == 403


def test_doctor_notices_a_site_s_password_that_is_not_in_htpasswd(thief: Thief, stack: Stack) -> None:
    path = Layout.at(stack.home, 0).htpasswd
    before = path.read_text()
    assert "PASS  htpasswd" in stack.run("doctor", check=False).stdout
    path.write_text("".join(line for line in before.splitlines(True) if not line.startswith("xserver:")))
    try:
        assert "the push password of xserver is not in htpasswd" in stack.run("doctor", check=False).stdout
    finally:
        path.write_text(before)
