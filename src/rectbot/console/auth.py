"""Who may look and who may act: passwords, roles, sessions.

A session is a signed cookie (itsdangerous, through Starlette's SessionMiddleware); nothing is kept on disk. Its key is
derived from CONSOLE_SECRET and the passwords, so that a changed password ends every session that was opened with the
old one, and so that a cookie's owner cannot find a weak password out by trying.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from itsdangerous import BadSignature, Signer

from foundation.source import source
from rectbot.errors import ConfigError
from rectbot.hosts import is_loopback
from rectbot.settings import Settings

SESSION_SECONDS = 12 * 3600  # without a visit, and without use of an open page
ATTEMPTS, WINDOW_SECONDS = 5, 60.0  # wrong passwords from one source, and within which time
ALL_ATTEMPTS = 60  # from all together
_SOURCES_KEPT = 1_000


class Role(StrEnum):
    """What a session may do: `admin` everything, `viewer` look."""

    ADMIN = "admin"
    VIEWER = "viewer"


@dataclass(frozen=True)
class Session:
    """Who looks at a page. `at` is the Unix time of its last request."""

    id: str
    role: Role
    at: float


class TooManyAttempts(Exception):  # noqa: N818 - a state, not a fault
    """Too many wrong passwords came from there; `seconds` until it may try again. `first`: nobody was told yet."""

    def __init__(self, seconds: float, *, first: bool) -> None:
        super().__init__(f"try again in {seconds:.0f} s")
        self.seconds = seconds
        self.first = first


class _Tries:
    """The wrong passwords from one source, of the last minute."""

    def __init__(self, most: int) -> None:
        self._wrong: deque[float] = deque(maxlen=most)
        self._told = False

    def wait(self, now: float) -> None:
        """Raises TooManyAttempts where there were too many."""
        while self._wrong and self._wrong[0] <= now - WINDOW_SECONDS:
            self._wrong.popleft()
        if len(self._wrong) == self._wrong.maxlen:
            first, self._told = not self._told, True
            raise TooManyAttempts(self._wrong[0] + WINDOW_SECONDS - now, first=first)
        self._told = False

    def add(self, now: float) -> None:
        """One more."""
        self._wrong.append(now)


class Auth:
    """The rules for one console. Raises ConfigError when a login is needed and no password is set."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        given = {
            Role.ADMIN: settings.dashboard_admin_password,
            Role.VIEWER: settings.dashboard_viewer_password,
        }
        self._passwords = {role: secret.get_secret_value() for role, secret in given.items() if secret is not None}
        self.required = _login_required(settings)
        if self.required and Role.ADMIN not in self._passwords:
            raise ConfigError("the console needs a login here, and DASHBOARD_ADMIN_PASSWORD is not set: 'rectbot init'")
        if len(set(self._passwords.values())) != len(self._passwords):
            raise ConfigError("DASHBOARD_VIEWER_PASSWORD and DASHBOARD_ADMIN_PASSWORD are the same: choose another")
        secret = settings.console_secret.get_secret_value() if settings.console_secret else secrets.token_urlsafe(32)
        # The lengths keep one pair of passwords from looking like another.
        words = "".join(f"{role}:{len(password)}:{password};" for role, password in self._passwords.items())
        self.key = hmac.new(secret.encode(), b"rectbot console session;" + words.encode(), hashlib.sha256).hexdigest()
        self._ended: dict[str, float] = {}
        self._used: dict[str, float] = {}  # when an open page of a session was used last
        self._tries: dict[str, _Tries] = {}
        self._all_tries = _Tries(ALL_ATTEMPTS)
        self._browsers = Signer(self.key, salt="a browser of the administrator's")

    def check(self, password: str, address: str, browser: str = "") -> Role | None:
        """The role that a password opens, or None. Raises TooManyAttempts without having looked at the password.

        Guesses are counted by where they come from, and all together. `browser` is what `remember` gave to it: one
        in which the administrator has logged in before has a count of its own, so that others' guesses do not keep
        him out. https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies
        """
        now = self._clock()
        known = self._known(browser)
        place = known or source(address)
        counts = [self._tries.setdefault(place, _Tries(ATTEMPTS))]
        if not known and place != "loopback":  # whoever reaches this host itself is kept out by nobody elsewhere
            counts.append(self._all_tries)
        for count in counts:
            count.wait(now)
        found = None
        for role, expected in self._passwords.items():  # all of them, so that the time says nothing
            if hmac.compare_digest(_digest(password), _digest(expected)):
                found = role
        if found is not None:
            del self._tries[place]
            return found
        for count in counts:
            count.add(now)
        while len(self._tries) > _SOURCES_KEPT:
            del self._tries[next(iter(self._tries))]
        return None

    def remember(self) -> str:
        """What a browser in which the administrator has logged in keeps, beside its session."""
        return self._browsers.sign(secrets.token_urlsafe(16)).decode()

    def _known(self, browser: str) -> str:
        try:
            return f"browser {self._browsers.unsign(browser).decode()}"
        except BadSignature:
            return ""

    def open(self, role: Role) -> dict[str, Any]:
        """What the cookie of a new session holds."""
        return {"id": secrets.token_urlsafe(16), "role": role.value}

    def session(self, cookie: Mapping[str, Any]) -> Session | None:
        """The session that a request's cookie proves; on loopback without a login everybody is the administrator."""
        now = self._clock()
        if not self.required:
            return Session("", Role.ADMIN, now)
        try:
            session = Session(str(cookie["id"]), Role(cookie["role"]), now)
        except (KeyError, ValueError):
            return None
        return session if self.alive(session) else None

    def alive(self, session: Session) -> bool:
        """Whether a page that was opened under this session is still under it."""
        if not self.required:
            return True
        used = max(session.at, self._used.get(session.id, 0.0))
        return session.id not in self._ended and self._clock() < used + SESSION_SECONDS

    def use(self, session: Session) -> int:
        """Somebody works with an open page of it: it lasts from now on anew. Returns the moment, for its cookie."""
        now = self._clock()
        self._used = {name: at for name, at in self._used.items() if at > now - SESSION_SECONDS}
        self._used[session.id] = now
        return int(now)

    def may_act(self, session: Session) -> bool:
        """Whether an act may be carried out for this session, now."""
        return session.role is Role.ADMIN and self.alive(session)

    def end(self, session: Session) -> None:
        """Logs out, also the pages that are still open and copies of the cookie."""
        now = self._clock()
        self._ended = {name: until for name, until in self._ended.items() if until > now}
        self._ended[session.id] = now + SESSION_SECONDS


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _login_required(settings: Settings) -> bool:
    """Beyond loopback always; CONSOLE_URL names a way in from elsewhere, although we listen on loopback."""
    named = urlsplit(settings.console_url).hostname if settings.console_url else None
    beyond = not is_loopback(settings.console_bind) or (named is not None and not is_loopback(named))
    return beyond or settings.console_login
