from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Any

import pytest

from rectbot.errors import ConfigError
from rectbot.push.target import target_of
from rectbot.settings import Settings
from servers_monitoring import make_certificate


def settings(home: Path, **values: Any) -> Settings:
    return Settings(rectbot_home=home, **values)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("URL", "USER", "PASSWORD", "CACERT", "INSECURE"):
        monkeypatch.delenv(f"PUSHGATEWAY_{name}", raising=False)
    return tmp_path


def test_the_default_is_the_proxy_on_this_machine_with_its_own_certificate(home: Path) -> None:
    folder = home / "docker" / "monitoring" / "tls"
    folder.mkdir(parents=True)
    make_certificate(folder)
    target = target_of(settings(home, pushgateway_password="pä€"))
    assert target.url.url == "https://localhost:9443/metrics/job/xserver-bot"
    assert target.job == "xserver-bot"
    assert target.headers == {"Authorization": "Basic " + base64.b64encode("prom:pä€".encode()).decode()}
    assert target.tls is not None
    assert target.tls.cert_store_stats()["x509"] == 1
    assert target.tls.verify_mode is ssl.CERT_REQUIRED
    assert target.tls.check_hostname


def test_insecure_warns_and_verifies_nothing(home: Path) -> None:
    target = target_of(settings(home, pushgateway_insecure=True))
    assert target.tls is not None
    assert target.tls.verify_mode is ssl.CERT_NONE
    assert len(target.warnings) == 1
    assert "PUSHGATEWAY_INSECURE" in target.warnings[0]


def test_a_password_without_tls_warns_unless_it_stays_on_this_machine(home: Path) -> None:
    def warnings(host: str, password: str | None = "hunter2") -> tuple[str, ...]:
        url = f"http://{host}/metrics/job/a"
        return target_of(settings(home, pushgateway_url=url, pushgateway_password=password)).warnings

    assert "https://" in warnings("prom.example.org:9443")[0]
    assert not warnings("prom.example.org:9443", None)
    assert not any(map(warnings, ("localhost", "127.0.0.1:9091", "[::1]:9091")))


def test_the_password_is_not_in_the_representation(home: Path) -> None:
    target = target_of(settings(home, pushgateway_password="hunter2"))
    assert "hunter2" not in repr(target)
    assert base64.b64encode(b"prom:hunter2").decode() not in repr(target)


@pytest.mark.parametrize(
    ("url", "job", "expected"),
    [
        ("https://h/metrics/job/a", None, "https://h/metrics/job/a"),
        ("https://h/metrics/job/a", "b-2", "https://h/metrics/job/b-2"),
        ("https://h:1/prefix/metrics/job/a/instance/i", "b", "https://h:1/prefix/metrics/job/b/instance/i"),
        ("http://[::1]:9091/metrics/job/a", None, "http://[::1]:9091/metrics/job/a"),
    ],
)
def test_the_job_in_the_address_can_be_replaced(url: str, job: str | None, expected: str, home: Path) -> None:
    target = target_of(settings(home, pushgateway_url=url), job)
    assert target.url.url == expected
    assert f"/job/{target.job}" in expected


@pytest.mark.parametrize(
    "url",
    [
        "prom.example.org",
        "https://prom.example.org",
        "https://prom.example.org/metrics",
        "https://prom.example.org/metrics/job/",
        "ftp://prom.example.org/metrics/job/x",
        "https:///metrics/job/x",
        "https://host:port/metrics/job/x",
        "https://[::1/metrics/job/x",
    ],
)
def test_a_wrong_address_is_refused_with_an_example(url: str, home: Path) -> None:
    with pytest.raises(ConfigError, match=r"PUSHGATEWAY_URL.*https://prom\.example\.org:9443/metrics/job/xserver-bot"):
        target_of(settings(home, pushgateway_url=url))


def test_a_password_in_the_address_is_refused_and_not_shown(home: Path) -> None:
    with pytest.raises(ConfigError, match="PUSHGATEWAY_PASSWORD") as caught:
        target_of(settings(home, pushgateway_url="https://prom:hunter2@h/metrics/job/x"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("job", ["", "a/b", "../x", "a b", "é"])
def test_a_job_that_would_change_the_path_is_refused(job: str, home: Path) -> None:
    with pytest.raises(ConfigError, match="the job"):
        target_of(settings(home), job)


@pytest.mark.parametrize(
    ("coded", "job"),
    [("c2hvcC9ib3Q", "shop/bot"), ("c2hvcC9ib3Q=", "shop/bot"), ("Pz8-", "??>"), ("Pz8_", "???"), ("%59%51", "a")],
)
def test_a_job_may_be_in_base64_for_urls(coded: str, job: str, home: Path) -> None:
    """As client libraries write one with a slash; the address stays as it is."""
    url = f"https://h/metrics/job@base64/{coded}/instance@base64/="
    target = target_of(settings(home, pushgateway_url=url))
    assert target.job == job
    assert "job@base64" in target.url.url
    assert target_of(settings(home, pushgateway_url=url), "x").url.url == "https://h/metrics/job/x/instance@base64/="


@pytest.mark.parametrize("coded", ["=", "A", "Pz8+", "_w", "AA", "c2hvcC9ib3Q!"])
def test_a_job_that_is_not_base64_is_refused(coded: str, home: Path) -> None:
    with pytest.raises(ConfigError, match="no job in base64"):
        target_of(settings(home, pushgateway_url=f"https://h/metrics/job@base64/{coded}"))


def test_a_certificate_that_cannot_be_read_is_named(home: Path) -> None:
    for path, reason in ((home / "none.crt", "cannot be read"), (home, "cannot be read")):
        with pytest.raises(ConfigError, match=reason) as caught:
            target_of(settings(home, pushgateway_cacert=path))
        assert str(path) in str(caught.value)
        assert "PUSHGATEWAY_CACERT" in str(caught.value)


@pytest.mark.parametrize("content", ["", "not a certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_file_that_is_no_certificate_is_named(content: str, home: Path) -> None:
    (home / "ca.crt").write_text(content)
    with pytest.raises(ConfigError, match=r"ca\.crt: is not a certificate in PEM format"):
        target_of(settings(home, pushgateway_cacert=home / "ca.crt"))
