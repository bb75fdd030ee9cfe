"""No form of a secret is printed: each that we could think of, of any secret."""

from __future__ import annotations

import base64
import html
import json
import logging
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from foundation import logline
from foundation.redaction import HIDDEN, Redactor

SECRETS = st.text(st.characters(exclude_categories=["Cs"]), min_size=8, max_size=40).map(str.strip)
TOKENS = st.from_regex(r"[A-Za-z0-9_-]{30,68}", fullmatch=True)
ID = "112233445566778899"


def _forms(secret: str) -> dict[str, str]:
    data = secret.encode()
    return {
        "plain": secret,
        "quoted": quote(secret),
        "quoted everywhere": quote(secret, safe=""),
        "quoted in small letters": quote(secret, safe="").lower() if secret.lower() == secret else secret,
        "as a form": quote_plus(secret),
        "every byte quoted": "".join(f"%{byte:02X}" for byte in data),
        "JSON": json.dumps(secret)[1:-1],
        "JSON as it is": json.dumps(secret, ensure_ascii=False)[1:-1],
        "JSON in JSON": json.dumps(json.dumps(secret))[3:-3],
        "repr": repr(secret)[1:-1],
        "ascii": ascii(secret)[1:-1],
        "repr of bytes": repr(data)[2:-1],
        "HTML": html.escape(secret),
        "base64": base64.b64encode(data).decode(),
        "base64 for URLs": base64.urlsafe_b64encode(data).decode(),
        "Basic": base64.b64encode(b"prom:" + data).decode(),
        "Basic without a user": base64.b64encode(b":" + data).decode(),
    }


@settings(max_examples=300, deadline=None)
@given(SECRETS, st.sampled_from(["", " ", "'", '"', "/", "=", "a: "]), st.sampled_from(["", " ", "/", "\n", '"']))
@example('a"b\\c\n%2F+&<', "", "")
@example("00000://", "", "")
@example("https://a:b@c", "", "")
@example("+++/// ÿ\U0001f600\x7f", "", "")
def test_a_known_secret_is_blanked_out_in_every_form(secret: str, before: str, after: str) -> None:
    assume(len(secret) >= 8)
    redactor = Redactor()
    redactor.know([secret], ["prom"])
    for name, form in _forms(secret).items():
        shown = redactor.redact(f"{before}{form}{after}")
        assert form not in shown, name
        assert secret not in shown, name
        assert HIDDEN in shown, name


@settings(max_examples=200, deadline=None)
@given(
    token=TOKENS,
    scheme=st.sampled_from(["https://", "HTTPS://", "http://", ""]),
    host=st.sampled_from(
        ["discord.com", "DISCORD.COM", "canary.discord.com:443", "discordapp.com", "127.0.0.1:9800", ""]
    ),
    path=st.sampled_from(["/api/webhooks", "/api/v10/webhooks", "/API/WEBHOOKS", "/api//webhooks"]),
    end=st.sampled_from(
        ["", "/", "/slack", "/github", "?wait=true", "/slack?wait=true", "/messages/1", "#x", "'", ")", " ..."]
    ),
    known=st.booleans(),
)
def test_a_webhook_s_token_is_blanked_out_wherever_it_stands(
    token: str, scheme: str, host: str, path: str, end: str, known: bool
) -> None:
    url = f"{scheme}{host}{path}/{ID}/{token}{end}"
    redactor = Redactor()
    if known:
        redactor.know((), urls=[f"https://discord.com/api/webhooks/{ID}/{token}/slack?wait=true"])
    for form in (url, quote(url), quote(url, safe=""), quote(url, safe="").lower() if token.lower() == token else url):
        shown = redactor.redact(f"cannot post to {form}")
        assert token not in shown
    assert token not in redactor.redact(json.dumps(url).replace("/", "\\/"))
    if known:
        assert redactor.redact(token) == HIDDEN


@pytest.mark.parametrize(
    ("url", "hidden"),
    [
        ("redis://default:pa%2Fss%40word@redis.example:6379/0", ["pa%2Fss%40word", "pa/ss@word"]),
        ("rediss://:only-password@[2001:db8::1]:6379", ["only-password"]),
        ("https://user:p%C3%A4ssword@loki.example/loki/api/v1/push", ["p%C3%A4ssword", "pässword"]),
        ("s3://AKIAABCDEFGHIJKLMNOP:aws-secret-key@bucket/key", ["aws-secret-key"]),
    ],
)
def test_the_password_of_a_url_is_known(url: str, hidden: list[str]) -> None:
    redactor = Redactor()
    redactor.know((), ["prom", "user"], [url])
    for secret in hidden:
        for name, form in _forms(secret).items():
            assert form not in redactor.redact(f"x {form} y"), name
    assert base64.b64encode(f"user:{hidden[-1]}".encode()).decode() not in redactor.redact(
        f"Basic {base64.b64encode(f'user:{hidden[-1]}'.encode()).decode()}"
    )
    host = url.rpartition("@")[2]
    assert host in redactor.redact(url), "where it is may be told"


@pytest.mark.parametrize(
    "text",
    [
        "https://user:unknown-secret@host/path",
        "redis://:unknown-secret@host",
        "Authorization: Basic unknown-secret",
        "{'Authorization': 'Bearer unknown-secret'}",
        '{"authorization":"Bot unknown-secret"}',
        "('Authorization', b'Basic unknown-secret')",
        "?X-Amz-Signature=unknown-secret&x=1",
    ],
)
def test_what_looks_like_a_secret_is_blanked_out_though_nobody_knows_it(text: str) -> None:
    assert "unknown-secret" not in Redactor().redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "the bot leads with epoch 4",
        "http://127.0.0.1:9090/api/v1/query?query=up",
        "https://discord.com/api/v10/gateway/bot",
        "cannot reach redis at redis.example:6379 (user default)",
        "2026-11-27 12:00:00,000 INFO rectbot.hub.server: serving metrics on http://127.0.0.1:9464/metrics",
        "mail root@example.org about a/b:c",
    ],
)
def test_what_is_none_stays(text: str) -> None:
    redactor = Redactor()
    redactor.know(["abc", "hunter2hunter2"])
    assert redactor.redact(text) == text


def test_a_short_secret_is_blanked_out_where_it_stands_alone() -> None:
    redactor = Redactor()
    redactor.know(["abc"])
    assert (
        redactor.redact("the password abc is wrong, abcdef is none")
        == f"the password {HIDDEN} is wrong, abcdef is none"
    )


def test_a_long_text_takes_no_time() -> None:
    """Also one that is made for it: each pattern is looked for in a time that grows with the text only."""
    redactor = Redactor()
    redactor.know(["a" * 40, "\\" * 20], urls=["https://discord.com/api/webhooks/1/" + "b" * 60])
    for text in ("a" * 20_000, "\\" * 5_000, "webhooks/" * 5_000, "://x:" * 5_000, "authorization: " * 3_000):
        redactor.redact(text)


def test_the_log_has_one_line_for_an_event_whatever_is_in_it() -> None:
    formatter = logline.Line(logline.FORMAT)
    forged = "x\n2026-01-01 00:00:00,000 INFO rectbot: all is well\x1b[2J\x9b2J\u202e"
    record = logging.makeLogRecord({"msg": "a user is called %s", "args": (forged,), "levelname": "INFO", "name": "a"})
    (line,) = formatter.format(record).splitlines()
    assert line.isprintable()
    try:
        raise ValueError(forged)
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    first, *below = formatter.format(record).splitlines()
    assert first == line
    assert all(each.startswith("    ") and each.isprintable() for each in below)


SERVICES = {  # addresses of ALERT_URLS, by what is put in for the token
    "slack": "slack://T1JJ3T3L2/A1BRTD4JD/{}/#general",
    "slack's own": "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/{}",
    "telegram": "tgram://123456789:{}/42/?silent=no",
    "ntfy, a token": "ntfys://{}@ntfy.example.org/topic",
    "ntfy, a password": "ntfys://user:{}@ntfy.example.org:8443/topic",
    "ntfy, a topic": "ntfy://{}",
    "e-mail": "mailtos://bot:{}@smtp.example.org:587?from=bot@example.org&to=me@example.org",
    "e-mail, behind": "mailto://smtp.example.org?user=bot@example.org&pass={}",
    "pushover": "pover://{}@u1234567890abcdef",
    "a header": "json://example.org/hook?+Authorization={}",
}


@settings(max_examples=200, deadline=None)
@given(
    TOKENS,
    st.sampled_from(list(SERVICES)),
    st.sampled_from(["{}", "got {}", "Failed ({})", "a/{}?x", "{}@h", "bot:{}"]),
)
def test_of_a_service_s_address_no_token_is_shown(token: str, service: str, message: str) -> None:
    url = SERVICES[service].format(token)
    redactor = Redactor()
    redactor.know([], (), (), [url])
    for text in (token, url, quote(token), base64.b64encode(f"bot:{token}".encode()).decode(), url.upper()):
        shown = redactor.redact(message.format(text))
        assert token not in shown
        assert url not in shown
    assert redactor.redact(message.format("nothing")) == message.format("nothing")


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_no_secret_of_an_address_is_still_shown(service: str) -> None:
    redactor = Redactor()
    redactor.know([], (), (), [SERVICES[service].format("aB3dE6gH9jK2mN5pQ8sT1vW4yZ7")])
    for word in ("xserver", "alerts", "localhost", "smtp.example.org", "topic", "general", "user", "example.org", "42"):
        assert redactor.redact(f'see {word}: {{"{word}": 1}}') == f'see {word}: {{"{word}": 1}}'


@given(st.text(max_size=80))
@example("://@:?&=")
@example("x://[::1")
def test_any_text_may_stand_for_a_service(text: str) -> None:
    redactor = Redactor()
    redactor.know([], (), (), [text])
    redactor.redact("hello")
