"""A leader's permission to act, and the check for it."""

from __future__ import annotations

from collections.abc import Callable

from rectbot.errors import RectbotError
from rectbot.failover.clock import boottime_ms
from rectbot.failover.messages import Logins


class LeaseLost(RectbotError):  # noqa: N818 (a state, named in the public API)
    """The lease is over: nothing may be sent in its name any more."""


class LoginsSpent(RectbotError):  # noqa: N818 (a state, named in the public API)
    """The login budget of all sites is spent: one login more could cost the bot its token."""


class Lease:
    """The right to run the workload, at one site, until a deadline that renewals move on.

    `check()` is cheap and may be called from any thread: call it before each act that only a leader may do. Hand
    `epoch` to systems that can compare it (a fencing token): each lease has a higher one than all before it.
    """

    def __init__(
        self,
        site: str,
        owner: str,
        epoch: int,
        deadline: int | None,
        *,
        logins_left: int | None = None,
        on_login: Callable[[Logins], None] | None = None,
        refresh: Callable[[], None] | None = None,
    ) -> None:
        self.site = site
        self.owner = owner
        self.epoch = epoch
        self.deadline = deadline  # of boottime_ms(); None: never ends (failover is off)
        self.logins_left = logins_left  # in the budget, beside the first under this lease; None: not limited
        self._on_login = on_login
        self._refresh = refresh  # hears of renewals that have arrived, if the event loop has not got round to it
        self._logged_in = False
        self.on_extended: Callable[[], None] | None = None

    def remaining_ms(self) -> float:
        """Milliseconds until the deadline, 0 when it has passed, infinity when failover is off."""
        return float("inf") if self.deadline is None else max(0, self.deadline - boottime_ms())

    def check(self) -> None:
        """Raises LeaseLost when the deadline has passed, for instance while the process was suspended."""
        if self._refresh is not None and not self.remaining_ms():
            self._refresh()
        if not self.remaining_ms():
            raise LeaseLost(f"the lease of {self.site} with epoch {self.epoch} is over")

    def login(self, left: int | None = None) -> None:
        """Enters a login into the budget that all sites share. Call it, in the event loop, right before each login.

        `left` is how many logins the service itself still allows, if it says so. The first login under a lease was paid
        for when the lease was granted. Raises LoginsSpent when the budget does not allow another, and LeaseLost.
        """
        self.check()
        if self._logged_in and self.logins_left is not None:
            if self.logins_left < 1:
                raise LoginsSpent(
                    "the login budget for 24 h is spent: no new login, so that the service does not lock the account"
                )
            self.logins_left -= 1
        count, self._logged_in = int(self._logged_in), True
        self._tell(Logins(count, left))

    def limit_logins(self, left: int) -> None:
        """Tells all sites that the service itself allows only so many more logins, when it is too few to log in."""
        self._tell(Logins(0, left))

    def note_logins(self, logins: Logins) -> None:
        """Enters logins that were checked where they are made: by the lease of a program in a process of its own."""
        if self.logins_left is not None:
            self.logins_left = max(0, self.logins_left - logins.count)
        self._tell(logins)

    def _tell(self, logins: Logins) -> None:
        if self._on_login is not None:
            self._on_login(logins)

    def extend(self, deadline: int, logins_left: int | None = None) -> None:
        self.deadline, self.logins_left = deadline, logins_left
        if self.on_extended is not None:
            self.on_extended()

    def end(self) -> None:
        """From now on every check fails."""
        self.deadline, self._refresh = 0, None
