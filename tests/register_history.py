"""What many writers saw of one register, and whether any order of their acts explains it.

All records are unique, so a register's history is a chain: each record has one before it. Linearizable means that there
is such a chain, with no fork, and that nobody sees an older part of it after somebody has seen a newer one. An act
whose answer was lost may have been done at any time after it began, or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field

NONE = b""  # stands for "there is no record"


@dataclass
class Act:
    began: float
    seen: bytes | None  # of a swap; None: this was a read
    wrote: bytes | None
    ended: float | None = None  # None: nobody knows what became of it
    found: bytes | None = None  # the record in force, as the answer said


@dataclass
class History:
    acts: list[Act] = field(default_factory=list)

    def begin(self, now: float, *, seen: bytes | None = None, wrote: bytes | None = None) -> Act:
        self.acts.append(Act(now, seen, wrote))
        return self.acts[-1]

    def check(self) -> int:
        """The chain's length. Raises AssertionError for what no order explains."""
        place = self._chain()
        done = sorted((act for act in self.acts if act.ended is not None), key=lambda act: act.began)
        by_end = sorted(done, key=lambda act: act.ended or 0)
        newest, at = 0, 0
        for act in done:
            while at < len(by_end) and (by_end[at].ended or 0) < act.began:
                newest = max(newest, place[by_end[at].found or NONE])
                at += 1
            found = place[act.found or NONE]
            assert found >= newest, f"{act} found an older record than had been seen before it began"
        return len(place)

    def _chain(self) -> dict[bytes, int]:
        """Where each record that was in force stands in the order."""
        before = {act.wrote: act.seen or NONE for act in self.acts if act.wrote is not None}
        known = {act.found or NONE for act in self.acts if act.ended is not None} | {NONE}
        known |= {act.seen or NONE for act in self.acts if act.wrote is not None}
        after: dict[bytes, bytes] = {}
        for record in known - {NONE}:
            assert record in before, f"{record!r} was never written"
            rival = after.setdefault(before[record], record)
            assert rival == record, f"{rival!r} and {record!r} both took the place of {before[record]!r}"
        place, record = {NONE: 0}, NONE
        while record in after:
            record = after[record]
            place[record] = len(place)
        assert len(place) == len(known), f"not in the chain: {known - set(place)}"
        return place
