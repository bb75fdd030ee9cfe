"""`rectbot push` against the real proxy and Pushgateway: what arrives, and what each failure says."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from rectbot.push import PushError, PushExit
from rectbot.push import send as sending
from rectbot.push.measure import METRICS, Meter
from rectbot.push.send import send
from rectbot.push.target import target_of
from rectbot.settings import Settings
from servers import free_port
from servers_monitoring import PASSWORD, ROOT, Proxy, make_certificate, push_proxy, pushed_groups, pushgateway

BODY = b"some_metric 1\n"


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with pushgateway(tmp_path_factory.mktemp("pushgateway")) as port:
        yield port


@pytest.fixture(scope="module")
def proxy(behind: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with push_proxy(tmp_path_factory.mktemp("proxy"), behind) as running:
        yield running


def settings_for(proxy: Proxy, **changes: Any) -> Settings:
    values = {
        "pushgateway_url": proxy.url(),
        "pushgateway_password": SecretStr(PASSWORD),
        "pushgateway_cacert": proxy.certificate,
        **changes,
    }
    return Settings(**values)


def failure(settings: Settings, body: bytes = BODY) -> tuple[PushExit, str]:
    with pytest.raises(PushError) as caught:
        send(body, target_of(settings))
    assert PASSWORD not in str(caught.value)
    assert "\n" not in str(caught.value)
    return PushExit(caught.value.exit_code), str(caught.value)


def test_every_measurement_arrives_and_replaces_the_last_push(proxy: Proxy, behind: int) -> None:
    target = target_of(settings_for(proxy))
    meter = Meter(Path("/nowhere/bot.pid"))
    send(b"gone_afterwards 1\n", target)
    time.sleep(0.1)
    send(meter.read(), target)
    group = pushed_groups(behind)["xserver-bot"]
    assert "gone_afterwards" not in group
    expected = {name for name in METRICS if name.startswith("rectbot_host_")} | {"rectbot_bot_process_up"}
    assert expected <= set(group)


def test_nobody_listens(proxy: Proxy) -> None:
    url = f"https://localhost:{free_port()}/metrics/job/x"
    code, text = failure(settings_for(proxy, pushgateway_url=url))
    assert code is PushExit.REFUSED
    assert text.startswith(f"{url}: connection refused")


@pytest.mark.parametrize(
    ("password", "hint"), [("wrong", "no such user 'prom'; PUSHGATEWAY_PASSWORD"), (None, "set PUSHGATEWAY_PASSWORD")]
)
def test_the_password_is_wrong_or_missing(password: str | None, hint: str, proxy: Proxy) -> None:
    secret = SecretStr(password) if password else None
    code, text = failure(settings_for(proxy, pushgateway_password=secret))
    assert code is PushExit.UNAUTHORIZED
    assert hint in text


def test_the_address_is_not_allowed(behind: int, tmp_path: Path) -> None:
    """The proxy with an allowlist that does not have us, as on a host whose address has changed."""
    with push_proxy(tmp_path / "nginx", behind, allow=["192.0.2.1"]) as strict:
        code, text = failure(settings_for(strict))
    assert code is PushExit.FORBIDDEN
    assert "this host's address is not allowed" in text


def test_the_pushgateway_says_what_is_malformed(proxy: Proxy) -> None:
    code, text = failure(settings_for(proxy), body=b"1abc 1\n")
    assert code is PushExit.MALFORMED
    assert "text format parsing error in line 1" in text


def test_the_body_is_too_large(proxy: Proxy) -> None:
    code, text = failure(settings_for(proxy), body=b"# comment\n" * 200_000)
    assert code is PushExit.TOO_LARGE
    assert "413" in text


def test_the_path_is_not_a_push_s(proxy: Proxy) -> None:
    url = proxy.url("/prefix/metrics/job/x")
    code, text = failure(settings_for(proxy, pushgateway_url=url))
    assert code is PushExit.OTHER
    assert "404: no push is taken there" in text


def test_the_pushgateway_behind_the_proxy_is_away(tmp_path: Path) -> None:
    with push_proxy(tmp_path / "nginx", free_port()) as alone:
        code, text = failure(settings_for(alone))
    assert code is PushExit.OTHER
    assert "502: the push proxy answers, the Pushgateway behind it does not" in text


def test_the_certificate_is_not_trusted(proxy: Proxy, tmp_path: Path) -> None:
    make_certificate(tmp_path)
    code, text = failure(settings_for(proxy, pushgateway_cacert=tmp_path / "tls.crt"))
    assert code is PushExit.TLS
    assert "the certificate is not trusted" in text
    assert "PUSHGATEWAY_CACERT" in text


def test_the_system_s_authorities_do_not_trust_it_either(proxy: Proxy) -> None:
    code, text = failure(settings_for(proxy, pushgateway_cacert=None))
    assert code is PushExit.TLS
    assert "not trusted" in text


@pytest.mark.parametrize(
    ("names", "days", "hint"),
    [(("localhost",), -1, "has expired"), (("elsewhere.example",), 30, "is for another name than localhost")],
)
def test_the_certificate_is_no_good(names: tuple[str, ...], days: int, hint: str, behind: int, tmp_path: Path) -> None:
    make_certificate(tmp_path, names, days=days)
    with push_proxy(tmp_path, behind) as bad:
        code, text = failure(settings_for(bad))
        send(BODY, target_of(settings_for(bad, pushgateway_insecure=True)))
    assert code is PushExit.TLS
    assert hint in text


def test_a_certificate_made_by_hand_as_the_guide_shows_is_trusted(behind: int, tmp_path: Path) -> None:
    """It has a common name only, and no alternative name."""
    recipe = "req -x509 -newkey rsa:2048 -keyout tls.key -out tls.crt -days 365 -nodes -subj /CN=localhost"
    subprocess.run(["openssl", *recipe.split()], cwd=tmp_path, capture_output=True, check=True)
    with push_proxy(tmp_path, behind) as by_hand:
        send(BODY, target_of(settings_for(by_hand)))
        code, text = failure(settings_for(by_hand, pushgateway_url=by_hand.url(host="127.0.0.1")))
    assert code is PushExit.TLS
    assert "is for another name than 127.0.0.1" in text


def test_the_port_does_not_speak_tls(behind: int, proxy: Proxy) -> None:
    url = f"https://localhost:{behind}/metrics/job/x"
    code, text = failure(settings_for(proxy, pushgateway_url=url))
    assert code is PushExit.TLS
    assert "does not speak TLS on this port" in text


def test_the_port_speaks_tls_but_the_address_does_not_say_so(proxy: Proxy) -> None:
    code, text = failure(settings_for(proxy, pushgateway_url=proxy.url().replace("https", "http")))
    assert code is PushExit.TLS
    assert "speaks TLS on this port; write https://" in text


@contextmanager
def server_that(answer: bytes | None) -> Iterator[str]:
    """A listener that takes a connection and closes it after `answer`, or (None) never accepts; gives a push URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/metrics/job/x"
        if answer is None:
            yield url
            return
        server = threading.Thread(target=_answer_once, args=(listener, answer))
        server.start()
        yield url
        server.join()


def _answer_once(listener: socket.socket, answer: bytes) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(answer)


def test_no_answer_in_time(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "TIMEOUT_SECONDS", 0.2)
    with server_that(None) as url:
        code, text = failure(settings_for(proxy, pushgateway_url=url))
    assert code is PushExit.TIMED_OUT
    assert "no answer within 0.2 s" in text


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n"])
def test_something_else_answers(answer: bytes, proxy: Proxy) -> None:
    with server_that(answer) as url:
        code, text = failure(settings_for(proxy, pushgateway_url=url))
    assert code is PushExit.OTHER
    assert "is it a push proxy" in text


@pytest.mark.parametrize("host", ["no-such-host.invalid", f"{'a' * 64}.example"])
def test_the_name_is_not_found(host: str, proxy: Proxy) -> None:
    """In a process of its own, whose resolver does not wait long where there is no network."""
    environment = {
        **os.environ,
        "RES_OPTIONS": "timeout:1 attempts:1",
        "PUSHGATEWAY_URL": f"https://{host}/metrics/job/x",
        "PUSHGATEWAY_CACERT": str(proxy.certificate),
    }
    command = [sys.executable, "-m", "rectbot", "push"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == PushExit.NAME, done.stderr
    assert f"the name {host} is not found" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_script_works_from_cron(proxy: Proxy, behind: int, tmp_path: Path) -> None:
    """No terminal, almost no environment, another folder, through a symbolic link; arguments are passed through."""
    link = tmp_path / "push"
    link.symlink_to(ROOT / "scripts" / "prometheus-push.sh")
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PUSHGATEWAY_URL": proxy.url(),
        "PUSHGATEWAY_PASSWORD": PASSWORD,
        "PUSHGATEWAY_CACERT": str(proxy.certificate),
    }
    command = [str(link), "--job", "from-cron"]
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
    assert set(METRICS) & set(pushed_groups(behind)["from-cron"])

    environment["PUSHGATEWAY_PASSWORD"] = "wrong"
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, check=False)
    assert done.returncode == PushExit.UNAUTHORIZED
    assert done.stderr.startswith(b"rectbot: https://localhost:")
