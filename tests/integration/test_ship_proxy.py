"""Logs through the push proxy: the committed nginx.conf and the real nginx."""

from __future__ import annotations

import gzip
import json
import logging
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3

from loki_stand_in import PUSH_PATH, StandIn, stand_in
from rectbot.errors import ConfigError
from rectbot.logs.client.push import Answer, Fate, PushClient
from rectbot.logs.client.target import Target, make_target, target_of
from rectbot.logs.ship.batch import Line, encode
from rectbot.logs.ship.wiring import handler_of
from rectbot.settings import Settings
from servers import free_port
from servers_monitoring import PASSWORD, Proxy, make_certificate, push_proxy, until

RIGHT = urllib3.make_headers(basic_auth=f"prom:{PASSWORD}")
WRONG = urllib3.make_headers(basic_auth="prom:wrong")
OUTSIDER = "127.0.0.2"


@dataclass(frozen=True)
class Stack:
    """A proxy, and Loki's stand-in behind it."""

    proxy: Proxy
    loki: StandIn

    @property
    def url(self) -> str:
        return self.proxy.url("")

    def push(self, text: str, **options: str) -> Answer:
        target = make_target(self.url, "prom", options.get("password", PASSWORD), self.proxy.certificate)
        return PushClient(target).push(encode([Line((("job", "x"),), 1, text)]))

    def ask(self, method: str, path: str, headers: dict[str, str], source: str | None = None) -> int:
        context = ssl.create_default_context(cafile=self.proxy.certificate)
        address = (source, 0) if source else None
        body = gzip.compress(json.dumps({"streams": []}).encode()) if method in {"POST", "PUT"} else None
        with urllib3.PoolManager(ssl_context=context, source_address=address, retries=False, timeout=20) as pool:
            return pool.request(method, self.proxy.url(path), headers=headers, body=body, redirect=False).status


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("proxy")
    with stand_in() as loki, push_proxy(folder, free_port(), loki_port=loki.port) as proxy:
        yield Stack(proxy, loki)


def test_the_right_password_from_an_allowed_address_ships(stack: Stack) -> None:
    assert stack.push("hello") == Answer(Fate.TAKEN)
    assert "hello" in stack.loki.texts(job="x")


def test_nobody_else_does(stack: Stack) -> None:
    before = stack.loki.attempts
    refused = stack.push("intruder", password="wrong")
    assert refused.fate is Fate.LATER
    assert "401: wrong user or password" in refused.reason
    assert stack.ask("POST", PUSH_PATH, {}) == 401
    with pytest.raises((urllib3.exceptions.SSLError, urllib3.exceptions.ProtocolError)):  # turned away before TLS
        stack.ask("POST", PUSH_PATH, RIGHT, source=OUTSIDER)
    assert stack.loki.attempts == before


def test_the_password_and_a_tenant_are_not_passed_on(stack: Stack) -> None:
    assert stack.ask("POST", PUSH_PATH, {**RIGHT, "X-Scope-OrgID": "other"}) == 204
    passed = {name.lower() for name in stack.loki.headers[-1]}
    assert not passed & {"authorization", "x-scope-orgid"}


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_only_post_is_a_push(method: str, stack: Stack) -> None:
    assert stack.ask(method, PUSH_PATH, RIGHT) == 403
    assert stack.ask(method, PUSH_PATH, WRONG) in {401, 403}


@pytest.mark.parametrize(
    "path",
    [
        "/loki/api/v1/query_range",
        "/loki/api/v1/delete",
        "/loki/api/v1/push/",
        "/loki/api/v1/tail",
        "/loki/api/v1/labels",
        "/ready",
        "/config",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_else_of_loki_is_reachable(method: str, path: str, stack: Stack) -> None:
    assert stack.ask(method, path, RIGHT) == 404
    assert stack.ask(method, path, {}) == 401


def test_loki_s_own_refusal_gets_through(stack: Stack) -> None:
    stack.loki.refuse = lambda: (429, {"Retry-After": "7", "Content-Type": "text/plain"}, b"rate limit")
    try:
        answer = stack.push("much")
    finally:
        stack.loki.refuse = lambda: None
    assert (answer.fate, answer.retry_after) == (Fate.LATER, 7)
    assert "rate limit" in answer.reason


def test_loki_away_is_for_later(tmp_path: Path) -> None:
    with push_proxy(tmp_path, free_port(), loki_port=free_port()) as proxy:
        answer = Stack(proxy, StandIn(0)).push("x")
    assert answer.fate is Fate.LATER
    assert "502: the proxy answers, Loki behind it does not" in answer.reason


def test_an_untrusted_certificate_is_for_later_and_says_what_to_do(stack: Stack, tmp_path: Path) -> None:
    make_certificate(tmp_path)
    target = make_target(stack.url, "prom", PASSWORD, tmp_path / "tls.crt")
    answer = PushClient(target).push(b"")
    assert answer.fate is Fate.LATER
    assert "the certificate is not trusted" in answer.reason
    assert "LOKI_CACERT" in answer.reason


def test_the_settings_of_pushes_are_enough(stack: Stack, tmp_path: Path) -> None:
    """The same proxy: the same user, password and certificate."""
    settings = Settings(
        loki_url=stack.url,
        pushgateway_url=stack.proxy.url(),
        pushgateway_password=PASSWORD,
        pushgateway_cacert=stack.proxy.certificate,
        rectbot_home=tmp_path,
    )
    handler = handler_of(settings, "bot", "oci", secrets=["a token"])
    assert handler is not None
    logger = logging.getLogger("ship.proxy")
    logger.addHandler(handler)
    try:
        logger.warning("the password is %s and a token", PASSWORD)
        until(lambda: stack.loki.messages(site="oci"), "it arrives")
    finally:
        logger.removeHandler(handler)
        handler.close()
    assert stack.loki.messages(job="bot", site="oci", level="warn") == ["the password is *** and ***"]
    assert (tmp_path / "var/logs/bot-oci").is_dir()


def test_the_password_of_pushes_goes_to_no_other_address(tmp_path: Path) -> None:
    settings = Settings(loki_url="https://logs.example.com", pushgateway_password=PASSWORD, rectbot_home=tmp_path)
    target = target_of(settings)
    assert isinstance(target, Target)
    assert target.headers == {}
    both = settings.model_copy(update={"pushgateway_url": "https://logs.example.com:443/metrics/job/x"})
    assert target_of(both, "https://elsewhere.example.com").headers == {}  # type: ignore[union-attr]
    assert target_of(both).headers == {"Authorization": RIGHT["authorization"]}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "url", ["localhost:9443", "ftp://x", "https://", "https://x:port", "https://u:p@x", "https://x/?a=b", "nonsense"]
)
def test_a_wrong_address_is_a_clear_error(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_target(url)
    assert "\n" not in str(caught.value)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize("path", ["", "/", PUSH_PATH])
def test_the_address_may_be_written_as_other_shippers_want_it(path: str) -> None:
    assert make_target(f"http://127.0.0.1:3100{path}").url == "http://127.0.0.1:3100"
