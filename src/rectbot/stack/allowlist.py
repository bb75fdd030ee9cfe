"""Who may push: the addresses in allowlist.conf, which nginx.conf includes before its `deny all`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rectbot.errors import ConfigError
from rectbot.stack.layout import read_text

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK = ipaddress.ip_network("127.0.0.1/32")
BRIDGES = ipaddress.ip_network("172.16.0.0/12")  # where Docker puts its bridges
DEFAULT: tuple[Network, ...] = (LOOPBACK, BRIDGES)

_HEADER = """# Who may push, beside the password: set it with 'rectbot init --allow ADDRESS', or edit it.
# Restart the push proxy then. nginx.conf includes this file, and denies everybody else.
"""
_ALLOW = re.compile(r"^\s*allow\s+([^;\s]+)\s*;", re.MULTILINE)


def parse(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks, IPv4 or IPv6, without doubles.

    Raises ConfigError for what is neither, for a network with bits beside its prefix, and for everybody.
    """
    return tuple(dict.fromkeys(_network(text) for text in texts))


def _network(text: str) -> Network:
    where = f"--allow {text!r}"
    try:
        network = ipaddress.ip_network(text.strip())
    except ValueError:
        try:
            meant = ipaddress.ip_network(text.strip(), strict=False)
        except ValueError:
            raise ConfigError(
                f"{where}: is not an address or a network; write one like 203.0.113.5, 203.0.113.0/28 or 2001:db8::/64"
            ) from None
        raise ConfigError(
            f"{where}: has bits beside its prefix; write {meant} for the network, or the address"
        ) from None
    if network.prefixlen == 0:
        raise ConfigError(f"{where}: is everybody; name the address of the host that pushes")
    if network.version == 6:
        _check_that_nginx_takes(network.network_address, where)
    return network


def _check_that_nginx_takes(address: ipaddress.IPv6Address, where: str) -> None:
    """What Python takes for an address and nginx does not: one refuses its whole file, the other never matches."""
    if address.scope_id is not None:
        raise ConfigError(f"{where}: names an interface, which nginx does not take; write the address before the %")
    if address.ipv4_mapped is not None:
        raise ConfigError(f"{where}: matches no client of an IPv4 proxy; write it as IPv4, like {address.ipv4_mapped}")


def render(networks: Sequence[Network]) -> str:
    """The file's text."""
    return _HEADER + "".join(f"allow {shown(network)};\n" for network in networks)


def with_loopback(networks: Sequence[Network]) -> tuple[Network, ...]:
    """What an operator allows, and this machine itself."""
    return tuple(dict.fromkeys((LOOPBACK, *networks)))


def shown(network: Network) -> str:
    """As nginx and people write it: an address without /32 or /128."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def read(path: Path) -> tuple[Network, ...]:
    """The networks that the file allows. Raises ConfigError when it cannot be read or allows what is no address."""
    allowed = _ALLOW.findall(read_text(path, "run 'rectbot init'"))
    if "all" in allowed:
        raise ConfigError(f"{path}: 'allow all' admits everybody; name the hosts with 'rectbot init --allow ADDRESS'")
    try:
        return tuple(ipaddress.ip_network(text, strict=False) for text in allowed)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}; write 'allow ADDRESS;' lines, or run 'rectbot init --allow'") from None
