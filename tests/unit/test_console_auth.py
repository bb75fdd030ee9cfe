"""The console's passwords, roles and sessions, and that an act asks for them whatever page it comes from."""

from __future__ import annotations

from typing import cast

import pytest
from pydantic import SecretStr

from rectbot.console.acts import Act, NotAllowed, carry_out
from rectbot.console.auth import (
    ALL_ATTEMPTS,
    ATTEMPTS,
    SESSION_SECONDS,
    WINDOW_SECONDS,
    Auth,
    Role,
    Session,
    TooManyAttempts,
)
from rectbot.console.desk import Desk
from rectbot.errors import ConfigError
from rectbot.settings import Settings


def _settings(**given: object) -> Settings:
    secrets = {
        "dashboard_admin_password": SecretStr("admin-password"),
        "dashboard_viewer_password": SecretStr("viewer-password"),
        "console_secret": SecretStr("secret"),
    }
    return Settings.model_validate(secrets | {"console_login": True} | given)


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_each_password_opens_its_role() -> None:
    auth = Auth(_settings())
    assert auth.check("admin-password", "a") is Role.ADMIN
    assert auth.check("viewer-password", "a") is Role.VIEWER
    assert auth.check("", "a") is None


@pytest.mark.parametrize(
    ("given", "required"),
    [
        ({"console_login": False}, False),
        ({"console_login": False, "console_bind": "::1"}, False),
        ({"console_login": False, "console_url": "http://localhost:3000"}, False),
        ({}, True),
        ({"console_login": False, "console_bind": "0.0.0.0"}, True),
        ({"console_login": False, "console_bind": "10.8.0.1"}, True),
        ({"console_login": False, "console_url": "https://console.example.org/"}, True),
    ],
)
def test_a_login_is_needed_beyond_loopback(given: dict[str, object], required: bool) -> None:
    assert Auth(_settings(**given)).required is required


def test_no_login_without_a_password_and_no_two_roles_with_one() -> None:
    with pytest.raises(ConfigError, match="DASHBOARD_ADMIN_PASSWORD is not set"):
        Auth(_settings(dashboard_admin_password=None))
    with pytest.raises(ConfigError, match="are the same"):
        Auth(_settings(dashboard_viewer_password=SecretStr("admin-password")))


def test_the_key_changes_with_the_secret_and_with_each_password_and_tells_none() -> None:
    keys = {
        Auth(_settings(**change)).key
        for change in (
            {},
            {"console_secret": SecretStr("other")},
            {"dashboard_admin_password": SecretStr("other")},
            {"dashboard_viewer_password": SecretStr("other")},
            {"dashboard_viewer_password": None},
        )
    }
    assert len(keys) == 5
    assert Auth(_settings()).key == Auth(_settings()).key, "a restart ends no session"
    unset = {"console_secret": None}
    assert Auth(_settings(**unset)).key != Auth(_settings(**unset)).key, "without a secret a restart ends them"


def test_a_session_ends_with_its_time_and_with_a_logout() -> None:
    clock = Clock()
    auth = Auth(_settings(), clock)
    session = auth.session(auth.open(Role.ADMIN))
    other = auth.session(auth.open(Role.ADMIN))
    assert session is not None
    assert other is not None
    assert auth.may_act(session)
    clock.now += SESSION_SECONDS
    assert not auth.alive(session)
    clock.now -= 1
    assert auth.alive(session)
    auth.end(session)
    assert not auth.alive(session)
    assert auth.alive(other)


@pytest.mark.parametrize("cookie", [{}, {"id": "x"}, {"role": "admin"}, {"id": "x", "role": "root"}])
def test_a_cookie_that_is_none_of_ours_proves_nothing(cookie: dict[str, str]) -> None:
    assert Auth(_settings()).session(cookie) is None


def test_wrong_passwords_are_counted_by_address_and_forgotten_after_a_while() -> None:
    clock = Clock()
    auth = Auth(_settings(), clock)
    for _ in range(ATTEMPTS):
        assert auth.check("wrong", "a") is None
    with pytest.raises(TooManyAttempts) as refusal:
        auth.check("admin-password", "a")
    assert refusal.value.seconds == WINDOW_SECONDS
    assert auth.check("admin-password", "b") is Role.ADMIN
    clock.now += WINDOW_SECONDS
    assert auth.check("admin-password", "a") is Role.ADMIN


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.1.2.3"],
        ["2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:0:1::"],
        ["192.0.2.1", "::ffff:192.0.2.1"],
        ["fe80::1%eth0", "fe80::2%eth1"],
    ],
)
def test_addresses_that_one_person_has_are_counted_as_one(addresses: list[str]) -> None:
    auth = Auth(_settings(), Clock())
    for number in range(ATTEMPTS):
        assert auth.check("wrong", addresses[number % len(addresses)]) is None
    for address in addresses:
        with pytest.raises(TooManyAttempts):
            auth.check("admin-password", address)


def test_all_guesses_are_counted_together_and_keep_neither_this_host_nor_a_known_browser_out() -> None:
    clock = Clock()
    auth = Auth(_settings(), clock)
    known = auth.remember()
    for number in range(ALL_ATTEMPTS):
        assert auth.check("wrong", f"2001:db8:{number:x}::1") is None
    for browser in ("", "x", known[:-1], known + "x", Auth(_settings()).remember().swapcase()):
        with pytest.raises(TooManyAttempts):
            auth.check("admin-password", "192.0.2.1", browser)
    assert auth.check("admin-password", "192.0.2.1", known) is Role.ADMIN
    assert auth.check("admin-password", "127.0.0.1") is Role.ADMIN
    for _ in range(ATTEMPTS):
        assert auth.check("wrong", "192.0.2.1", known) is None
    with pytest.raises(TooManyAttempts):
        auth.check("admin-password", "192.0.2.7", known)
    clock.now += WINDOW_SECONDS
    assert auth.check("admin-password", "192.0.2.1") is Role.ADMIN


async def test_an_act_is_refused_to_a_viewer_and_after_the_session_has_ended() -> None:
    """Before anything is asked of the desk: here there is none."""
    auth = Auth(_settings())
    nobodys = cast("Desk", None)
    viewer = auth.session(auth.open(Role.VIEWER))
    admin = auth.session(auth.open(Role.ADMIN))
    assert viewer is not None
    assert admin is not None
    auth.end(admin)
    for session in (viewer, admin, Session("stolen", Role.ADMIN, at=0)):
        with pytest.raises(NotAllowed):
            await carry_out(nobodys, auth, session, Act("switch", "oci"))


def test_a_session_lasts_while_its_page_is_used_and_not_beyond_a_logout() -> None:
    clock = Clock()
    auth = Auth(_settings(), clock)
    session = auth.session(auth.open(Role.ADMIN))
    assert session is not None
    for _ in range(5):
        clock.now += SESSION_SECONDS - 1
        assert auth.may_act(session)
        auth.use(session)
    clock.now += SESSION_SECONDS
    assert not auth.alive(session), "nobody used it"
    clock.now -= 1
    auth.end(session)
    auth.use(session)
    assert not auth.alive(session)
