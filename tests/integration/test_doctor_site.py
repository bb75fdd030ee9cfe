"""`rectbot doctor` on a host that runs a site's bot and push agent, whose stack is elsewhere."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from rectbot.stack.redis_users import COMMANDS
from servers import RedisServer
from servers_monitoring import PASSWORD, Discord, Proxy, changed, local_discord, push_proxy, pushgateway


@dataclass
class Site:
    """A checkout's home at xserver, with the servers of oci that it names."""

    home: Path
    redis: RedisServer
    proxy: Proxy
    discord: Discord

    def write(self, **settings: str) -> None:
        values = {
            "SITE_ID": "xserver",
            "FAILOVER_ENABLED": "true",
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(self.redis.port),
            "REDIS_PASSWORD": self.redis.password,
            "PUSHGATEWAY_URL": self.proxy.url(),
            "PUSHGATEWAY_PASSWORD": f'"{PASSWORD}"',
            "PUSHGATEWAY_CACERT": str(self.proxy.certificate),
            "DISCORD_ALERT_WEBHOOK_URL": self.discord.webhook_url,
        } | settings
        path = self.home / ".env"
        path.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
        path.chmod(0o600)

    def run_doctor(self) -> subprocess.CompletedProcess[str]:
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return subprocess.run(
            [sys.executable, "-m", "rectbot", "doctor", "--json"],
            env=environment | {"RECTBOT_HOME": str(self.home)},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def doctor(self) -> tuple[int, dict[str, tuple[str, str]]]:
        """The exit code; and by name the result of each check, and what was found."""
        done = self.run_doctor()
        report = json.loads(done.stdout)
        assert report["engine"] == "site", done.stderr
        assert PASSWORD not in done.stdout
        return done.returncode, {check["name"]: (check["result"], check["found"]) for check in report["checks"]}


@pytest.fixture
def site(tmp_path: Path, redis: RedisServer) -> Iterator[Site]:
    home = tmp_path / "home"
    home.mkdir()
    with ExitStack() as stack:
        behind = stack.enter_context(pushgateway(tmp_path))
        proxy = stack.enter_context(push_proxy(tmp_path / "nginx", behind))
        discord = stack.enter_context(local_discord(tmp_path))
        yield Site(home, redis, proxy, discord)


def test_a_site_in_order(site: Site) -> None:
    site.write()
    _, checks = site.doctor()
    wanted = {"failover", "file-modes", "passwords", "redis-password", "redis-rights", "clock", "push", "webhook"}
    assert set(checks) == wanted
    assert checks.pop("passwords") == (
        "FAIL",
        "REDIS_PASSWORD is shorter than 16 characters; PUSHGATEWAY_PASSWORD is shorter than 16 characters",
    )
    assert checks.pop("redis-rights") == ("WARN", "at Redis default may change users, settings and others' keys")
    assert {result for result, _ in checks.values()} == {"PASS"}, checks


def test_a_site_with_a_user_of_its_own_may_no_more_than_it_needs(site: Site) -> None:
    site.redis.command(f"ACL SETUSER xserver on >own ~rectbot:* &rectbot:* -@all {' '.join(f'+{c}' for c in COMMANDS)}")
    site.write(REDIS_USER="xserver", REDIS_PASSWORD="own")
    assert site.doctor()[1]["redis-rights"] == ("PASS", "each login is refused what the lease does not need")
    site.redis.command("ACL SETUSER xserver ~*")
    assert site.doctor()[1]["redis-rights"][0] == "WARN"


def test_a_site_makes_no_passwords_so_they_are_to_be_copied(site: Site) -> None:
    site.write()
    done = site.run_doctor()
    (passwords,) = [check for check in json.loads(done.stdout)["checks"] if check["name"] == "passwords"]
    assert passwords["mend"].startswith("copy oci's into ")
    assert "rectbot init" not in passwords["mend"]


BROKEN = {
    "nobody says whether failover is on": ({"FAILOVER_ENABLED": ""}, "failover", "FAILOVER_ENABLED is not set, but"),
    "a site that is not on the list": ({"SITE_ID": "moon"}, "failover", "SITE_ID=moon is not in FAILOVER_PRIORITY"),
    "wrong Redis password": ({"REDIS_PASSWORD": "another"}, "redis-password", "refuses the login"),
    "no Redis": ({"REDIS_PORT": "9"}, "clock", "Redis at 127.0.0.1:9"),
    "wrong push password": ({"PUSHGATEWAY_PASSWORD": "wrong"}, "push", "the password is refused (401)"),
    "not verified": ({"PUSHGATEWAY_INSECURE": "true"}, "push", "PUSHGATEWAY_INSECURE=true"),
    "no webhook's URL": ({"DISCORD_ALERT_WEBHOOK_URL": "https://x.example/"}, "webhook", "not a webhook's URL"),
}


@pytest.mark.parametrize(("settings", "check", "word"), BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_at_a_site_is_a_fail(settings: dict[str, str], check: str, word: str, site: Site) -> None:
    site.write(**settings)
    code, checks = site.doctor()
    assert code == 1
    assert checks[check][0] == "FAIL", checks
    assert word in checks[check][1]


def test_a_certificate_that_is_not_trusted_and_a_push_in_the_clear_are_fails(site: Site) -> None:
    site.write(PUSHGATEWAY_CACERT="")
    assert site.doctor()[1]["push"][0] == "FAIL"
    site.write(PUSHGATEWAY_URL=changed(site.proxy.url(), {"https": "http"}))
    assert site.doctor()[1]["push"] == ("FAIL", "PUSHGATEWAY_URL is not https: the password goes in the clear")


def test_a_second_login_that_is_wanted_is_a_warning(site: Site) -> None:
    site.write(FAILOVER_ENABLED="false")
    result, found = site.doctor()[1]["failover"]
    assert (result, found[:22]) == ("WARN", "FAILOVER_ENABLED=false")


def test_without_a_webhook_it_is_a_warning(site: Site) -> None:
    site.write(DISCORD_ALERT_WEBHOOK_URL="")
    assert site.doctor()[1]["webhook"] == ("WARN", "DISCORD_ALERT_WEBHOOK_URL is not set: nobody is told")


@pytest.mark.parametrize(("seconds", "result"), [(5, "WARN"), (-100, "FAIL")])
def test_a_redis_whose_clock_is_wrong_is_told(seconds: int, result: str, site: Site) -> None:
    with redis_of_another_time(site.redis.port, seconds) as port:
        site.write(REDIS_PORT=str(port))
        found = site.doctor()[1]["clock"]
    assert found[0] == result
    assert "s apart" in found[1]


@contextmanager
def redis_of_another_time(port: int, seconds: int) -> Iterator[int]:
    """The real Redis behind a relay that shifts what it says of the time."""

    def shift(match: re.Match[bytes]) -> bytes:
        return b"*2\r\n$10\r\n%d\r\n" % (int(match[1]) + seconds)

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            client.settimeout(20)
            server.settimeout(20)
            while request := client.recv(65536):
                server.sendall(request)
                client.sendall(re.sub(rb"\*2\r\n\$10\r\n(\d{10})\r\n", shift, server.recv(65536)))

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=accept, daemon=True)
        acceptor.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join(10)
