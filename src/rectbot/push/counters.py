"""CPU use between two pushes, from the counters that the kernel keeps.

With cron each push is a process of its own, so the counters of the last one are remembered in a file. What it holds is
used only if it is certainly of the same run of this host: after a reboot, a container's restart, or in another control
group the counters begin anew. No wall clock is asked.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rectbot.push import groups, keep, proc

LONGEST_SECONDS = 3600.0  # an average over more than that says little of now
_TICK = 0.02  # the kernel rounds down when a process began, to hundredths
_MOST = 1.5  # of what there was: so much more has nobody used, so the counters are of something else


@dataclass(frozen=True)
class Account:
    """CPU time of a host or a control group, in seconds: in use, and that there was; and whose it is."""

    of: str
    busy: float
    total: float


@dataclass(frozen=True)
class Counters:
    """What had been used when they were read: by the host, and by each of the bot's processes, the first one first."""

    run: str
    at: float
    host: Account | None
    bot: dict[str, float] = field(default_factory=dict)


def now(bot: list[proc.Process]) -> Counters:
    """The counters as they are, with those of these processes."""
    at = proc.uptime()
    return Counters(proc.run(), at, _account(at), {each.key: each.cpu_seconds for each in bot})


def cpus() -> float:
    """How many CPUs this host has; in a container, how many of them its quota allows."""
    return min([os.cpu_count() or 1, *(quota.cpus for quota in groups.cpu())])


def _account(at: float) -> Account | None:
    """The strictest quota's where there is one that is less than the host; else the host's."""
    host, count = proc.cpu(), os.cpu_count() or 1
    strict = [quota for quota in groups.cpu() if quota.cpus < count]
    if strict:
        quota = min(strict, key=lambda each: each.cpus)
        return None if quota.used is None else Account(quota.group, quota.used, at * quota.cpus)
    return None if host is None else Account(f"host {host.cpus}", host.busy, host.total)


def comparable(before: Counters, later: Counters) -> bool:
    """Whether both were read in one run of this host, in this order, and not too far apart."""
    return before.run == later.run != "" and 0 <= later.at - before.at <= LONGEST_SECONDS


def host_use(before: Counters, later: Counters) -> float | None:
    """The share of CPU time that was in use between the two, from 0 to 1; None where the counters do not tell."""
    first, last, seconds = before.host, later.host, later.at - before.at
    if first is None or last is None or first.of != last.of:
        return None
    busy, total = last.busy - first.busy, last.total - first.total
    there_were = seconds * float(last.of.rpartition(" ")[2])
    if busy < 0 or total <= 0 or busy > total * _MOST or total > there_were * _MOST + 1:
        return None
    return min(busy / total, 1.0)


def bot_use(before: Counters, later: Counters) -> float | None:
    """How many CPUs the bot used on average; None for a bot that has begun since. What it has started since counts."""
    seconds = later.at - before.at
    first = next(iter(later.bot), None)
    if first is None or first not in before.bot or seconds <= 0:
        return None
    used = 0.0
    for key, cpu in later.bot.items():
        new = float(key.rpartition("@")[2]) >= before.at - _TICK
        used += max(0.0, cpu - before.bot.get(key, 0.0 if new else cpu))
    return used / seconds


def recall(file: Path) -> Counters | None:
    """What `remember` wrote there; None where there is nothing of the kind."""
    words = keep.load(file)
    with suppress(ValueError, TypeError, KeyError, AttributeError):
        host, bot = words["host"], words["bot"].items()
        account = None
        if host is not None:
            account = Account(keep.text(host["of"]), keep.number(host["busy"]), keep.number(host["total"]))
        used = {keep.text(key): keep.number(seconds) for key, seconds in bot}
        return Counters(keep.text(words["run"]), keep.number(words["at"]), account, used)
    return None


def remember(file: Path, counters: Counters) -> None:
    """Writes them for the next push."""
    keep.save(file, asdict(counters))
