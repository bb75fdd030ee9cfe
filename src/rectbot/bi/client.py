"""Metabase's HTTP API, as its sources have it (src/metabase/*_rest/api.clj): JSON, and a session in a header.

A redirect is not followed, for the session or the password would go along. What Metabase says of a mistake is shown in
one line, with what to do.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError, SSLError
from urllib3.exceptions import TimeoutError as HTTPTimeoutError

from foundation.terminal import one_line
from rectbot.errors import RectbotError
from rectbot.pool import Pool

TIMEOUT_SECONDS = 60.0  # a database is connected to, and looked at, while we wait
_LOOK_SECONDS = 5.0
_PAUSE_SECONDS = 1.0
_MOST_BYTES = 32 * 1024 * 1024
_SAID = 300  # characters of what Metabase says
_STARTING = (502, 503, 504)  # its own word while it begins is 503; the others are a proxy's before it
_MENDS = {
    401: "the session is not taken: run this again",
    403: "METABASE_ADMIN_EMAIL must be an administrator of Metabase: make it one, or name another",
    404: "the API is not as this version of rectbot knows it: take the image that the compose file pins",
    429: "wait a minute, and run this again",
}
_OF_ITSELF = "look into its log: docker compose -f docker-compose.monitoring.yml logs metabase"


class MetabaseError(RectbotError):
    """Metabase did not do what it was asked to. `status` is its answer's, 0 where there was none."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class _Answer(NamedTuple):
    status: int
    kind: str  # its Content-Type
    location: str
    body: bytes


class Metabase:
    """One Metabase, at an address with http:// or https://."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._session = ""

    def wait(self, seconds: float) -> Iterator[str]:
        """Waits until it is ready, so many seconds at most; yields a line whenever it has something new to say."""
        deadline, said = time.monotonic() + seconds, ""
        while state := self._state():
            if state != said:
                said = state
                yield f"waiting for Metabase at {self.url}, which takes minutes to start: {state}"
            if time.monotonic() >= deadline:
                raise MetabaseError(f"Metabase at {self.url} is not ready after {seconds:g} s: {state}; {_OF_ITSELF}")
            time.sleep(min(_PAUSE_SECONDS, max(0.0, deadline - time.monotonic())))

    def _state(self) -> str:
        """What keeps it from being ready; empty when nothing does. Raises MetabaseError when waiting is of no use."""
        try:
            answer = self._exchange("GET", "/api/health", None, _LOOK_SECONDS)
        except SSLError as error:
            raise self._failed(error) from None
        except HTTPError as error:
            return _reason(error)
        found = _parsed(answer)
        if answer.status == 200:
            ready = isinstance(found, dict) and found.get("status") == "ok"
            return "" if ready else "what answers there is not Metabase, or not yet (METABASE_URL says where it is)"
        if answer.status not in _STARTING:
            raise self._refused("GET", "/api/health", answer)
        progress = found.get("progress") if isinstance(found, dict) else None
        return f"it starts, {progress:.0%} done" if isinstance(progress, float) else "it starts"

    def enter(self, email: str, password: str) -> bool:
        """Logs in; where Metabase has no user yet, makes this one its administrator, and says so (True)."""
        properties = self.ask("GET", "/api/session/properties")
        if not isinstance(properties, dict) or "has-user-setup" not in properties:
            raise MetabaseError(f"what answers at {self.url} is not Metabase: correct METABASE_URL")
        if not properties["has-user-setup"] and self._set_up(properties.get("setup-token"), email, password):
            return True
        try:
            self._take_session(self.ask("POST", "/api/session", {"username": email, "password": password}))
        except MetabaseError as error:
            if error.status not in (400, 401):
                raise
            mend = "write an administrator's METABASE_ADMIN_EMAIL and METABASE_ADMIN_PASSWORD into .env, run init"
            raise MetabaseError(f"Metabase at {self.url} does not let {email} in ({error}): {mend}", 401) from None
        return False

    def _set_up(self, token: object, email: str, password: str) -> bool:
        if not isinstance(token, str) or not token:
            raise MetabaseError(
                f"Metabase at {self.url} has no user and gives no setup token: restart it, and run this again"
            )
        user = {"email": email, "password": password, "first_name": "rectbot", "last_name": "admin"}
        body = {"token": token, "user": user, "prefs": {"site_name": "rectbot", "allow_tracking": False}}
        try:
            self._take_session(self.ask("POST", "/api/setup", body))
        except MetabaseError as error:
            if error.status == 403:
                return False  # somebody was quicker
            raise
        return True

    def _take_session(self, answer: Any) -> None:
        session = answer.get("id") if isinstance(answer, dict) else None
        if not isinstance(session, str) or not session.isprintable() or not session.isascii():
            raise MetabaseError(f"Metabase at {self.url} gives no session at the login; {_OF_ITSELF}")
        self._session = session

    def leave(self) -> None:
        """Ends the session, if there is one; that it could not be ended hurts nobody."""
        if self._session:
            with contextlib.suppress(HTTPError):
                self._exchange("DELETE", "/api/session", None, _LOOK_SECONDS)
            self._session = ""

    def find(self, path: str) -> dict[str, Any] | None:
        """A thing by its path, None when it is not there (any more)."""
        try:
            found = self.ask("GET", path)
        except MetabaseError as error:
            if error.status == 404:
                return None
            raise
        return found if isinstance(found, dict) else None

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """What the API answers, from its JSON. Raises MetabaseError, which says what to do."""
        try:
            answer = self._exchange(method, path, body, TIMEOUT_SECONDS)
        except HTTPError as error:
            raise self._failed(error) from None
        if not 200 <= answer.status < 300:
            raise self._refused(method, path, answer)
        found = _parsed(answer)
        if found is None and answer.status != 204:
            raise MetabaseError(f"{method} {self.url}{path}: the answer is not JSON: is METABASE_URL Metabase's?")
        return found

    def _exchange(self, method: str, path: str, body: dict[str, Any] | None, timeout: float) -> _Answer:
        """Each on a connection of its own: Metabase may have been restarted since. Raises HTTPError."""
        headers = {"Accept": "application/json"}
        if self._session:
            headers["X-Metabase-Session"] = self._session
        with Pool(retries=False, timeout=timeout) as pool:
            response = pool.request(
                method, f"{self.url}{path}", json=body, headers=headers, redirect=False, preload_content=False
            )
            found = response.read(_MOST_BYTES + 1)
            if len(found) > _MOST_BYTES:
                raise HTTPError("the answer has no end")
            return _Answer(
                response.status, response.headers.get("Content-Type", ""), response.headers.get("Location", ""), found
            )

    def _failed(self, error: HTTPError) -> MetabaseError:
        return MetabaseError(f"Metabase at {self.url}: {_reason(error)}")

    def _refused(self, method: str, path: str, answer: _Answer) -> MetabaseError:
        where = f"{method} {self.url}{path}: {answer.status}"
        if 300 <= answer.status < 400:
            target = urlsplit(answer.location)
            to = f"{target.scheme}://{target.hostname}" if target.hostname else "elsewhere"
            mend = "redirects are not followed: write the address itself into METABASE_URL"
            return MetabaseError(f"{where}: it redirects to {one_line(to)[:100]}; {mend}", answer.status)
        said = _said(answer)
        mend = _MENDS.get(answer.status, _OF_ITSELF if answer.status >= 500 else "")
        return MetabaseError(f"{where}: {said}{f'; {mend}' if mend else ''}", answer.status)


def _parsed(answer: _Answer) -> Any:
    """The JSON of an answer; None where it has none."""
    if "json" not in answer.kind.lower():
        return None
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def _said(answer: _Answer) -> str:
    """What Metabase says of a mistake, in one line.

    It is a text, or {"errors": {FIELD: TEXT}}, or {"message": TEXT}; of a fault of its own all there is to know, which
    is not shown: what was sent may be among it.
    """
    found = _parsed(answer)
    if isinstance(found, dict):
        errors = found.get("errors")
        parts = [f"{name}: {text}" for name, text in errors.items()] if isinstance(errors, dict) else []
        message = found.get("message") or found.get("error")
        parts += [str(message)] if message and not parts else []
        return one_line("; ".join(parts))[:_SAID] or "no reason is given"
    if isinstance(found, str) and found:
        return one_line(found)[:_SAID]
    if "html" in answer.kind.lower():
        return "a web page, where Metabase's API was expected"
    return one_line(answer.body[:_SAID].decode(errors="replace").strip()) or "no reason is given"


def _reason(error: HTTPError) -> str:
    cause = next(
        (each for each in (*error.args, error.__cause__, error.__context__) if isinstance(each, OSError)), None
    )
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({cause.verify_message}): correct METABASE_URL"
    if isinstance(error, SSLError):
        return "it does not speak TLS there: write http:// in METABASE_URL, or correct the port"
    if isinstance(error, NameResolutionError):
        return "its name is not found: is its container up, and METABASE_URL right?"
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused: is it running?"
    if isinstance(error, HTTPTimeoutError) and not isinstance(error, NewConnectionError):
        return "no answer in time"
    text = cause.strerror or str(cause) if cause is not None else str(error)
    return f"the connection failed ({one_line(text)[:100] or type(error).__name__})"
