"""One PUT to a Pushgateway, and what to say when it fails.

PUT replaces all metrics of the group: https://github.com/prometheus/pushgateway#put-method
"""

from __future__ import annotations

import errno
import html
import http.client
import re
import socket
import ssl
from typing import NamedTuple, Protocol

from rectbot.dial import dial
from rectbot.push.errors import PushError, PushExit

TIMEOUT_SECONDS = 10
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_NOT_ALLOWED = "this host's address is not allowed; add it on the proxy's host with: rectbot init --allow ADDRESS"
_OWN_JOB = ("this job is the stack's own", "this login pushes under its own job")  # as nginx.conf says it
_TLS_EXPECTED = "plain HTTP request was sent to HTTPS port"  # nginx's words


class Url(Protocol):
    """The parts of an address, as urllib3 has them."""

    @property
    def url(self) -> str: ...
    @property
    def host(self) -> str | None: ...
    @property
    def port(self) -> int | None: ...
    @property
    def request_uri(self) -> str: ...


class Target(Protocol):
    """Where a push goes: `rectbot.push.target` makes one of the settings."""

    @property
    def url(self) -> Url: ...
    @property
    def user(self) -> str: ...
    @property
    def headers(self) -> dict[str, str]: ...
    @property
    def tls(self) -> ssl.SSLContext | None: ...


class _Answer(NamedTuple):
    status: int
    reason: str
    data: bytes  # its beginning


class _TurnedAwayError(Exception):
    """The connection was ended before TLS had begun, which is how a proxy refuses an address."""


def send(body: bytes, target: Target) -> None:
    """Replaces the metrics of the target's group by `body`, which is in the Prometheus text format.

    Raises PushError that says what went wrong and how to mend it.
    """
    try:
        answer = _put(body, target)
    except (OSError, http.client.HTTPException, _TurnedAwayError) as error:
        raise _explain_failure(error, target) from None
    if not 200 <= answer.status < 300:
        raise _explain_answer(answer, target)


def _put(body: bytes, target: Target) -> _Answer:
    """By hand: an HTTP library takes longer to load than a push takes, and is half of what a push agent holds."""
    url = target.url
    host = (url.host or "").removeprefix("[").removesuffix("]")
    port = url.port or (80 if target.tls is None else 443)
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    connection.sock = dial(host, port, TIMEOUT_SECONDS)
    try:
        if target.tls is not None:
            connection.sock = _in_tls(connection.sock, target.tls, host)
        try:
            connection.request("PUT", url.request_uri, body, {**target.headers, "Content-Type": _TEXT})
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                raise
            # It takes no more of so large a body, and may have said why.
        with connection.getresponse() as response:
            return _Answer(response.status, response.reason, response.read(2000))
    finally:
        connection.close()


def _in_tls(sock: socket.socket, tls: ssl.SSLContext, host: str) -> socket.socket:
    try:
        return tls.wrap_socket(sock, server_hostname=host)
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionResetError):
        raise _TurnedAwayError from None


def _explain_failure(error: Exception, target: Target) -> PushError:
    url = target.url.url
    if isinstance(error, _TurnedAwayError):
        return PushError(PushExit.FORBIDDEN, f"{url}: the connection is closed before TLS: {_NOT_ALLOWED}")
    if isinstance(error, ssl.SSLError):
        return PushError(PushExit.TLS, f"{url}: {_explain_tls(error, target)}")
    if isinstance(error, socket.gaierror):
        return PushError(PushExit.NAME, f"{url}: the name {target.url.host} is not found; correct PUSHGATEWAY_URL")
    if isinstance(error, ConnectionRefusedError):
        reason = "connection refused; is the push proxy running, and the port right?"
        return PushError(PushExit.REFUSED, f"{url}: {reason}")
    if isinstance(error, TimeoutError):
        reason = f"no answer within {TIMEOUT_SECONDS} s; is the host up, and the port open in its firewall?"
        return PushError(PushExit.TIMED_OUT, f"{url}: {reason}")
    detail = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())[:200]
    return PushError(PushExit.OTHER, f"{url}: the connection failed ({detail}); is it a push proxy that listens there?")


def _explain_tls(error: ssl.SSLError, target: Target) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        match error.verify_code:  # X509_V_ERR_* of https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
            case 10:
                return "the certificate has expired; renew it on the proxy's host: rectbot init --rotate tls"
            case 9:
                return "the certificate is not valid yet; set the clock of this host or of the proxy's"
            case 62 | 64:
                name = target.url.host
                return f"the certificate is for another name than {name}; make one with: rectbot init --host {name}"
            case _:
                return (
                    f"the certificate is not trusted ({error.verify_message}); "
                    "copy the proxy's tls.crt here and set PUSHGATEWAY_CACERT to it"
                )
    if error.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
        return "the server does not speak TLS on this port; correct the port, or write http://"
    return f"TLS failed ({error}); does the server speak TLS 1.2 or newer?"


def _explain_answer(response: _Answer, target: Target) -> PushError:
    status = response.status
    said = _reason(response)
    match status:
        case 401:
            code, text = PushExit.UNAUTHORIZED, _explain_unauthorized(target)
        case 403:
            code, text = PushExit.FORBIDDEN, said if said.startswith(_OWN_JOB) else _NOT_ALLOWED
        case 400 if target.tls is None and _TLS_EXPECTED in said:
            code, text = PushExit.TLS, "the server speaks TLS on this port; write https:// in PUSHGATEWAY_URL"
        case 400:
            code, text = PushExit.MALFORMED, f"not accepted: {said}"
        case 413:
            code, text = PushExit.TOO_LARGE, "the body is too large for the push proxy (64 KiB)"
        case 404:
            code, text = PushExit.OTHER, "no push is taken there; PUSHGATEWAY_URL must end in /metrics/job/JOB"
        case 429:
            code, text = PushExit.OTHER, "too many requests from this host's address, perhaps with a wrong password"
        case 502 | 503 | 504:
            code, text = (
                PushExit.OTHER,
                "the push proxy answers, the Pushgateway behind it does not; is it running?",
            )
        case _:
            code, text = PushExit.OTHER, f"unexpected answer: {said}"
    return PushError(code, f"{target.url.url}: {status}: {text}")


def _explain_unauthorized(target: Target) -> str:
    if not target.headers:
        return "a password is needed; set PUSHGATEWAY_PASSWORD to the one that 'rectbot init' made on the proxy's host"
    return f"wrong password, or no such user {target.user!r}; PUSHGATEWAY_PASSWORD must match the proxy's htpasswd"


def _reason(response: _Answer) -> str:
    """What the server says, in one short line; of an HTML page its title."""
    text = response.data.decode(errors="replace")
    if title := re.search(r"<title>(.*?)</title>", text, re.DOTALL | re.IGNORECASE):
        text = html.unescape(title[1])
    return " ".join(text.split())[:300] or (response.reason or "no reason given")
