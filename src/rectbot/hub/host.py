"""What only the hub can tell of the stack around it: the room on its disk, and what the push proxy shows."""

from __future__ import annotations

import asyncio
import ssl
from http import HTTPStatus

import psutil
from cryptography import x509
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from rectbot.dial import dial_soon
from rectbot.push.trial import Trial
from rectbot.settings import Settings

TIMEOUT_SECONDS = 2.0
# The certificate is looked at, not trusted. Made once: a default context would read all authorities, at each scrape.
_LOOKS_ONLY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_LOOKS_ONLY.check_hostname = False
_LOOKS_ONLY.verify_mode = ssl.CERT_NONE


async def exposition(address: tuple[str, int], folder: str, trial: Trial | None = None) -> bytes:
    """The text that Prometheus scrapes: the disk under `folder`, and the push proxy at `address` (host, port).

    Whether the proxy takes pushes is told by a push; without `trial` it is told only if it is not so.

    The disk's metrics have the names that `rectbot push` gives to those of another host.
    """
    registry = CollectorRegistry(auto_describe=False)
    disk = psutil.disk_usage(folder)
    Gauge("rectbot_host_disk_total_bytes", "Size of the file system.", registry=registry).set(disk.total)
    Gauge("rectbot_host_disk_available_bytes", "Room for users' files.", registry=registry).set(disk.free)
    expiry, status = await asyncio.gather(certificate_expiry(address), _push(trial, address))
    if trial is not None or expiry is None:
        up = Gauge(
            "rectbot_push_proxy_up", "1 while a push by way of trial arrives through the proxy.", registry=registry
        )
        up.set(status == HTTPStatus.OK)
    if expiry is not None:
        name, text = "rectbot_push_certificate_expiry_timestamp_seconds", "When the push proxy's certificate ends."
        Gauge(name, text, registry=registry).set(expiry)
    return generate_latest(registry)


async def _push(trial: Trial | None, address: tuple[str, int]) -> int | None:
    return None if trial is None else await trial.push(*address)


async def certificate_expiry(address: tuple[str, int]) -> float | None:
    """Unix time at which the certificate that a server shows ends; None when it shows none.

    Nothing is sent beyond the handshake.
    """
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            sock = await dial_soon(*address, TIMEOUT_SECONDS)
            _, writer = await asyncio.open_connection(sock=sock, ssl=_LOOKS_ONLY, server_hostname=address[0])
        try:
            shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        finally:
            writer.transport.abort()
    except (OSError, TimeoutError):
        return None
    return x509.load_der_x509_certificate(shown).not_valid_after_utc.timestamp()


def push_proxy_address(settings: Settings) -> tuple[str, int]:
    """Where this process reaches the push proxy: `PUSH_PROXY_ADDRESS`, else on this machine."""
    if settings.push_proxy_address is not None:
        host, _, port = settings.push_proxy_address.rpartition(":")
        return host, int(port)
    return "127.0.0.1", settings.port("push-proxy")  # where it listens whatever PUSH_PROXY_BIND names
