"""Why the bot was not there, in a sentence that an operator understands."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from rectbot.history.story import FOLLOWED, FORGOTTEN, Leadership, Span

ENDED = {
    "released": "{site} gave the lead up in good order: its bot was stopped, or the site was drained",
    "handed-over": "{site} handed the lead over",
    "renew-failed": "{site} could not renew its lease and logged out",
    "workload-failed": "the bot at {site} ended, could not log in, or was away from Discord for too long",
    "renew-refused": "{site} learned that it had lost the lead, and logged out",
    "expired": "{site} went silent: a crash, a cut of its network, or a pause",
    FORGOTTEN: "the lease store lost its memory, and the lead of {site} with it",
    FOLLOWED: "the lead of {site} was over, and nothing tells why",
}


@dataclass(frozen=True)
class Outage:
    """A time without the bot, cut at the ends of the period."""

    span: Span
    cause: str

    @property
    def seconds(self) -> float:
        return (self.span.end - self.span.start) / 1000


class Causes:
    """What is known of the leaderships around an outage."""

    def __init__(self, leases: Sequence[Leadership]) -> None:
        self._leases = leases
        self._began = [lease.began for lease in leases]
        self._served = [lease for lease in leases if _served(lease)]
        self._ready = [lease.ready for lease in self._served]

    def outage(self, gap: Span) -> Outage:
        """The outage in this gap: what ended the time before it, who tried meanwhile, and who ended it."""
        place = bisect_right(self._ready, gap.start)  # type: ignore[type-var] # each of them served
        before = self._served[place - 1] if place else None
        after = self._served[place] if place < len(self._served) and self._ready[place] == gap.end else None
        reason = "no bot had logged in yet" if before is None else _reason(before)
        meanwhile = self._leases[bisect_left(self._began, gap.start) : bisect_left(self._began, gap.end)]
        if vain := dict.fromkeys(lease.site for lease in meanwhile if not _served(lease)):
            reason += f"; {' and '.join(vain)} had the lead meanwhile, without a login"
        if after is not None:
            again = "again" if before is not None and before.site == after.site else "then"
            reason += f"; {after.site} was logged in {again}"
        return Outage(gap, f"{reason}.")


def _served(lease: Leadership) -> bool:
    return lease.ready is not None and (lease.ended is None or lease.ready < lease.ended)


def _reason(lease: Leadership) -> str:
    reason = ENDED.get(lease.end_kind, ENDED[FOLLOWED]).format(site=lease.site)
    return f"{reason} ({lease.end_why})" if lease.end_why else reason
