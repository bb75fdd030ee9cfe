"""The register of the simulation: what a store promises in stores/base.py, and everything that can go wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rectbot.failover.record import Record, Seen

if TYPE_CHECKING:
    from .site import Ask
    from .world import World


class Server:
    """One server: its incarnation, and what it holds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lives = 0
        self.version = 0
        self.record: Record | None = None
        self.incarnation = ""
        self._seen = self._now()
        self.up = True
        self.paused = False
        self.backlog: list[Ask] = []
        self.copies: list[Record | None] = []  # what a replica had, at times

    def seen(self) -> Seen:
        return self._seen

    def _now(self) -> Seen:
        self.incarnation = f"{self.name}{self.lives}"
        return Seen(str(self.version), self.incarnation, self.record)

    def take(self, ask: Ask, world: World) -> bool:
        """Whether a swap was done."""
        draft = ask.draft
        if draft is None or not self.up:
            return False
        there = draft.seen.server == self.incarnation
        if not world.compares_not and (draft.seen.token != self._seen.token or not there):
            return False
        self.put(draft.record)
        return True

    def put(self, record: Record | None) -> None:
        self.version += 1
        self.record = record
        self._seen = self._now()

    def restart(self) -> None:
        """Another process, with whatever it holds."""
        self.lives += 1
        self._seen = self._now()
        self.up, self.paused = True, False
        self.backlog.clear()
