"""The line that invites a site: it comes whole, from whom it should, in time, or is one clear sentence."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rectbot.errors import ConfigError, RectbotError
from rectbot.join.run import find_line
from rectbot.stack import invitation

NOW = 1_800_000_000.0
VALUES = {"SITE_ID": "xserver", "REDIS_PASSWORD": "the-redis-secret", "PUSHGATEWAY_PASSWORD": "the-push-secret"}
FILES = {"monitoring.crt": "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n"}
PASSPHRASE = "abcd-efgh-jkmn-pqrs"
_, SEALED = invitation.make("xserver", VALUES, FILES, version="0.1.0", passphrase=PASSPHRASE, now=NOW)
_, PLAIN = invitation.make("xserver", VALUES, FILES, version="0.1.0", passphrase=None, now=NOW)


def _refused(line: str, passphrase: str | None = PASSPHRASE, now: float = NOW) -> str:
    with pytest.raises(RectbotError) as caught:
        invitation.read(line, passphrase, now)
    text = str(caught.value)
    assert "\n" not in text
    assert not any(secret in text for secret in VALUES.values() if secret.startswith("the-"))
    return text


@pytest.mark.parametrize(("line", "passphrase"), [(SEALED, PASSPHRASE), (PLAIN, None)])
def test_what_was_put_in_comes_out(line: str, passphrase: str | None) -> None:
    found = invitation.read(line, passphrase, NOW + 60)
    assert (found.values, found.files) == (VALUES, FILES)
    assert (found.header.site, found.header.by, found.header.until) == ("xserver", "0.1.0", NOW + 24 * 3600)
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", line), "it survives shells, mails and QR codes"
    assert len(line) < 2_900, "what a QR code can hold"


def test_the_sealed_one_shows_no_secret_and_the_same_secrets_never_look_the_same() -> None:
    _, other = invitation.make("xserver", VALUES, FILES, version="0.1.0", passphrase=PASSPHRASE, now=NOW)
    bodies = [invitation._unb64(line.split(".")[2]) for line in (SEALED, other)]
    assert bodies[0] != bodies[1]
    assert not any(word.encode() in body for word in VALUES for body in bodies)
    assert invitation.read_header(SEALED, NOW).site == "xserver", "for whom it is, can be read"


@pytest.mark.parametrize("typed", [PASSPHRASE, PASSPHRASE.upper(), "abcd efgh jkmn pqrs\n", "abcdefghjkmnpqrs"])
def test_a_passphrase_is_taken_as_people_type_it(typed: str) -> None:
    assert invitation.read(SEALED, typed, NOW).values == VALUES


@pytest.mark.parametrize("typed", ["", "abcd-efgh-jkmn-pqrt", "abcd-efgh-jkmn", "ü" * 20])
def test_a_wrong_passphrase_is_said_to_be_that(typed: str) -> None:
    assert "the passphrase is not that of this invitation" in _refused(SEALED, typed)


def test_without_a_passphrase_a_sealed_one_says_what_it_needs() -> None:
    assert "give the passphrase" in _refused(SEALED, None)


@given(st.integers(min_value=8, max_value=len(SEALED) - 1))
@settings(max_examples=60, deadline=None)
def test_one_that_was_cut_is_said_to_be_cut(length: int) -> None:
    for line in (SEALED[:length], PLAIN[: min(length, len(PLAIN) - 1)]):
        assert "cut or damaged" in _refused(line)


@given(st.integers(min_value=5, max_value=len(PLAIN) - 1), st.sampled_from("Aa0-_."))
@settings(max_examples=100, deadline=None)
def test_one_that_was_changed_anywhere_is_said_to_be_damaged(place: int, put: str) -> None:
    if PLAIN[place] == put:
        return
    assert "cut or damaged" in _refused(PLAIN[:place] + put + PLAIN[place + 1 :])


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_whatever_is_given_it_is_read_or_refused_with_a_sentence(text: str) -> None:
    for line in (text, f"rbi1.{text}", f"rbi1.{text}.{invitation._check(f'rbi1.{text}')}"):
        assert _refused(line)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"values":{},"files":[]}', b'{"values":{"A":1},"files":{}}'])
def test_a_body_of_another_form_is_damaged(content: bytes) -> None:
    front = PLAIN.rpartition(".")[0].rpartition(".")[0]
    text = f"{front}.{invitation._b64(zlib.compress(content))}"
    assert "cut or damaged" in _refused(f"{text}.{invitation._check(text)}")


def test_a_body_that_unpacks_without_end_is_given_up() -> None:
    front = PLAIN.rpartition(".")[0].rpartition(".")[0]
    text = f"{front}.{invitation._b64(zlib.compress(b' ' * 10_000_000))}"
    assert "cut or damaged" in _refused(f"{text}.{invitation._check(text)}")


def test_a_header_that_was_exchanged_opens_nothing() -> None:
    """The header is authenticated: an expiry that somebody has moved makes the passphrase wrong."""
    _, public, body, _ = SEALED.split(".")
    header = json.loads(invitation._unb64(public))
    later = invitation._b64(json.dumps(header | {"until": header["until"] + 10**6}).encode())
    text = f"rbi1.{later}.{body}"
    assert "the passphrase is not that of" in _refused(f"{text}.{invitation._check(text)}")


def test_one_that_came_late_says_when_it_ended_and_what_this_host_s_clock_shows() -> None:
    text = _refused(SEALED, now=NOW + 25 * 3600)
    assert "expired at 2027-01-16 08:00 UTC (this host's clock shows 2027-01-16 09:00 UTC)" in text
    assert "rectbot invite xserver" in text


def test_one_of_the_future_means_that_this_host_s_clock_is_wrong() -> None:
    text = _refused(SEALED, now=NOW - 3600)
    assert "was made 60 minutes in the future of this host's clock" in text
    assert "timedatectl" in text
    assert invitation.read(SEALED, PASSPHRASE, NOW - 200).values == VALUES, "some minutes do not matter"


@pytest.mark.parametrize(
    ("kind", "word"),
    [("rbi2", "newer version of rectbot (format 2"), ("rbi0", "older version of rectbot (format 0")],
)
def test_another_version_on_the_other_side_says_which_side_to_update(kind: str, word: str) -> None:
    text = _refused(PLAIN.replace("rbi1", kind))
    assert word in text
    assert ("on this host" if kind == "rbi2" else "on the monitoring host") in text


@pytest.mark.parametrize("text", ["", "hello", "xserver", "rbi", "https://example.org/rbi"])
def test_what_is_none_is_said_to_be_none(text: str) -> None:
    assert "this is no invitation" in _refused(text)
    with pytest.raises(ConfigError, match="no invitation came"):
        find_line(text)


@pytest.mark.parametrize("way", ["{}", "{}\n", "Welcome to oci\n\n{}\n", "\r\n {}\r\n"])
def test_a_login_s_greeting_before_it_does_not_matter_nor_do_broken_lines(way: str) -> None:
    broken = "\n".join(PLAIN[start : start + 76] for start in range(0, len(PLAIN), 76))
    for line in (PLAIN, broken):
        assert invitation.read(find_line(way.format(line)), None, NOW).values == VALUES


def test_passphrases_are_long_and_never_the_same() -> None:
    made = {invitation.new_passphrase() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"([a-hjkmnp-z2-9]{4}-){3}[a-hjkmnp-z2-9]{4}", each) for each in made)


def test_what_comes_in_plain_is_read_without_the_library_that_encrypts(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from rectbot.stack import invitation\n"
        "print(invitation.read(sys.argv[1], None, float(sys.argv[2])).values['SITE_ID'])\n"
        "try: invitation.read(sys.argv[3], 'x', float(sys.argv[2]))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    command = [sys.executable, "-c", code, PLAIN, str(NOW), SEALED]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    first, second = done.stdout.splitlines()
    assert first == "xserver"
    assert "pip install cryptography" in second
