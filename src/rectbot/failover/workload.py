"""What runs under a lease."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from rectbot.failover.lease import Lease


@dataclass(frozen=True, slots=True)
class Ended:
    """Why a workload ended by itself. `fatal`: trying again cannot help, for instance a wrong token."""

    reason: str
    fatal: bool = False


class Workload(Protocol):
    """Something of which at most one may run at a time, over all sites."""

    async def start(self, lease: Lease) -> None:
        """Begins to work under the lease. May take long; raises if it cannot. Called again for each new lease."""

    async def wait(self) -> Ended:
        """Returns when the workload has ended by itself. Called after start()."""

    async def stop(self, timeout: float) -> None:  # noqa: ASYNC109 (a promise of the implementation)
        """Ends the workload within `timeout` seconds, by force if need be; when it returns no connection is open.

        Called once for each start(), also when that was cancelled half-way, failed, or the workload has ended.
        """

    @property
    def healthy(self) -> bool:
        """Whether it serves; only meaningful after start() has returned."""


@runtime_checkable
class Killable(Protocol):
    """A workload outside of this process can be ended at once; for any other, this process has to end."""

    def kill(self) -> None:
        """Ends the workload now, without waiting for anything."""

    def guard(self, deadline: int | None) -> None:
        """Hands the deadline (of `boottime_ms()`) to whoever ends the workload if this process cannot.

        Called before start(), with each renewal, and with None when nothing runs any more.
        """
