"""One POST of a batch of lines, and what becomes of the batch."""

from __future__ import annotations

import html
import re
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum

import urllib3
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError, SSLError
from urllib3.exceptions import TimeoutError as HTTPTimeoutError

from rectbot.logs.client.target import PUSH_PATH, Target
from rectbot.pool import Pool
from rectbot.turned_away import turned_away

TIMEOUT_SECONDS = 10.0
_HEADERS = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
_MENDABLE = {401, 403, 404, 405, 407, 408, 429}  # by the server's operator or by waiting; the lines are not to blame


class Fate(Enum):
    """What becomes of a batch: it was taken, it may be taken later, or it never will be."""

    TAKEN = "taken"
    LATER = "later"
    NEVER = "never"


@dataclass(frozen=True)
class Answer:
    """The answer to a push: `reason` is a line for people, `retry_after` the seconds that the server asks for."""

    fate: Fate
    reason: str = ""
    retry_after: float | None = None


class PushClient:
    """Pushes over one connection that is kept open. Used by one thread at a time."""

    def __init__(self, target: Target, timeout: float = TIMEOUT_SECONDS) -> None:
        self._url = target.url + PUSH_PATH
        self._headers = {**target.headers, **_HEADERS}
        self._timeout = urllib3.Timeout(total=timeout)
        self._pool = Pool(ssl_context=target.tls, maxsize=1, retries=False)

    def push(self, body: bytes) -> Answer:
        """Sends a batch as `encode` made it. Never raises for what the network or the server does."""
        try:
            response = self._pool.request(
                "POST", self._url, body=body, headers=self._headers, timeout=self._timeout, redirect=False
            )
        except HTTPError as error:
            return Answer(Fate.LATER, f"{self._url}: {explain_failure(error)}")
        return self._judge(response)

    def close(self) -> None:
        """Closes the connection."""
        self._pool.clear()

    def _judge(self, response: urllib3.BaseHTTPResponse) -> Answer:
        status = response.status
        if 200 <= status < 300:
            return Answer(Fate.TAKEN)
        reason = f"{self._url}: {status}: {_explain(status, response)}"
        # A 400 as an HTML page comes from a proxy (plain HTTP on its TLS port), not from Loki.
        page = "html" in response.headers.get("Content-Type", "") and status != 413
        if 400 <= status < 500 and status not in _MENDABLE and not page:
            return Answer(Fate.NEVER, reason)
        return Answer(Fate.LATER, reason, _retry_after(response.headers.get("Retry-After")))


def _explain(status: int, response: urllib3.BaseHTTPResponse) -> str:
    match status:
        case 401:
            return "wrong user or password; correct LOKI_USER and LOKI_PASSWORD"
        case 403:
            return "this host's address is not allowed; add it on the proxy's host: rectbot init --allow ADDRESS"
        case 404:
            return "nothing takes logs there; correct LOKI_URL"
        case 502 | 503 | 504:
            return "the proxy answers, Loki behind it does not; is it running?"
        case _:
            return said(response)


def said(response: urllib3.BaseHTTPResponse) -> str:
    """What the server says, in one short line; of an HTML page its title."""
    text = response.data[:2000].decode(errors="replace")
    if title := re.search(r"<title>(.*?)</title>", text, re.DOTALL | re.IGNORECASE):
        text = html.unescape(title[1])
    return " ".join(text.split())[:300] or (response.reason or "no reason given")


def explain_failure(error: HTTPError) -> str:
    """One line for a request that got no answer."""
    cause = error.__cause__ or error.__context__
    if turned_away(error):
        return "closed before TLS; is this host's address allowed there (rectbot init --allow), and does it speak TLS?"
    if isinstance(error, SSLError):
        verify = error.args[0] if error.args else None
        if isinstance(verify, ssl.SSLCertVerificationError):
            return f"the certificate is not trusted ({verify.verify_message}); set LOKI_CACERT to the server's"
        return f"TLS failed ({verify}); does the server speak TLS on this port?"
    if isinstance(error, NameResolutionError):
        return "the host's name is not found"
    if isinstance(error, HTTPTimeoutError) and not isinstance(error, NewConnectionError):
        return "no answer in time; is the host up, and the port open in its firewall?"
    reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else error
    return f"the connection failed ({reason})"


def _retry_after(value: str | None) -> float | None:
    """Seconds or an HTTP date (RFC 9110, section 10.2.3); None when it is missing or unusable."""
    if value is None:
        return None
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value.strip()):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
