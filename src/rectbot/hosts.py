"""What a host's name or address says about where it is."""

from __future__ import annotations

import ipaddress
import re


def is_loopback(host: str) -> bool:
    """Whether a name or an address stands for this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def host_alone(text: str) -> str:
    """A name or an address, without the brackets that a URL puts around one of IPv6.

    Raises ValueError that says what else it is.
    """
    bare = text.removeprefix("[").removesuffix("]") if text.startswith("[") and text.endswith("]") else text
    try:
        ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        pass
    else:
        return bare
    if "://" in text:
        raise ValueError("a URL is no host")
    if text.startswith("/"):
        raise ValueError("a path is no host")
    if re.fullmatch(r"[^:/@]+:\d*|\[.*\]:\d*", text):
        raise ValueError("the port must stand by itself")
    if not re.fullmatch(r"[\w.-]{1,253}", text):
        raise ValueError("a name or an address is wanted")
    return text
