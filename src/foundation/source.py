"""What a client's address says about who it is."""

from __future__ import annotations

import ipaddress


def source(host: str) -> str:
    """From where a connection comes, as far as one who has one address there can have many: what limits are kept by.

    All of loopback is one, and so is an IPv6 network of 64 bits, which each customer of a provider has.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_loopback:
        return "loopback"
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)
