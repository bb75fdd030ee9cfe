"""`rectbot init`: fresh secrets, a certificate that clients accept, and nothing changed the second time."""

from __future__ import annotations

import datetime as dt
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from cryptography import x509
from dotenv import dotenv_values

from rectbot.errors import ConfigError, RectbotError
from rectbot.stack import certificate
from rectbot.stack.init import init
from rectbot.stack.layout import Layout, write_private
from rectbot.stack.push_users import admits

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    shutil.copy(ROOT / ".env.example", tmp_path)
    return Layout(tmp_path, tmp_path / "var" / "main")


def _files(layout: Layout) -> list[Path]:
    return [layout.env_file, layout.certificate, layout.private_key, layout.htpasswd]


def _contents(layout: Layout) -> dict[Path, str]:
    return {path: path.read_text() for path in _files(layout)}


def test_a_fresh_checkout_gets_everything(layout: Layout) -> None:
    lines = list(init(layout))
    assert len(lines) == 6
    assert lines[-1] == (
        "LOCK_TTL_MS is not set: at Discord a site that dies is replaced 60 to 95 s later."
        " 10 to 30 s suit two hosts with a good link: rectbot init --ttl 20s"
    )
    values = dotenv_values(layout.env_file)
    secrets = [
        values[name] or ""
        for name in ("REDIS_PASSWORD", "PUSHGATEWAY_PASSWORD", "DASHBOARD_ADMIN_PASSWORD", "CONSOLE_SECRET")
    ]
    assert len(set(secrets)) == 4
    assert min(map(len, secrets)) >= 32
    assert not any(secret in line for line in lines for secret in secrets), "secrets are not printed"
    user, _, digest = layout.htpasswd.read_text().strip().partition(":")
    assert user == "prom"
    assert bcrypt.checkpw(secrets[1].encode(), digest.encode())
    for path in _files(layout):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_second_time_changes_nothing_and_says_so(layout: Layout) -> None:
    list(init(layout))
    before = _contents(layout)
    assert list(init(layout)) == ["everything is there already: nothing was changed"]
    assert _contents(layout) == before


@pytest.mark.parametrize(
    ("rotate", "changed"),
    [("push", {".env", "htpasswd"}), ("redis", {".env"}), ("tls", {"tls.crt", "tls.key"})],
)
def test_rotate_replaces_one_secret(layout: Layout, rotate: str, changed: set[str]) -> None:
    list(init(layout))
    before = _contents(layout)
    list(init(layout, rotate=rotate))
    assert {path.name for path, text in _contents(layout).items() if text != before[path]} == changed
    after = dotenv_values(layout.env_file)
    old = {line.partition("=")[0]: line.partition("=")[2] for line in before[layout.env_file].splitlines()}
    names = {"push": {"PUSHGATEWAY_PASSWORD"}, "redis": {"REDIS_PASSWORD", "REDIS_PASSWORDS"}}.get(rotate, set())
    assert {key for key, value in after.items() if value != old[key]} == names


def test_an_env_file_of_ones_own_is_completed(layout: Layout) -> None:
    layout.env_file.write_text("# mine\nDISCORD_BOT_TOKEN=abc\nREDIS_PASSWORD=\n")
    list(init(layout))
    text = layout.env_file.read_text()
    assert text.startswith("# mine\nDISCORD_BOT_TOKEN=abc\nREDIS_PASSWORD=")
    assert all(dotenv_values(layout.env_file)[name] for name in ("REDIS_PASSWORD", "PUSHGATEWAY_PASSWORD"))


def test_a_password_edited_by_hand_reaches_htpasswd(layout: Layout) -> None:
    list(init(layout))
    text = layout.env_file.read_text().replace("PUSHGATEWAY_PASSWORD=", "PUSHGATEWAY_PASSWORD=mine-")
    write_private(layout.env_file, text)
    assert "htpasswd" in "".join(init(layout))


def test_the_certificate_names_its_hosts_and_keeps_them(layout: Layout) -> None:
    list(init(layout, hosts=["prom.example.org", "203.0.113.9"]))
    wanted = ["localhost", "127.0.0.1", "::1", "prom.example.org", "203.0.113.9"]
    assert certificate.hosts_of(layout.certificate) == wanted
    list(init(layout, rotate="tls"))
    assert certificate.hosts_of(layout.certificate) == wanted
    list(init(layout, hosts=["more.example.org"]))
    assert certificate.hosts_of(layout.certificate) == [*wanted, "more.example.org"]


@pytest.mark.parametrize("host", ["", "a b", "http://x.org", "-", "x..y"])
def test_a_host_that_is_none_is_refused(layout: Layout, host: str) -> None:
    with pytest.raises(ConfigError, match="host"):
        list(init(layout, hosts=[host]))


@pytest.mark.parametrize("arguments", [{"hosts": ["ok.example", "a b"]}, {"allow": ["nonsense"]}, {"rotate": "all"}])
def test_what_is_refused_has_written_nothing(layout: Layout, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        list(init(layout, **arguments))
    assert sorted(path.name for path in layout.home.rglob("*")) == [".env.example"]


def test_certificate_check_names_what_is_wrong(layout: Layout, tmp_path: Path) -> None:
    list(init(layout))
    certificate.check(layout.certificate, layout.private_key)
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=certificate.VALID_DAYS + 1)
    with pytest.raises(ConfigError, match=r"tls\.crt: expired on .*--rotate tls"):
        certificate.check(layout.certificate, layout.private_key, now=later)
    with pytest.raises(ConfigError, match="valid only from"):
        certificate.check(layout.certificate, layout.private_key, now=later - dt.timedelta(days=800))
    _, other = certificate.make()
    write_private(layout.private_key, other)
    with pytest.raises(ConfigError, match="does not belong to"):
        certificate.check(layout.certificate, layout.private_key)
    layout.certificate.write_text("nonsense")
    with pytest.raises(ConfigError, match="not a PEM certificate"):
        certificate.check(layout.certificate, layout.private_key)
    assert "replaced" in "".join(init(layout, rotate="tls")), "a broken certificate can be rotated away"
    with pytest.raises(ConfigError, match="is missing; run 'rectbot init'"):
        certificate.check(tmp_path / "no.crt", layout.private_key)
    layout.certificate.unlink()
    layout.certificate.mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        certificate.check(layout.certificate, layout.private_key)


@pytest.mark.parametrize("env", [None, "PUSHGATEWAY_USER=prom\nPUSHGATEWAY_PASSWORD=\n"])
def test_an_htpasswd_that_was_made_by_hand_is_taken(layout: Layout, env: str | None) -> None:
    """Its password is the operator's, who pushes with it; this host gets a login of its own beside it."""
    digest = bcrypt.hashpw(b"the operator's own", bcrypt.gensalt(5, b"2a")).decode().replace("$2a$", "$2y$", 1)
    layout.htpasswd.parent.mkdir(parents=True)
    layout.htpasswd.write_text(f"prom:{digest}\n")
    if env is not None:
        layout.env_file.write_text(env)
    list(init(layout))
    lines = layout.htpasswd.read_text().splitlines()
    assert f"prom:{digest}" in lines
    values = dotenv_values(layout.env_file)
    assert admits("\n".join(lines), values["PUSHGATEWAY_USER"] or "", values["PUSHGATEWAY_PASSWORD"] or "")
    assert list(init(layout)) == ["everything is there already: nothing was changed"]


BY_HAND = "req -x509 -newkey rsa:2048 -keyout tls.key -out tls.crt -days 365 -nodes -subj /CN=localhost"


@pytest.mark.parametrize(
    "more", ["", "-addext subjectAltName=DNS:oci.example.org", "-addext subjectAltName=IP:10.0.0.1"]
)
def test_a_certificate_that_was_made_by_hand_is_taken(layout: Layout, more: str) -> None:
    layout.certificate.parent.mkdir(parents=True)
    command = ["openssl", *BY_HAND.split(), *more.split()]
    subprocess.run(command, cwd=layout.certificate.parent, capture_output=True, check=True)
    before = layout.certificate.read_bytes(), layout.private_key.read_bytes()
    list(init(layout))
    told = "\n".join(init(layout, hosts=["more.example.org"]))
    assert "was made by hand and stays, but does not name more.example.org" in told
    assert (layout.certificate.read_bytes(), layout.private_key.read_bytes()) == before
    assert (layout.container_secrets / "tls.crt").read_bytes() == before[0]
    list(init(layout, rotate="tls", hosts=["more.example.org"]))
    assert "more.example.org" in certificate.hosts_of(layout.certificate)


def test_half_of_a_pair_is_not_replaced(layout: Layout) -> None:
    list(init(layout))
    for missing, there in ((layout.certificate, layout.private_key), (layout.private_key, layout.certificate)):
        kept = missing.read_bytes()
        missing.unlink()
        with pytest.raises(ConfigError, match=rf"{there.name} is there and {missing.name} is not"):
            list(init(layout))
        missing.write_bytes(kept)


def test_the_certificate_lasts_a_year_and_may_not_sign_others(layout: Layout) -> None:
    list(init(layout))
    made = x509.load_pem_x509_certificate(layout.certificate.read_bytes())
    assert made.not_valid_after_utc - dt.datetime.now(dt.UTC) > dt.timedelta(days=365)
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_a_missing_example_is_one_clear_line(layout: Layout) -> None:
    (layout.home / ".env.example").unlink()
    with pytest.raises(ConfigError, match=r"\.env\.example: is missing"):
        list(init(layout))


def test_a_full_disk_leaves_the_old_file_whole(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    write_private(layout.env_file, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rectbot.stack.layout.os.fsync", full)
    with pytest.raises(RectbotError, match="No space left on device"):
        write_private(layout.env_file, "new")
    assert layout.env_file.read_text() == "old"
    assert [path.name for path in layout.home.iterdir() if path.name.startswith(".env.")] == [".env.example"]


def test_the_length_of_the_lease_is_advised_until_somebody_has_chosen_it(layout: Layout) -> None:
    list(init(layout))
    assert list(init(layout)) == ["everything is there already: nothing was changed"], "nothing is at Discord yet"
    text = layout.env_file.read_text().replace("DISCORD_BOT_TOKEN=", "DISCORD_BOT_TOKEN=x")
    write_private(layout.env_file, text)
    assert "rectbot init --ttl 20s" in list(init(layout))[-1]
    (line,) = [line for line in init(layout, ttl_ms=20_000) if "LOCK_TTL_MS" in line]
    assert line.startswith(f"LOCK_TTL_MS=20000 in {layout.env_file}: a site that dies is replaced 13 to 25 s later.")
    assert dotenv_values(layout.env_file)["LOCK_TTL_MS"] == "20000"
    assert list(init(layout, ttl_ms=20_000)) == ["everything is there already: nothing was changed"]


@pytest.mark.parametrize("ttl_ms", [1, 4_999, 90_001])
def test_a_lease_that_is_too_short_or_too_long_is_refused_before_anything_is_written(
    layout: Layout, ttl_ms: int
) -> None:
    with pytest.raises(ConfigError, match="--ttl: choose 5s to 90s, as 20s"):
        list(init(layout, ttl_ms=ttl_ms))
    assert not layout.env_file.exists()
