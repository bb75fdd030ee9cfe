"""Who gets into the console, and what is refused: a second console on a stack, behind a login."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any

import pytest
import urllib3
from dotenv import dotenv_values
from playwright.sync_api import Browser, expect

from consoles import PATIENCE_MS, browser, violations, visit
from e2e.stack import Stack, until
from rectbot.settings import BASE_PORTS

pytestmark = pytest.mark.timeout(480)
VIEWER = "one-who-looks"
HTTP = urllib3.PoolManager()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@dataclass
class Guarded:
    """A console that asks for a password, of the same stack."""

    stack: Stack
    port: int
    admin: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(self, method: str, path: str, **options: Any) -> urllib3.BaseHTTPResponse:
        return HTTP.request(method, self.url + path, redirect=False, retries=False, **options)

    def login(self, password: str, **headers: str) -> urllib3.BaseHTTPResponse:
        headers = {"Origin": self.url} | headers
        return self.request("POST", "/login", fields={"password": password}, encode_multipart=False, headers=headers)

    def cookie(self, password: str) -> str:
        """The session of one who knows the password."""
        answer = self.login(password)
        assert answer.status == 303
        return answer.headers["Set-Cookie"].partition(";")[0]

    def page(self, cookie: str) -> str:
        return self.request("GET", "/", headers={"Cookie": cookie}).data.decode()


@pytest.fixture(scope="module")
def guarded(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    offset = stack.offset + 7  # ports that no stack has
    settings = {
        "RECTBOT_PORT_OFFSET": str(offset),
        "REDIS_PORT": str(BASE_PORTS["redis"] + stack.offset),
        "CONSOLE_LOGIN": "true",
        "DASHBOARD_VIEWER_PASSWORD": VIEWER,
        "CONSOLE_PROMETHEUS_URL": stack.url("prometheus"),
        "CONSOLE_ALERTMANAGER_URL": stack.url("alertmanager"),
        "CONSOLE_LOKI_URL": stack.url("loki"),
    }
    admin = dotenv_values(stack.home / ".env")["DASHBOARD_ADMIN_PASSWORD"]
    assert admin
    log = tmp_path_factory.mktemp("console") / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            stack.command("hub", "serve"), env=stack.environment | settings, cwd=stack.home, stdout=file, stderr=file
        )
    try:
        found = Guarded(stack, BASE_PORTS["console"] + offset, admin)
        until(lambda: _answers(found.url), 30, "the console answers")
        yield found
    finally:
        process.terminate()
        process.wait(timeout=10)
    assert admin not in log.read_text()
    assert "Traceback" not in log.read_text()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz") as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _socket(guarded: Guarded, *, origin: str | None, cookie: str, host: str | None = None) -> int:
    """The status with which the page's WebSocket is answered; 101 when it is accepted."""
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Cookie": cookie}
    headers |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Host": host or f"127.0.0.1:{guarded.port}"}
    headers |= {"Origin": origin} if origin else {}
    connection = http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=10)
    try:
        connection.request("GET", "/_nicegui_ws/socket.io/?EIO=4&transport=websocket", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_wrong_password_does_not_enter_and_the_right_one_does(guarded: Guarded, chromium: Browser) -> None:
    with visit(chromium) as visitor:
        page = visitor.page
        page.goto(f"{guarded.url}/logs?last=6h")
        assert page.url == f"{guarded.url}/login?next=%2Flogs%3Flast%3D6h"
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_have_text("This password is wrong.", timeout=PATIENCE_MS)
        assert page.context.cookies() == []
        page.get_by_label("Password").fill(guarded.admin)
        page.get_by_role("button", name="Log in").click()
        expect(page.locator("h1")).to_have_text("Log search", timeout=PATIENCE_MS)
        page.goto(guarded.url)
        expect(page.get_by_role("button", name="Hold")).to_be_visible(timeout=PATIENCE_MS)
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url(f"{guarded.url}/login")
        page.goto(guarded.url)
        assert page.url.startswith(f"{guarded.url}/login")


@pytest.mark.parametrize("language", ["en-US", "ja-JP"])
def test_the_login_can_be_used_by_everybody_on_a_phone_too(guarded: Guarded, chromium: Browser, language: str) -> None:
    with visit(chromium, locale=language, viewport={"width": 360, "height": 700}) as visitor:
        page = visitor.page
        for wrong in (False, True):
            page.goto(f"{guarded.url}/login")
            if wrong:
                page.locator("#password").fill("wrong")
                page.keyboard.press("Enter")
                expect(page.get_by_role("alert")).to_be_visible(timeout=PATIENCE_MS)
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                assert violations(page) == [], scheme
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, "nothing sticks out at the side"


def test_the_session_is_a_signed_cookie_that_scripts_and_other_sites_do_not_get(guarded: Guarded) -> None:
    answer = guarded.login(guarded.admin)
    header = answer.headers["Set-Cookie"]
    (morsel,) = SimpleCookie(header).values()
    assert morsel["httponly"]
    assert morsel["samesite"] == "strict"
    assert guarded.admin not in header
    cookie = f"{morsel.key}={morsel.value}"
    assert "Both sites, now" in guarded.page(cookie)
    forged = cookie[:-2] + ("aa" if cookie[-2:] != "aa" else "bb")
    assert guarded.request("GET", "/", headers={"Cookie": forged}).status == 303
    headers = guarded.request("GET", "/login").headers
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_a_stranger_sees_the_login_and_nothing_else(guarded: Guarded) -> None:
    for path in ("/", "/logs", "/d/rectbot-overview", "/no-such-page", "/docs", "/openapi.json"):
        answer = guarded.request("GET", path)
        assert answer.status == 303, path
        assert answer.headers["Location"].startswith("/login?next="), path
    assert guarded.request("POST", "/logs", headers={"Origin": guarded.url}).status == 401
    assert _socket(guarded, origin=guarded.url, cookie="") == 403


def test_requests_of_other_sites_are_refused_even_with_the_session(guarded: Guarded) -> None:
    cookie = guarded.cookie(guarded.admin)
    assert _socket(guarded, origin=guarded.url, cookie=cookie) == 101
    for origin in (
        "http://evil.example",
        "http://127.0.0.1:1",
        "null",
        None,
        guarded.url + ".evil.example",
        "http://[::1",
    ):
        assert _socket(guarded, origin=origin, cookie=cookie) == 403, origin
        headers = {"Cookie": cookie} | ({"Origin": origin} if origin else {})
        assert guarded.request("POST", "/logout", headers=headers).status == 403, origin
    polling = f"/_nicegui_ws/socket.io/?EIO=4&transport=polling&t={uuid.uuid4()}"
    assert guarded.request("GET", polling, headers={"Cookie": cookie}).status == 403
    embedded = {"Cookie": cookie, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert guarded.request("GET", "/", headers=embedded).status == 403
    assert "Both sites, now" in guarded.page(cookie), "the session is still there"


def test_a_name_that_is_not_ours_is_refused(guarded: Guarded) -> None:
    """DNS rebinding: a site's own name is made to point to loopback, and is then of one origin with us."""
    cookie = guarded.cookie(guarded.admin)
    host = f"evil.example:{guarded.port}"
    assert guarded.request("GET", "/", headers={"Host": host, "Cookie": cookie}).status == 421
    assert _socket(guarded, origin=f"http://{host}", cookie=cookie, host=host) == 403
    assert guarded.request("GET", "/healthz", headers={"Host": f"localhost:{guarded.port}"}).status == 200


def test_a_viewer_sees_everything_and_can_do_nothing(guarded: Guarded, chromium: Browser) -> None:
    before = _orders(guarded.stack)
    with visit(chromium) as visitor:
        page = visitor.page
        page.goto(guarded.url)
        page.get_by_label("Password").fill(VIEWER)
        page.get_by_role("button", name="Log in").click()
        expect(page.locator("[data-name=leader]")).to_have_text("xserver", timeout=PATIENCE_MS)
        expect(page.locator(".badge")).to_have_text("read only")
        names = page.get_by_role("button").all_inner_texts()
        assert not [name for name in names if re.match("Hold|Switch to|Drain|Silence", name)]
        # Every event that the page knows of, whether or not something is there to click on.
        page.evaluate(
            """() => { for (const [id, element] of Object.entries(mounted_app.elements)) {
                for (const {listener_id} of element.events || [])
                    window.socket.emit('event', {id: Number(id), client_id: window.clientId, listener_id, args: []});
            } }"""
        )
        page.wait_for_timeout(500)
        expect(page.locator("[data-name=leader]")).to_have_text("xserver")
    assert _orders(guarded.stack) == before


def _orders(stack: Stack) -> list[Any]:
    status = json.loads(stack.run("failover", "status", "--json").stdout)
    return [status[name] for name in ("epoch", "hold", "drained", "pinned")]


def test_logging_out_ends_copies_of_the_session_too(guarded: Guarded) -> None:
    cookie = guarded.cookie(guarded.admin)
    left = guarded.request("POST", "/logout", headers={"Cookie": cookie, "Origin": guarded.url})
    assert left.status == 303
    assert guarded.request("GET", "/", headers={"Cookie": cookie}).status == 303
    assert _socket(guarded, origin=guarded.url, cookie=cookie) == 403


def test_a_login_leads_nowhere_else(guarded: Guarded) -> None:
    for target in ("//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"):
        fields = {"password": guarded.admin, "next": target}
        headers = {"Origin": guarded.url}
        answer = guarded.request("POST", "/login", fields=fields, encode_multipart=False, headers=headers)
        assert answer.headers["Location"] == "/", target


def test_guessing_is_slowed_down(guarded: Guarded) -> None:
    """The last test: this address may not try again for a minute."""
    answers = [guarded.login(f"guess {number}").status for number in range(7)]
    assert answers[-1] == 429
    assert set(answers) == {403, 429}
    refused = guarded.login(guarded.admin)
    assert refused.status == 429, "not even the right one is looked at"
    assert 0 < int(refused.headers["Retry-After"]) <= 61
