"""How much memory this host has and uses; in a container, which cannot have more than its control groups allow.

Their files: https://docs.kernel.org/admin-guide/cgroup-v2.html and, in the same place, cgroup-v1/memory.html.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil

from rectbot.errors import ConfigError

_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE = re.compile(rf"(\d{{1,15}}(?:\.\d{{1,6}})?) ?(%|{'|'.join(_UNITS)})")
_OCTAL = re.compile(r"\\([0-7]{3})")
_UNREAL = 2**60  # more bytes than any host has: a number that has wrapped around, as some containers show it


@dataclass(frozen=True)
class Amount:
    """Bytes that there are, and that are in use."""

    total: float
    used: float


def memory() -> Amount | None:
    """This host's memory, or this container's where that is less; None where neither can be told."""
    host = _host()
    limited = [amount for amount in _control_groups() if host is None or amount.total < host.total]
    return min(limited, key=lambda amount: amount.total, default=host)


def swap() -> Amount | None:
    """This host's swap space; None where it cannot be told."""
    with warnings.catch_warnings(), suppress(Exception):  # psutil raises what its parser stumbles over
        warnings.simplefilter("ignore")  # without /proc/vmstat it says on stderr that it knows less
        found = psutil.swap_memory()
        return _credible(found.total, found.used)
    return None


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


def _host() -> Amount | None:
    with warnings.catch_warnings(), suppress(Exception):  # psutil raises what its parser stumbles over
        warnings.simplefilter("ignore")
        found = psutil.virtual_memory()
        return _credible(found.total, found.total - found.available)
    return None


def _credible(total: float, used: float) -> Amount | None:
    return Amount(total, used) if 0 <= used <= total < _UNREAL else None


def _control_groups() -> Iterator[Amount]:
    """The limit of each control group that this process is in, and what is in use of it."""
    for version, folder in _folders():
        files = _Files.of(version)
        with suppress(OSError, ValueError):
            limit = int((folder / files.limit).read_text())  # v2 writes "max" for none, which is no number
            kept = re.search(rf"^{files.cache} (\d+)$", (folder / "memory.stat").read_text(), re.MULTILINE)
            used = int((folder / files.used).read_text()) - (int(kept[1]) if kept else 0)
            if limit < _UNREAL:
                yield Amount(limit, min(max(used, 0), limit))


@dataclass(frozen=True)
class _Files:
    """Where a version keeps the limit and the use; and its name for the cache that is given up when need be."""

    limit: str
    used: str
    cache: str

    @classmethod
    def of(cls, version: int) -> _Files:
        if version == 2:
            return cls("memory.max", "memory.current", "inactive_file")
        return cls("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _folders() -> Iterator[tuple[int, Path]]:
    """The folder of each control group for memory that this process is in, from its own up to the mount."""
    own = _own_groups()
    for version, root, mount in _mounts():
        path = own.get(version)
        if path is None:
            continue
        # A container may see its own group mounted as if it were the root, and its path from outside.
        inside = path.relative_to(root) if path.is_relative_to(root) else PurePosixPath()
        folder = mount / inside
        yield from ((version, each) for each in (folder, *folder.parents) if each.is_relative_to(mount))


def _own_groups() -> dict[int, PurePosixPath]:
    groups = {}
    for line in _read("self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            groups[2] = PurePosixPath(path)
        elif "memory" in controllers.split(","):
            groups[1] = PurePosixPath(path)
    return groups


def _mounts() -> Iterator[tuple[int, PurePosixPath, Path]]:
    """Version, root within the hierarchy, and mount point, of each mounted hierarchy that may account for memory."""
    for line in _read("self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(kind) < 3:
            continue
        root, mount = (_OCTAL.sub(lambda match: chr(int(match[1], 8)), field) for field in fields[3:5])
        if kind[0] == "cgroup2":
            yield 2, PurePosixPath(root), Path(mount)
        elif kind[0] == "cgroup" and "memory" in kind[2].split(","):
            yield 1, PurePosixPath(root), Path(mount)


def _read(name: str) -> str:
    with suppress(OSError):
        return (Path(psutil.PROCFS_PATH) / name).read_text(encoding="utf-8", errors="replace")
    return ""
