"""The push proxy, asked from outside: TLS, password, address; and its certificate."""

from __future__ import annotations

import base64
import datetime as dt
import socket
import ssl

import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from urllib3.exceptions import HTTPError, InsecureRequestWarning

from rectbot.doctor.subject import Engine, Subject
from rectbot.doctor.verdict import Verdict, fail, ok, warn
from rectbot.errors import ConfigError, RectbotError
from rectbot.hub.host import push_proxy_address
from rectbot.pool import Pool
from rectbot.push.send import TIMEOUT_SECONDS
from rectbot.push.target import target_of
from rectbot.stack import certificate
from rectbot.turned_away import turned_away

OUTSIDER = "127.0.0.2"  # a loopback address that no list should have
RENEW_DAYS = 21
_CONFIGURED = "restore docker/monitoring/pushgateway/nginx.conf from git, and restart the push proxy"
_CODE = "%{http_code}"


def refuses_plain_text(subject: Subject) -> Verdict:
    """Who does not speak TLS gets nowhere."""
    host, port = push_proxy_address(subject.settings)
    answer = subject.get(f"http://{host}:{port}/metrics/job/doctor")
    if answer.status == 400 and b"HTTPS port" in answer.data:
        return ok(f"plain HTTP on {host}:{port} is refused (400)")
    return fail(f"plain HTTP on {host}:{port} is answered {answer.status}", _CONFIGURED)


def refuses_without_password(subject: Subject) -> Verdict:
    """The address alone admits nobody, nor does a wrong password; the right one does."""
    if _turned_away(subject, "127.0.0.1"):
        return fail("this machine itself may not push", "rectbot init --allow ADDRESS keeps 127.0.0.1; run it again")
    for what, password in (("without a password", None), ("with a wrong password", "wrong")):
        status = _ask(subject, password)
        if status != 401:
            return fail(f"{what} the push proxy answers {status}, not 401", _CONFIGURED)
    status = _ask(subject, subject.settings.push_login[1] or "")
    if status != 404:  # what the proxy answers to an admitted GET of a page that it does not have
        return fail(f"with the right password it answers {status}", "run 'rectbot init', and restart the push proxy")
    return ok("no password: 401; a wrong one: 401; the right one is admitted")


def refuses_outsiders(subject: Subject) -> Verdict:
    """Nobody gets as far as TLS from an address that is not on the list."""
    if _turned_away(subject, OUTSIDER):
        return ok(f"{OUTSIDER}, which is not on the list, is turned away before TLS")
    mend = f"take it from {subject.layout.allowlist}, or {_CONFIGURED}"
    return fail(f"{OUTSIDER} is not turned away", mend)


def _turned_away(subject: Subject, source: str) -> bool:
    if subject.engine is Engine.COMPOSE:  # from here every address becomes the bridge's
        command = f"curl -ks -o /dev/null -w '{_CODE}' -m 5 --interface {source} https://127.0.0.1:9443/ || true"
        return int(subject.inside("nginx", "sh", "-c", command)) == 0
    host, port = push_proxy_address(subject.settings)
    where = (source, 0) if host.startswith("127.") else None
    try:
        with socket.create_connection((host, port), timeout=2, source_address=where) as connection:
            return connection.recv(1) == b""
    except TimeoutError:
        return False  # it waits for TLS to begin
    except ConnectionResetError:
        return True
    except OSError:
        raise RectbotError(f"the push proxy at {host}:{port} does not answer") from None


def _ask(subject: Subject, password: str | None) -> int:
    """The status of a GET at the proxy from this machine, or from the proxy's own container."""
    user, _ = subject.settings.push_login
    if subject.engine is Engine.COMPOSE:  # from here every address becomes the bridge's
        lines = ["insecure", "silent", "url = https://127.0.0.1:9443/", "output = /dev/null", f"write-out = {_CODE}"]
        if password is not None:
            escaped = f"{user}:{password}".replace("\\", "\\\\").replace('"', '\\"')
            lines.append(f'user = "{escaped}"')
        return int(subject.inside("nginx", "curl", "--config", "-", stdin="\n".join(lines)))
    host, port = push_proxy_address(subject.settings)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the certificate has a check of its own
    headers = {}
    if password is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    urllib3.disable_warnings(InsecureRequestWarning)
    try:
        with Pool(ssl_context=context, retries=False, timeout=5) as pool:
            return pool.request("GET", f"https://{host}:{port}/", headers=headers, redirect=False).status
    except HTTPError:
        raise RectbotError(f"the push proxy at {host}:{port} does not answer with TLS") from None


def certificate_is_good(subject: Subject) -> Verdict:
    """The certificate that is shown is the one on the disk, valid, not near its end, and names this host."""
    layout, rotate = (
        subject.layout,
        "rectbot init --rotate tls, restart the push proxy, copy tls.crt to the sites that push",
    )
    try:
        certificate.check(layout.certificate, layout.private_key)
    except ConfigError as error:
        return fail(str(error), rotate)
    host, port = push_proxy_address(subject.settings)
    try:
        shown = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, port), timeout=5))
    except (OSError, ValueError):
        raise RectbotError(f"the push proxy at {host}:{port} shows no certificate") from None
    on_disk = x509.load_pem_x509_certificate(layout.certificate.read_bytes())
    if shown != on_disk.public_bytes(serialization.Encoding.DER):
        return fail("the push proxy shows another certificate than tls.crt", "restart the push proxy")
    days = (on_disk.not_valid_after_utc - dt.datetime.now(dt.UTC)).days
    names = certificate.hosts_of(layout.certificate)
    if days < RENEW_DAYS:
        return warn(f"the certificate ends in {days} days", rotate)
    if subject.proxy_is_public and set(names) <= set(certificate.DEFAULT_HOSTS):
        return warn("the push proxy is public, and its certificate names only this machine", "rectbot init --host NAME")
    return ok(f"valid for {days} days, for {', '.join(names)}")


def push_would_arrive(subject: Subject) -> Verdict:
    """From a site: the push proxy can be reached, is trusted, and admits this host and its password."""
    target = target_of(subject.settings)
    if subject.settings.pushgateway_insecure and target.url.scheme == "https":
        return fail("PUSHGATEWAY_INSECURE=true: anybody in between can read the password", "set PUSHGATEWAY_CACERT")
    if target.url.scheme != "https":
        return fail("PUSHGATEWAY_URL is not https: the password goes in the clear", "write https://")
    base = target.url._replace(path="/").url
    try:
        with Pool(ssl_context=target.tls, retries=False, timeout=TIMEOUT_SECONDS) as pool:
            status = pool.request("GET", base, headers=target.headers, redirect=False).status
    except HTTPError as error:
        if turned_away(error):
            return fail(f"{base}: this host's address is not allowed", "'rectbot push' says how to mend it")
        return fail(f"{base} cannot be reached over trusted TLS", "'rectbot push' says why")
    reasons = {401: "the password is refused", 403: "this host's address is not allowed"}
    if status in reasons:
        return fail(f"{base}: {reasons[status]} ({status})", "'rectbot push' says how to mend it")
    return ok(f"{base} is trusted and admits this host")
