"""`rectbot doctor` on a host that runs a site's bot and push agent, whose stack is elsewhere."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from rectbot.doctor.files import passwords
from rectbot.doctor.subject import Engine, Subject
from rectbot.doctor.verdict import Result
from rectbot.install import Site as Unit
from rectbot.install import crontab, units
from rectbot.settings import KNOWN, load_settings
from rectbot.stack.layout import Layout
from rectbot.stack.redis_users import COMMANDS
from servers import RedisServer
from servers_monitoring import PASSWORD, Discord, Proxy, changed, local_discord, push_proxy, pushgateway, until


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
            "DISCORD_BOT_TOKEN": "local-discord",
            "DISCORD_API_URL": f"http://127.0.0.1:{self.discord.port}/api/v10",
            "LOCK_TTL_MS": "3000",
        } | settings
        path = self.home / ".env"
        path.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
        path.chmod(0o600)

    def run_doctor(self) -> subprocess.CompletedProcess[str]:
        return self.run("doctor", "--json")

    @property
    def environment(self) -> dict[str, str]:
        """With programs of the test's own in front of the system's, and nobody's units."""
        path = f"{self.home / 'bin'}:{os.environ['PATH']}"
        return {"PATH": path, "HOME": str(self.home), "RECTBOT_HOME": str(self.home)}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "rectbot", *words],
            env=self.environment, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def put(self, name: str, script: str) -> None:
        """A program in front of the system's: systemd and cron do not run in a container."""
        path = self.home / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def schedule(self, lines: str) -> None:
        """These lines are the crontab."""
        (self.home / "crontab").write_text(lines)
        self.put("crontab", f'cat "{self.home}/crontab"')

    @contextmanager
    def bot(self, **changes: str) -> Iterator[subprocess.Popen[bytes]]:
        """The bot as its unit starts it."""
        changes = {"BOT_PID_FILE": f"{self.home}/var/run/bot-xserver.pid"} | changes
        with (self.home / "log").open("wb") as log:
            command = [sys.executable, "-m", "rectbot", "bot"]
            process = subprocess.Popen(command, env=self.environment | changes, stdout=log, stderr=log, cwd=self.home)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)

    def heard(self) -> bool:
        return self.redis.command("EXISTS rectbot:hb:xserver") == b":1\r\n"

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
        site = Site(home, redis, proxy, discord)
        site.schedule("")
        yield site


def test_a_site_in_order(site: Site) -> None:
    site.write()
    assert site.run("push").returncode == 0
    site.schedule(crontab(Unit("xserver", site.home, None)))
    with site.bot(), site.bot(SITE_ID="oci", BOT_PID_FILE=""):
        until(lambda: site.heard() and site.redis.command("EXISTS rectbot:hb:oci") == b":1\r\n", "both beat", 60)
        _, checks = site.doctor()
    wanted = {"failover", "file-modes", "passwords", "redis-password", "redis-rights", "clock", "push", "webhook"}
    wanted |= {"disk", "bot", "start", "token", "lease", "timing", "containment", "log", "log-secrets", "pushed"}
    assert set(checks) == wanted
    assert checks.pop("passwords") == (
        "FAIL",
        "REDIS_PASSWORD is shorter than 16 characters; PUSHGATEWAY_PASSWORD is shorter than 16 characters",
    )
    assert checks.pop("redis-rights") == ("WARN", "at Redis default may change users, settings and others' keys")
    held, found = checks.pop("containment")
    assert held == ("PASS" if "held by a PID namespace" in found else "WARN")
    assert found.startswith("the bot that runs is held by")
    assert {result for result, _ in checks.values()} == {"PASS"}, checks


IDLE = {
    "bot": "the bot does not run: the store has no new heartbeat of xserver, and no process of it is known here",
    "start": "neither systemd nor the crontab starts: bot, push",
    "pushed": "no push of xserver-bot has ever arrived from here",
}


def test_where_nothing_runs_that_is_a_fail(site: Site) -> None:
    site.write()
    code, checks = site.doctor()
    assert code == 1
    assert {name: checks[name] for name in IDLE} == {name: ("FAIL", found) for name, found in IDLE.items()}
    assert checks["timing"][0] == "WARN", "nobody can tell"


def test_a_bot_that_died_is_missed_though_its_last_heartbeat_is_there(site: Site) -> None:
    site.write(HB_TTL_SEC="600")
    with site.bot() as process:
        until(site.heard, "it beats", 60)
        assert site.doctor()[1]["bot"][0] == "PASS"
        process.kill()
        until(lambda: site.doctor()[1]["bot"][0] == "FAIL", "it is missed", 30)
        assert site.heard()


def test_what_cannot_be_asked_is_unknown_and_a_fail(site: Site) -> None:
    site.write(REDIS_PORT="9", DISCORD_API_URL="http://127.0.0.1:9/api/v10")
    site.put("crontab", "exec sleep 60")
    checks = site.doctor()[1]
    assert checks["bot"][0] == "FAIL"
    assert checks["bot"][1].startswith(
        "unknown whether it stands by or leads (no process of it is known here): Redis at"
    )
    assert checks["start"] == ("FAIL", "unknown: there are no units of systemd, and the crontab cannot be read")
    assert checks["token"][0] == "FAIL"
    assert checks["timing"][0] == "FAIL"


@pytest.mark.parametrize(
    ("token", "found"),
    [
        ("wrong-token", "Discord refuses DISCORD_BOT_TOKEN"),
        ("", "DISCORD_BOT_TOKEN is not set: our bot cannot log in"),
        ('"two words"', "DISCORD_BOT_TOKEN holds what no token holds"),
    ],
)
def test_a_token_that_will_not_do(token: str, found: str, site: Site) -> None:
    site.write(DISCORD_BOT_TOKEN=token)
    assert site.doctor()[1]["token"] == ("FAIL", found)


def test_a_program_of_ones_own_has_its_own_token(site: Site) -> None:
    site.write(DISCORD_BOT_TOKEN="")
    site.schedule(crontab(Unit("xserver", site.home, None, ("node", "bot.js"), site.home)))
    checks = site.doctor()[1]
    assert (checks["token"][0], checks["start"]) == ("PASS", ("PASS", "the crontab starts bot and pushes"))


def test_each_site_with_its_own_ttl_is_a_fail(site: Site) -> None:
    site.write()
    with site.bot(SITE_ID="oci", LOCK_TTL_MS="4000", BOT_PID_FILE=""):
        until(lambda: site.redis.command("EXISTS rectbot:hb:oci") == b":1\r\n", "it beats", 60)
        assert site.doctor()[1]["timing"] == ("FAIL", "LOCK_TTL_MS is 3000 here, but oci has 4000")


@pytest.mark.parametrize(("minutes", "result"), [(1, "PASS"), (5, "WARN"), (20, "FAIL")])
def test_a_push_that_is_long_ago(minutes: int, result: str, site: Site) -> None:
    site.write()
    assert site.run("push").returncode == 0
    (file,) = (site.home / "var" / "push").glob("*.arrived")
    then = time.time() - minutes * 60
    os.utime(file, (then, then))
    assert site.doctor()[1]["pushed"][0] == result


def test_a_bot_without_failover_is_found_by_what_it_was_started_with(site: Site) -> None:
    site.write()
    with site.bot(FAILOVER_ENABLED="false"):
        until((site.home / "var/run/bot-xserver.pid").exists, "it runs", 60)
        found = ("FAIL", "the bot that runs here was started with FAILOVER_ENABLED=false")
        assert site.doctor()[1]["failover"] == found


def test_a_log_that_holds_a_secret_is_found_and_not_shown(site: Site) -> None:
    site.write()
    (site.home / "var").mkdir()
    (site.home / "var" / "bot-xserver.log").write_text(f"x\npassword is {PASSWORD}!\n")
    result, found = site.doctor()[1]["log-secrets"]
    assert result == "FAIL"
    assert found.endswith("bot-xserver.log holds PUSHGATEWAY_PASSWORD")


@pytest.mark.parametrize(("state", "result"), [("active", "PASS"), ("failed", "FAIL"), ("", "FAIL")])
def test_units_of_systemd_that_run_or_do_not(state: str, result: str, site: Site) -> None:
    site.write()
    site.put("systemctl", f'[ "$1" = --user ] && echo {state}')
    folder = site.home / ".config" / "systemd" / "user"
    folder.mkdir(parents=True)
    for name, text in units(Unit("xserver", site.home, None)).items():
        (folder / name).write_text(text)
    assert site.doctor()[1]["start"][0] == result
    (folder / "rectbot-push.timer").unlink()
    assert site.doctor()[1]["start"] == ("FAIL", f"{folder} lacks rectbot-push.timer")


def test_a_site_that_was_not_named_is_a_site_all_the_same(site: Site) -> None:
    site.write(SITE_ID="")
    checks = site.doctor()[1]
    assert checks["failover"][0] == "FAIL"
    assert checks["bot"][1].startswith("unknown, as SITE_ID is not set")


def test_a_site_with_a_user_of_its_own_may_no_more_than_it_needs(site: Site) -> None:
    site.redis.command(f"ACL SETUSER xserver on >own ~rectbot:* &rectbot:* -@all {' '.join(f'+{c}' for c in COMMANDS)}")
    site.write(REDIS_USER="xserver", REDIS_PASSWORD="own")
    assert site.doctor()[1]["redis-rights"] == ("PASS", "each login is refused what the lease does not need")
    site.redis.command("ACL SETUSER xserver ~*")
    assert site.doctor()[1]["redis-rights"][0] == "WARN"


@pytest.mark.parametrize(
    ("where", "needs_one"),
    [
        ({}, True),
        ({"LEASE_URL": "redis://127.0.0.1:9"}, True),
        ({"LEASE_URL": "redis://xserver:a-password-of-the-url@127.0.0.1:9"}, False),
        ({"REDIS_URL": "redis://xserver:a-password-of-the-url@127.0.0.1:9"}, False),
        ({"LEASE_URL": "s3://bucket/bots"}, False),
        ({"LEASE_URL": "etcd://127.0.0.1:9/bots"}, False),
    ],
)
def test_a_site_needs_a_password_of_redis_where_the_lease_is_there(
    where: dict[str, str], needs_one: bool, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)
    site.write(REDIS_PASSWORD="", PUSHGATEWAY_PASSWORD="a-long-password-of-pushes", **where)
    settings = load_settings(rectbot_home=site.home)
    verdict = passwords(Subject(settings, Layout.of(settings), Engine.SITE))
    assert (verdict.result is Result.FAIL) is needs_one, verdict
    assert ("REDIS_PASSWORD is not set" in verdict.found) is needs_one


def test_a_site_makes_no_passwords_so_they_are_to_be_copied(site: Site) -> None:
    site.write()
    done = site.run_doctor()
    (passwords,) = [check for check in json.loads(done.stdout)["checks"] if check["name"] == "passwords"]
    assert passwords["mend"].startswith("invite this site again, and join, or correct ")
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
    assert site.doctor()[1]["webhook"] == (
        "WARN",
        "neither DISCORD_ALERT_WEBHOOK_URL nor ALERT_URLS is set: nobody is told",
    )


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
