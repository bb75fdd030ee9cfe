"""One PUT to a Pushgateway, and what to say when it fails.

PUT replaces all metrics of the group: https://github.com/prometheus/pushgateway#put-method
"""

from __future__ import annotations

import html
import re
import ssl

import urllib3
from urllib3.exceptions import (
    HTTPError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
    SSLError,
    TimeoutError,  # noqa: A004 - urllib3's, the base of its connect and read time-outs
)

from rectbot.pool import Pool
from rectbot.push.errors import PushError, PushExit
from rectbot.push.target import Target
from rectbot.turned_away import turned_away

TIMEOUT_SECONDS = 10
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_NOT_ALLOWED = "this host's address is not allowed; add it on the proxy's host with: rectbot init --allow ADDRESS"
_OWN_JOB = ("this job is the stack's own", "this login pushes under its own job")  # as nginx.conf says it
_TLS_EXPECTED = "plain HTTP request was sent to HTTPS port"  # nginx's words


def send(body: bytes, target: Target) -> None:
    """Replaces the metrics of the target's group by `body`, which is in the Prometheus text format.

    Raises PushError that says what went wrong and how to mend it.
    """
    try:
        with Pool(ssl_context=target.tls) as pool:
            response = pool.request(
                "PUT",
                target.url.url,
                body=body,
                headers={**target.headers, "Content-Type": _TEXT},
                timeout=urllib3.Timeout(total=TIMEOUT_SECONDS),
                retries=False,
                redirect=False,
            )
    except HTTPError as error:
        raise _explain_failure(error, target) from None
    if not 200 <= response.status < 300:
        raise _explain_answer(response, target)


def _explain_failure(error: HTTPError, target: Target) -> PushError:
    url = target.url.url
    if target.tls is not None and turned_away(error):
        return PushError(PushExit.FORBIDDEN, f"{url}: the connection is closed before TLS: {_NOT_ALLOWED}")
    if isinstance(error, SSLError):
        return PushError(PushExit.TLS, f"{url}: {_explain_tls(error, target)}")
    if isinstance(error, NameResolutionError | LocationParseError):
        return PushError(PushExit.NAME, f"{url}: the name {target.url.host} is not found; correct PUSHGATEWAY_URL")
    cause = error.__cause__ or error.__context__
    if isinstance(error, NewConnectionError):
        if isinstance(cause, ConnectionRefusedError):
            reason = "connection refused; is the push proxy running, and the port right?"
            return PushError(PushExit.REFUSED, f"{url}: {reason}")
    elif isinstance(error, TimeoutError):
        reason = f"no answer within {TIMEOUT_SECONDS} s; is the host up, and the port open in its firewall?"
        return PushError(PushExit.TIMED_OUT, f"{url}: {reason}")
    detail = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(error)
    return PushError(PushExit.OTHER, f"{url}: the connection failed ({detail}); is it a push proxy that listens there?")


def _explain_tls(error: SSLError, target: Target) -> str:
    cause = error.args[0] if error.args else None
    if isinstance(cause, ssl.SSLCertVerificationError):
        match cause.verify_code:  # X509_V_ERR_* of https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
            case 10:
                return "the certificate has expired; renew it on the proxy's host: rectbot init --rotate tls"
            case 9:
                return "the certificate is not valid yet; set the clock of this host or of the proxy's"
            case 62 | 64:
                name = target.url.host
                return f"the certificate is for another name than {name}; make one with: rectbot init --host {name}"
            case _:
                return (
                    f"the certificate is not trusted ({cause.verify_message}); "
                    "copy the proxy's tls.crt here and set PUSHGATEWAY_CACERT to it"
                )
    if isinstance(cause, ssl.SSLError) and cause.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
        return "the server does not speak TLS on this port; correct the port, or write http://"
    return f"TLS failed ({error}); does the server speak TLS 1.2 or newer?"


def _explain_answer(response: urllib3.BaseHTTPResponse, target: Target) -> PushError:
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


def _reason(response: urllib3.BaseHTTPResponse) -> str:
    """What the server says, in one short line; of an HTML page its title."""
    text = response.data[:2000].decode(errors="replace")
    if title := re.search(r"<title>(.*?)</title>", text, re.DOTALL | re.IGNORECASE):
        text = html.unescape(title[1])
    return " ".join(text.split())[:300] or (response.reason or "no reason given")
