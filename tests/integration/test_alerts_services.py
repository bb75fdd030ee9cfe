"""ALERT_URLS: every kind of service that can run here is a real server on loopback, asked through the real Apprise."""

from __future__ import annotations

import email
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from pydantic import SecretStr

from rectbot.alerts.alertmanager_text import title_and_text
from rectbot.alerts.notifier import deliver, notifiers
from rectbot.alerts.relay import Relay
from rectbot.errors import ConfigError
from rectbot.settings import Settings
from servers import free_port
from servers_monitoring import HTTP, alertmanager, local_discord, running, until

PASSWORD = "hunter2-Secret"


class Web(ThreadingHTTPServer):
    """A server of webhooks: of ntfy's kind (JSON with a topic) and of Slack's (JSON with a text)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Webhooks)
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.status = 200
        self.hang = threading.Event()
        self.hang.set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """Of a client that did not wait for its answer there is nothing to say."""


class _Webhooks(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Web = self.server  # type: ignore[assignment]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.hang.wait(60)
        if server.status == 200:
            server.got.append((self.path, json.loads(body)))
        self.send_response(server.status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"id": "1"}' if server.status == 200 else b'{"error": "no such key"}')

    def log_message(self, *_: object) -> None:
        pass


class Mail:
    """An SMTP server that wants a login."""

    def __init__(self) -> None:
        self.got: list[email.message.Message] = []

    def __call__(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        good = isinstance(data, LoginPassword) and data.password == PASSWORD.encode()
        return AuthResult(success=good, handled=True)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.got.append(email.message_from_bytes(envelope.content))
        return "250 taken"


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.hang.set()
    server.shutdown()
    server.server_close()


@contextmanager
def mail_server() -> Iterator[tuple[Mail, str]]:
    mail = Mail()
    port = free_port()
    controller = Controller(
        mail, hostname="127.0.0.1", port=port, authenticator=mail, auth_required=True, auth_require_tls=False
    )
    controller.start()
    try:
        yield mail, f"mailto://bot:{PASSWORD}@127.0.0.1:{port}/?from=bot@example.org&to=me@example.org&mode=insecure"
    finally:
        controller.stop()


@pytest.fixture
def mail() -> Iterator[tuple[Mail, str]]:
    with mail_server() as server:
        yield server


def ntfy(web: Web) -> str:
    return f"ntfy://127.0.0.1:{web.server_port}/topic7Rq2xZ"


def slack_alike(web: Web) -> str:
    """Mattermost takes what Slack's incoming webhooks take."""
    return f"mmost://127.0.0.1:{web.server_port}/tok3nOfTheHook123"


def settings_with(*urls: str, **more: Any) -> Settings:
    return Settings(_env_file=None, alert_urls=SecretStr(" ".join(urls)), **more)


def environment(folder: Path, *urls: str, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "RECTBOT_HOME": str(folder), "ALERT_URLS": " ".join(urls), **more}


def rectbot(*words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rectbot", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=110)


def test_each_kind_gets_the_text(web: Web, mail: tuple[Mail, str], tmp_path: Path) -> None:
    server, address = mail
    with local_discord(tmp_path) as discord:
        settings = settings_with(
            ntfy(web), slack_alike(web), address, discord_alert_webhook_url=SecretStr(discord.webhook_url)
        )
        text = "the disk is *full* <@everyone>\nsecond line"
        outcomes = deliver(text, "A title", notifiers(settings))
        assert [str(each) for each in outcomes if each.error] == []
        assert [each.name for each in outcomes] == [
            "Discord (DISCORD_ALERT_WEBHOOK_URL)",
            "ntfy (ALERT_URLS, 1st)",
            "Mattermost (ALERT_URLS, 2nd)",
            "E-Mail (ALERT_URLS, 3rd)",
        ]
        assert discord.taken()[0]["content"] == text
    got = {("ntfy" if "topic" in body else "slack"): body for _, body in web.got}
    assert got["ntfy"]["message"] == text
    assert got["ntfy"]["title"] == "A title"
    assert "second line" in got["slack"]["text"]
    (letter,) = server.got
    assert letter["Subject"] == "A title"
    assert letter["To"] == "me@example.org"
    parts = [part.get_payload(decode=True) for part in letter.walk() if part.get_content_type() == "text/plain"]
    assert text.splitlines()[1].encode() in b"".join(part for part in parts if isinstance(part, bytes))


def test_the_command_tries_each_and_says_what_happened(web: Web, mail: tuple[Mail, str], tmp_path: Path) -> None:
    _, address = mail
    good = environment(tmp_path, ntfy(web), address)
    done = rectbot("alert", "--test", env=good)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first.startswith("alert: ntfy (ALERT_URLS, 1st): delivered in ")
    assert second.startswith("alert: E-Mail (ALERT_URLS, 2nd): delivered in ")
    nobody = f"ntfy://127.0.0.1:{free_port()}/topic7Rq2xZ"
    wrong = address.replace(PASSWORD, "wr0ngPassWord")
    done = rectbot("alert", "--test", env=environment(tmp_path, nobody, ntfy(web), wrong))
    assert (done.returncode, done.stderr) == (1, "")
    first, second, third = done.stdout.splitlines()
    assert first.startswith("alert: ntfy (ALERT_URLS, 1st): FAILED: not delivered: ")
    assert "delivered in" in second
    assert third.startswith("alert: E-Mail (ALERT_URLS, 3rd): FAILED: not delivered: ")
    for secret in ("topic7Rq2xZ", "wr0ngPassWord", PASSWORD):
        assert secret not in done.stdout


def test_a_message_by_hand_reaches_the_others_though_one_is_away(web: Web, tmp_path: Path) -> None:
    nobody = f"ntfy://127.0.0.1:{free_port()}/topic7Rq2xZ"
    done = rectbot("alert", "hello", env=environment(tmp_path, nobody, slack_alike(web)))
    assert done.returncode == 1
    assert done.stderr.startswith("rectbot: ntfy (ALERT_URLS, 1st): not delivered: ")
    assert done.stderr.count("\n") == 1
    assert [body["text"] for _, body in web.got] == ["hello"] or "hello" in web.got[0][1]["text"]


def test_one_that_hangs_holds_up_neither_the_others_nor_the_end(web: Web, tmp_path: Path) -> None:
    other = Web()
    try:
        web.hang.clear()
        began = time.monotonic()
        done = rectbot("alert", "--test", env=environment(tmp_path, ntfy(web), ntfy(other)))
        assert time.monotonic() - began < 50
        assert done.returncode == 1
        first, second = done.stdout.splitlines()
        assert "FAILED" in first
        assert "delivered" in second
    finally:
        other.shutdown()
        other.server_close()


@pytest.mark.parametrize(
    "url",
    ["nothing", "https://example.org/s3cretPath99", "tgram://", "slack://x", "sch3me://S3cretHost77/x"],
)
def test_what_is_no_address_is_named_by_its_place_and_not_shown(url: str, web: Web, tmp_path: Path) -> None:
    done = rectbot("alert", "--test", env=environment(tmp_path, ntfy(web), url))
    assert done.returncode == 2
    assert done.stderr.startswith("rectbot: ALERT_URLS, 2nd: is no address that Apprise takes; ")
    assert done.stderr.count("\n") == 1
    assert "3cret" not in done.stderr + done.stdout
    assert web.got == []


def test_nobody_to_tell_and_no_text_are_said(tmp_path: Path) -> None:
    for words in (["alert", "hello"], ["alert", "--test"]):
        done = rectbot(*words, env=environment(tmp_path))
        assert done.returncode == 2
        assert "set DISCORD_ALERT_WEBHOOK_URL" in done.stderr
    for words in (["alert"], ["alert", "hello", "--test"]):
        done = rectbot(*words, env=environment(tmp_path))
        assert done.returncode == 2
        assert "give either a TEXT or --test" in done.stderr


def test_without_apprise_it_is_said_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "apprise.py").write_text("raise ImportError")
    done = rectbot("alert", "x", env=environment(tmp_path, "ntfy://a/b", PYTHONPATH=str(tmp_path)))
    assert done.returncode == 2
    assert "ALERT_URLS needs the extra `alerts`, which is not installed" in done.stderr


def test_apprise_is_loaded_only_where_it_is_used(tmp_path: Path) -> None:
    program = (
        "import sys; from rectbot.alerts import by_hand, notifier, relay; from rectbot.push import agent;"
        " from rectbot.settings import load_settings; notifier.notifiers(load_settings());"
        " sys.exit('apprise' in sys.modules or 'requests' in sys.modules)"
    )
    env = environment(tmp_path, DISCORD_ALERT_WEBHOOK_URL="http://127.0.0.1:9/api/webhooks/1/x")
    done = subprocess.run([sys.executable, "-c", program], env=env, check=False)
    assert done.returncode == 0


def notification(name: str = "XserverPushMissing", status: str = "firing", count: int = 1) -> bytes:
    """As Alertmanager writes it."""
    alert = {
        "status": status,
        "labels": {"alertname": name},
        "annotations": {"summary": "Nothing heard", "description": "<!channel> @all", "runbook_url": "docs/x.md#y"},
        "startsAt": "2026-11-27T10:00:00.5Z",
        "endsAt": "2026-11-27T11:00:00Z",
    }
    common = {"alertname": name, "severity": "critical"}
    return json.dumps({"status": status, "commonLabels": common, "alerts": [alert] * count}).encode()


@pytest.fixture
def relay(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Relay:
    urls = f"{ntfy(web)} {slack_alike(web)}"
    monkeypatch.setenv("RECTBOT_HOME", str(tmp_path))
    monkeypatch.setenv("ALERT_URLS", urls)
    return Relay(2)


async def test_what_alertmanager_says_becomes_plain_text(relay: Relay, web: Web) -> None:
    assert (await relay.take(notification()))[0] == 200
    (body,) = (body for _, body in web.got if "topic" in body)
    assert body["title"] == "CRITICAL: XserverPushMissing"
    assert body["message"] == (
        "Nothing heard\n<\u200b!channel> @\u200ball\nSince 2026-11-27 10:00:00 UTC. What to do: docs/x.md#y"
    )
    assert (await relay.take(notification(status="resolved")))[0] == 200
    assert web.got[-1][1].get("title", "RESOLVED: XserverPushMissing") == "RESOLVED: XserverPushMissing"
    assert (await relay.take(notification(count=500)))[0] == 200
    assert any("more" in str(body.get("message", ""))[-12:] for _, body in web.got)
    cut = json.dumps(json.loads(notification()) | {"truncatedAlerts": 7}).encode()
    assert title_and_text(cut)[1].endswith("and 7 more")


async def test_of_two_tries_each_service_gets_one(relay: Relay, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = f"ntfy://127.0.0.1:{free_port()}/topic7Rq2xZ"
    monkeypatch.setenv("ALERT_URLS", f"{nobody} {slack_alike(web)}")
    assert (await relay.take(notification()))[0] == 502
    assert (await relay.take(notification()))[0] == 502
    assert len(web.got) == 1, "the one that is there is told once"
    monkeypatch.setenv("ALERT_URLS", f"{ntfy(web)} {slack_alike(web)}")
    assert (await relay.take(notification()))[0] == 200
    assert len(web.got) == 2
    assert (await relay.take(notification()))[0] == 200, "the same, hours later, is a reminder"
    assert len(web.got) == 4


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b'{"alerts": []}', b'{"alerts": 1}', b'{"alerts": [1]}', b"[" * 9999, b"\xff"),
        b'{"alerts": [{}], "commonLabels": [1]}',
    ],
)
async def test_what_is_no_notification_is_refused(body: bytes, relay: Relay, web: Web) -> None:
    assert (await relay.take(body))[0] == 400
    assert web.got == []


async def test_without_services_nothing_is_to_be_done() -> None:
    assert (await Relay(0).take(notification()))[0] == 200


def test_from_alertmanager_through_the_hub_to_people(web: Web, tmp_path: Path) -> None:
    """The real Alertmanager, with the configuration that the native engine makes for it, and the real hub."""
    port = free_port()
    while not 9464 < port < 60_000:
        port = free_port()
    env = environment(
        tmp_path, ntfy(web), RECTBOT_PORT_OFFSET=str(port - 9464), CONSOLE_PORT="0", REDIS_HOST="127.0.0.1",
        REDIS_PORT=str(free_port()),
    )  # fmt: skip
    hub = ["env", *(f"{name}={value}" for name, value in env.items()), sys.executable, "-m", "rectbot", "hub", "serve"]
    here = f"http://127.0.0.1:{port}"

    def up() -> bool:
        try:
            return HTTP.request("GET", f"{here}/healthz").status == 200
        except Exception:
            return False

    with (
        running(hub, tmp_path / "hub.log", up),
        alertmanager(tmp_path, None, {"group_wait: 10s": "group_wait: 0s"}, hub=f"127.0.0.1:{port}") as manager,
    ):
        alert = {"labels": {"alertname": "RedisDown", "severity": "critical", "area": "redis", "job": "hub"}}
        alert |= {"annotations": {"summary": "Redis is away", "description": "d"}}
        url = f"http://127.0.0.1:{manager}/api/v2/alerts"
        assert HTTP.request("POST", url, json=[alert]).status == 200
        until(lambda: web.got, "the alert arrives", 60)
        assert web.got[0][1]["title"] == "CRITICAL: RedisDown"
        assert "topic7Rq2xZ" not in (tmp_path / "hub.log").read_text()
        for headers, status in (
            ({"Origin": "http://evil.example"}, 403),
            ({"Host": "evil.example"}, 421),
            ({"Content-Length": "9999999"}, 413),
            ({"Content-Length": "x"}, 411),
        ):
            assert _post(port, headers) == status
        assert HTTP.request("GET", f"{here}/notify").status == 404
    assert len(web.got) == 1


def _post(port: int, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest("POST", "/notify", skip_host="Host" in headers)
    for name, value in ({"Content-Length": "2"} | headers).items():
        connection.putheader(name, value)
    connection.endheaders()
    with suppress(OSError):
        connection.send(b"{}")
    return connection.getresponse().status


def test_failing_pushes_are_told_to_services_too(web: Web, tmp_path: Path) -> None:
    program = (
        "from rectbot.push import agent; agent.SHORTEST_INTERVAL_SECONDS = 0.1; from rectbot.cli import main; main()"
    )
    env = environment(tmp_path, ntfy(web), PUSHGATEWAY_URL=f"http://127.0.0.1:{free_port()}/metrics/job/x")
    for _ in range(4):
        subprocess.run([sys.executable, "-c", program, "push"], env=env, capture_output=True, check=False)
    ((_, body),) = web.got
    assert "3 pushes in a row have failed" in body["message"]


def test_wrong_settings_are_said_before_anything_is_sent(web: Web) -> None:
    with pytest.raises(ConfigError, match="ALERT_URLS, 2nd"):
        notifiers(settings_with(ntfy(web), "x://y"))
    assert settings_with("ntfy://a/b,ntfy://c/d", "mailto://u:p@h?to=a@b.c,d@e.f").alert_services == [
        "ntfy://a/b",
        "ntfy://c/d",
        "mailto://u:p@h?to=a@b.c,d@e.f",
    ]
