"""What really came of an act: it is followed in the store until it is so, or until it will not be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from rectbot.console.acts import Act
from rectbot.console.widgets import moment
from rectbot.console.words import Words
from rectbot.errors import RectbotError
from rectbot.failover.config import FailoverConfig
from rectbot.failover.events import Event, Hold, Snapshot
from rectbot.failover.store import LeaseStore

_LOOK_SECONDS = 0.2
_EVENTS = 40
_LOGIN_SECONDS = 60.0  # beyond two leases: a login takes its time
FOR_EVER_SECONDS = 10 * 365 * 86_400


@dataclass(frozen=True)
class Outcome:
    """In words for a Sentence; `tone` is good, warning or error; not `final`: more is awaited."""

    text: str
    tone: str = "good"
    final: bool = True


class Follower:
    """Says what comes of acts on one store."""

    def __init__(self, store: LeaseStore, config: FailoverConfig, words: Words) -> None:
        self._store, self._config, self._words = store, config, words

    async def follow(self, act: Act, before: Snapshot, *, changed: bool) -> AsyncIterator[Outcome]:
        """The outcomes one after the other, the last one final. `changed`: whether it was not so already."""
        led = before.leader.site if before.leader else ""
        moves = (act.name == "switch" and led != act.site) or (act.name == "drain" and led == act.site)
        if not moves or not changed:
            yield self._at_once(act, await self._store.snapshot(), changed=changed)
            return
        yield Outcome(self._words(f"outcome.waits.{act.name}", site=act.site, at=moment(time.time())), "warning", False)
        async for outcome in self._move(act, before):
            yield outcome

    def _at_once(self, act: Act, snapshot: Snapshot, *, changed: bool) -> Outcome:
        words = self._words
        if not changed:
            return Outcome(words(f"outcome.was.{act.name}", site=act.site))
        if act.name == "hold" and snapshot.hold:
            return Outcome(hold_text(words, snapshot.hold, time.time()))
        return Outcome(words(f"outcome.done.{act.name}", site=act.site))

    async def _move(self, act: Act, before: Snapshot) -> AsyncIterator[Outcome]:
        give_up_at = time.monotonic() + 2 * self._config.lock_ttl_ms / 1000 + _LOGIN_SECONDS
        told = 0
        while time.monotonic() < give_up_at:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                snapshot = await self._store.snapshot()
                found = await self._found(act, before, snapshot)
            except RectbotError as error:
                yield Outcome(self._words("outcome.unknown", error=error), "warning", False)
                continue
            if found is not None and (found.final or snapshot.epoch != told):
                told = snapshot.epoch
                yield found
            if found is not None and found.final:
                return
        yield Outcome(self._words("outcome.late", site=act.site), "error")

    async def _found(self, act: Act, before: Snapshot, snapshot: Snapshot) -> Outcome | None:
        words, leader = self._words, snapshot.leader
        if leader is None:
            heirs = [site for site, found in snapshot.sites.items() if found.eligible and site != act.site]
            alone = act.name == "drain" and not heirs
            return Outcome(words("outcome.drained.nobody", site=act.site), "error") if alone else None
        if act.name == "switch" and leader.site != act.site:
            return None if snapshot.switch_to else Outcome(words("outcome.not", leader=leader.site), "error")
        if snapshot.epoch == before.epoch:
            return None
        site, since = leader.site, moment(datetime.fromisoformat(leader.since).timestamp())
        if snapshot.state_of(site) != "leads":
            return Outcome(words("outcome.leads", site=site, since=since), "warning", final=False)
        took = login_seconds(await self._store.events(_EVENTS), leader.epoch)
        key = "outcome.moved" if took is not None else "outcome.serves"
        return Outcome(words(key, site=site, since=since, seconds=f"{took or 0:.1f}"))


def login_seconds(events: list[Event], epoch: int) -> float | None:
    """From the grant of the lead to the bot's readiness, by that site's own clock; None: it is not known."""
    times = {event.kind: event.time for event in events if event.epoch == epoch}
    if "acquired" not in times or "ready" not in times:
        return None
    return max(0.0, times["ready"] - times["acquired"])


def hold_text(words: Words, hold: Hold, now: float) -> str:
    """Who may lead under a hold, and until when."""
    if hold.remaining_s > FOR_EVER_SECONDS:
        until = words("live.hold.unended")
    else:
        until = words("live.hold.until", until=moment(round(now + hold.remaining_s)))
    key = "live.hold" if hold.site else "live.hold.nobody"
    return words(key, site=hold.site, why=hold.why, until=until)
