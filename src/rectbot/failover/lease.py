"""A leader's permission to act, and the check for it."""

from __future__ import annotations

from rectbot.errors import RectbotError
from rectbot.failover.clock import boottime_ms


class LeaseLost(RectbotError):  # noqa: N818 (a state, named in the public API)
    """The lease is over: nothing may be sent in its name any more."""


class Lease:
    """The right to run the workload, at one site, until a deadline that renewals move on.

    `check()` is cheap and may be called from any thread: call it before each act that only a leader may do. Hand
    `epoch` to systems that can compare it (a fencing token): each lease has a higher one than all before it.
    """

    def __init__(self, site: str, owner: str, epoch: int, deadline: int | None) -> None:
        self.site = site
        self.owner = owner
        self.epoch = epoch
        self.deadline = deadline  # of boottime_ms(); None: never ends (failover is off)

    def remaining_ms(self) -> float:
        """Milliseconds until the deadline, 0 when it has passed, infinity when failover is off."""
        return float("inf") if self.deadline is None else max(0, self.deadline - boottime_ms())

    def check(self) -> None:
        """Raises LeaseLost when the deadline has passed, for instance while the process was suspended."""
        if self.deadline is not None and boottime_ms() >= self.deadline:
            raise LeaseLost(f"the lease of {self.site} with epoch {self.epoch} is over")

    def extend(self, deadline: int) -> None:
        self.deadline = deadline

    def end(self) -> None:
        """From now on every check fails."""
        self.deadline = 0
