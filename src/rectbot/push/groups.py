"""The control groups that this process is in: what a container, or a service, may use of its host.

Their files: https://docs.kernel.org/admin-guide/cgroup-v2.html, cgroup-v1/memory.html in the same place, and
https://docs.kernel.org/scheduler/sched-bwc.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rectbot.push import proc

_OCTAL = re.compile(r"\\([0-7]{3})")
_UNLIMITED = 2**60  # version 1 writes so large a number, or a larger one, where there is no limit


@dataclass(frozen=True)
class Share:
    """Bytes that a group may have (None: no limit of its own), and that are in use."""

    limit: int | None
    used: int


@dataclass(frozen=True)
class Quota:
    """Which group may use how many CPUs, and how many seconds of them it has used since it was made."""

    group: str
    cpus: float
    used: float | None


@dataclass(frozen=True)
class _Group:
    """One of a version's hierarchy, which is mounted somewhere."""

    version: int
    mount: Path
    inside: PurePosixPath

    def number(self, file: str) -> int:
        return int((self.mount / self.inside / file).read_text())

    def limit(self, file: str) -> int | None:
        text = (self.mount / self.inside / file).read_text().strip()
        limit = None if text == "max" else int(text)
        return None if limit is None or limit >= _UNLIMITED else limit

    def field(self, file: str, name: str) -> int | None:
        """A number of a file that has a name and a number a line."""
        found = re.search(rf"^{name} (\d+)$", (self.mount / self.inside / file).read_text(), re.MULTILINE)
        return int(found[1]) if found else None


def memory() -> Iterator[Share]:
    """Of each group that accounts for it the memory, without the cache that is given up when need be."""
    for group in _groups("memory"):
        with suppress(OSError, ValueError):
            if group.version == 2:
                limit, used, cache = group.limit("memory.max"), group.number("memory.current"), "inactive_file"
            else:
                limit, used = group.limit("memory.limit_in_bytes"), group.number("memory.usage_in_bytes")
                cache = "total_inactive_file"
            yield Share(limit, max(used - (group.field("memory.stat", cache) or 0), 0))


def swap() -> Iterator[Share]:
    """Of each group that accounts for it the swap space; version 1 counts that together with the memory."""
    for group in _groups("memory"):
        with suppress(OSError, ValueError):
            if group.version == 2:
                yield Share(group.limit("memory.swap.max"), group.number("memory.swap.current"))
                continue
            both, alone = group.limit("memory.memsw.limit_in_bytes"), group.limit("memory.limit_in_bytes")
            used = group.number("memory.memsw.usage_in_bytes") - group.number("memory.usage_in_bytes")
            yield Share(None if both is None or alone is None else max(both - alone, 0), max(used, 0))


def cpu() -> Iterator[Quota]:
    """Each group with a quota of CPU time."""
    accounts = {group.inside: group for group in _groups("cpuacct") if group.version == 1}
    for group in _groups("cpu"):
        with suppress(OSError, ValueError, ZeroDivisionError):
            if group.version == 2:
                quota, period = (group.mount / group.inside / "cpu.max").read_text().split()
                cpus = 0.0 if quota == "max" else int(quota) / int(period)
            else:
                cpus = group.number("cpu.cfs_quota_us") / group.number("cpu.cfs_period_us")  # less than 0: none
            if cpus > 0:
                yield Quota(f"{group.mount / group.inside} {cpus}", cpus, _used(group, accounts))


def _used(group: _Group, accounts: dict[PurePosixPath, _Group]) -> float | None:
    with suppress(OSError, ValueError):
        if group.version == 1:
            return accounts.get(group.inside, group).number("cpuacct.usage") / 1e9
        used = group.field("cpu.stat", "usage_usec")
        return None if used is None else used / 1e6
    return None


def _groups(controller: str) -> Iterator[_Group]:
    """Each group for it that this process is in, from its own up to the mount."""
    own = _own_groups(controller)
    for version, root, mount in _mounts(controller):
        path = own.get(version)
        if path is None:
            continue
        # A container may see its own group mounted as if it were the root, and its path from outside.
        inside = path.relative_to(root) if path.is_relative_to(root) and ".." not in path.parts else PurePosixPath()
        yield from (_Group(version, mount, each) for each in (inside, *inside.parents))


def _own_groups(controller: str) -> dict[int, PurePosixPath]:
    groups = {}
    for line in proc.read("self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            groups[2] = PurePosixPath(path)
        elif controller in controllers.split(","):
            groups[1] = PurePosixPath(path)
    return groups


def _mounts(controller: str) -> Iterator[tuple[int, PurePosixPath, Path]]:
    """Version, root within the hierarchy, and mount point, of each mounted hierarchy that may have this controller."""
    for line in proc.read("self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(kind) < 3:
            continue
        root, mount = (_OCTAL.sub(lambda match: chr(int(match[1], 8)), field) for field in fields[3:5])
        if kind[0] == "cgroup2":
            yield 2, PurePosixPath(root), Path(mount)
        elif kind[0] == "cgroup" and controller in kind[2].split(","):
            yield 1, PurePosixPath(root), Path(mount)
