"""How much memory this host has and uses; in a container, which cannot have more than its control groups allow."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from rectbot.errors import ConfigError
from rectbot.push import groups, proc

_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE = re.compile(rf"(\d{{1,15}}(?:\.\d{{1,6}})?) ?(%|{'|'.join(_UNITS)})")
_LINE = re.compile(r"^(\w+): +(\d+) kB$", re.MULTILINE)
_UNREAL = 2**60  # more bytes than any host has: a number that has wrapped around, as some containers show it


@dataclass(frozen=True)
class Amount:
    """Bytes that there are, and that are in use."""

    total: float
    used: float


def memory() -> Amount | None:
    """This host's memory, or this container's where that is less; None where neither can be told."""
    told = _told()
    total = told.get("MemTotal")
    free = told.get("MemAvailable")
    if free is None or (total is not None and free > total):  # an old kernel; some containers show the host's
        free = told.get("MemFree")
    return _within(groups.memory(), _amount(total, free))


def swap() -> Amount | None:
    """This host's swap space, or this container's where that is less; None where it cannot be told."""
    told = _told()
    return _within(groups.swap(), _amount(told.get("SwapTotal"), told.get("SwapFree")))


def alert_bytes(text: str, total: float | None) -> float | None:
    """The size that `text` means, like 6GiB, or 85% of `total`; None for a share of what is not known.

    Raises ConfigError for anything else.
    """
    match = _SIZE.fullmatch(text.strip())
    amount = float(match[1]) if match else 0.0
    if match is None or amount <= 0 or (match[2] == "%" and amount > 100):
        raise ConfigError(f"MEMORY_ALERT={text[:40]!r} is wrong: write a size like 6GiB, or a share like 85%")
    if match[2] == "%":
        return None if total is None else total * amount / 100
    return amount * _UNITS[match[2]]


def _told() -> dict[str, int]:
    return {name: int(number) * 1024 for name, number in _LINE.findall(proc.read("meminfo"))}


def _amount(total: float | None, free: float | None) -> Amount | None:
    if total is None or free is None or not 0 <= free <= total < _UNREAL:
        return None
    return Amount(total, total - free)


def _within(shares: Iterable[groups.Share], host: Amount | None) -> Amount | None:
    """The strictest group's, if it is stricter than the host."""
    limited = [(each.limit, each.used) for each in shares if each.limit is not None]
    limit, used = min(limited, default=(None, 0))
    if limit is None or (host is not None and limit >= host.total):
        return host
    return Amount(limit, min(used, limit))
