"""One process's hand at the register: what it has seen there, since when, and what it writes next. Without I/O.

A request is answered like this, by the store (store.py) as by the simulator:

    while the answer is open:
        draft = scribe.propose(request, now, wall)   # a Draft; or the reply, if there is nothing to write
        if draft is None: scribe.has_read(what a read finds, scribe.mark, now)
        else:             reply = scribe.settle(draft, what the swap finds, now)   # None: another one was faster

In the steady state that is one swap, since `overhear()` is told of each change at once. After a failure it is a read
first: so each record that a site writes is the proof that it heard an answer in time, right before; and nobody else
counts as ready to be handed the lead.

**The record's time.** A site takes for it what the record said when it was written, and what has passed since the site
saw that, by its own clock; or what it knew before, if that is later. So it never runs ahead of real time by more than
the clocks' rates. It may run behind.

**What was forgotten.** The register is taken to have forgotten something if it is empty or holds no record of ours, if
the record was written under another incarnation of the server, or under the one that this process saw last no more, or
is older than what this process has seen. Then everything that was watched is watched anew. It is entered as a
`Suspension`, with a new lineage, unless somebody else has done so: then the lineage is one that was never seen before.
"""

from __future__ import annotations

from typing import Any

from rectbot.failover.budget import logins_left
from rectbot.failover.config import FailoverConfig
from rectbot.failover.messages import Campaign, Granted, Refused, Renewed, Reply, Request
from rectbot.failover.record import Draft, Record, Seen
from rectbot.failover.rules import (
    Forgetful,
    begin,
    judge,
    memory_in,
    obstacle_for,
    suspend,
    twin_wait_ms,
    whom_to_yield_to,
)
from rectbot.failover.view import RollCall, View, Watched, WatchedBeat


class Scribe:
    """See above. All times are milliseconds of CLOCK_BOOTTIME, but `wall`."""

    def __init__(self, config: FailoverConfig) -> None:
        self._config = config
        self.known: Seen | None = None
        self.serving: bool | None = None  # for the next heartbeat
        self.trips: dict[str, Any] | None = None
        self._in_touch = False  # nothing failed since the last answer
        self._asked_at = 0
        self._heard_at = 0  # when that was sent whose answer was the last to come
        self._wrote_at = 0
        self._waited = False  # the last heartbeat was put off
        self._lag = 0  # how long the last answer took
        self._writes = 0
        self._offset = 0  # the record's time minus ours
        self._ttl = config.lock_ttl_ms  # the longest of any lease that was seen
        self._least_ttl = config.lock_ttl_ms  # and the shortest of any site
        self._epoch = 0  # the highest that was seen
        self._lock = Watched()
        self._found_at = 0  # when that lock was first seen
        self._knows_us = False  # our heartbeat was there when that lock was written
        self._quiet = Watched()
        self._twin = Watched()
        self._beats: dict[str, WatchedBeat] = {}
        self._twin_beats = 0  # how often that was renewed
        self._lineages: set[str] = set()
        self._forgot = ""  # that the store has, and how; nobody has entered it yet
        self._absent = RollCall()  # since the store forgot
        self._away = RollCall()  # since we were away ourselves, and until the lock is seen to move
        self._short = False  # the last renewal did not move the deadline on
        self._grants: dict[int, int] = {}  # ours whose answer we have not heard: when they were worked out

    @property
    def mark(self) -> int:
        """How far we know the record when we ask for it."""
        return self.known.record.seq if self.known and self.known.record else 0

    def failed(self) -> None:
        """An answer did not come in time: the next thing is to read."""
        self._in_touch = False

    # --- what comes

    def has_read(self, seen: Seen, mark: int, now: int) -> None:
        """The answer to a read, or to a swap; `mark` was ours when it was sent."""
        known, record = self.known, seen.record
        was_away, was_in_touch = self._was_away(now), self._in_touch
        self._in_touch, self._lag, self._heard_at = True, now - self._asked_at, self._asked_at
        both = known is not None and known.server == seen.server and record is not None and known.record is not None
        if not both or not mark <= record.seq < known.record.seq:  # type: ignore[union-attr]
            self._take(seen, self._how_forgotten(seen), now)  # else we have overheard a later one meanwhile
        if known is not None:
            self._come_back(was_away, was_in_touch, now)

    def _was_away(self, now: int) -> bool:
        """For so long that somebody may have been granted a lease where nothing is known of ours."""
        return now - self._heard_at >= self._least_ttl * 98 // 100

    def _come_back(self, was_away: bool, was_in_touch: bool, now: int) -> None:
        """The address may have led elsewhere meanwhile, and whoever could reach that may have been granted a lease."""
        record = self.known.record if self.known is not None else None
        if record is None:
            return
        if was_away:
            self._away.begin(record.beats, self._config.site, now + self._ttl)
        if not was_in_touch and not self._knows_us and self._lock.owner != self._config.owner:
            # Its leader may have renewed there, and did not know that it has to wait for us. At most twice as long: a
            # link that fails now and then must not keep us from a lock that nobody holds.
            self._lock.since = min(now, self._found_at + self._ttl)

    def _how_forgotten(self, seen: Seen) -> str:
        known, record = self.known, seen.record
        if record is None:
            return seen.flaw or "no memory"
        if not record.server:
            return "an earlier version of rectbot wrote it"
        if record.server != seen.server or (known is not None and known.server != seen.server):
            return "another server process"
        if known is None or known.record is None:
            return ""
        before = known.record
        same = record.owner == before.owner and record.n == before.n
        return "" if record.seq > before.seq or same else "an older record"

    def overhear(self, seen: Seen | None, now: int) -> bool:
        """The register says that it has changed, late or early. None: it does not say what there is.

        Returns whether that is news: what we wrote ourselves is announced to us, too.
        """
        known = self.known
        if seen is None or known is None or seen.record is None or known.record is None or seen.server != known.server:
            self._in_touch = False
            return True
        if seen.record.server == seen.server and seen.record.seq > known.record.seq:
            self._take(seen, "", now)
            return True
        return False

    def _take(self, seen: Seen, forgotten: str, now: int) -> None:
        before, record = self.known, seen.record
        self.known = seen
        if forgotten:
            self._lock, self._quiet, self._twin, self._beats = Watched(), Watched(), Watched(), {}
            entered = record is not None and record.server == seen.server and record.lineage not in self._lineages
            self._forgot = "" if entered else forgotten
            for there in (before.record if before is not None else None, record):
                if before is not None and there is not None:  # who begins knows nobody, and waits anyhow
                    self._absent.begin(there.beats, self._config.site, now + self._ttl)
        elif record is not None and self._forgot and record.lineage not in self._lineages:
            self._forgot = ""
        if record is None:
            return
        offset = record.t - now
        self._offset = offset if forgotten else max(self._offset, offset) if before else offset
        self._watch(record, now)

    def _watch(self, record: Record, now: int) -> None:
        if not self._forgot:
            self._lineages.add(record.lineage)
        self._epoch = max(self._epoch, record.epoch)
        if lock := record.lock:
            if self._lock.look(lock.owner, lock.n, now):
                self._found_at, own = now, record.beats.get(self._config.site)
                self._knows_us = own is not None and own.owner == self._config.owner
                self._away = RollCall()  # whoever wrote that led, so nobody else did
            self._ttl = max(self._ttl, lock.ttl)
        if quiet := record.suspended:
            self._quiet.look(quiet.owner, quiet.n, now)
        self._absent.look(record.beats)
        self._away.look(record.beats)
        for site, beat in record.beats.items():
            self._least_ttl = min(self._least_ttl, beat.ttl)
            if site != self._config.site:
                if site not in self._beats:
                    self._beats[site] = WatchedBeat()
                self._beats[site].look(beat, site in record.operator.drained, now)
            elif beat.owner != self._config.owner:
                same = self._twin.owner == beat.owner
                self._twin_beats = self._twin_beats + (self._twin.n != beat.n) if same else 0
                self._twin.look(beat.owner, beat.n, now)

    # --- what goes

    def propose(self, request: Request, now: int, wall: int) -> Draft | Reply | None:
        """What to write for this request; or the reply; or None: read first."""
        known, self._asked_at = self.known, now
        if known is None or not self._in_touch or self._was_away(now):
            return None
        record = known.record
        if isinstance(request, Campaign) and record is not None and (granted := self._own_grant(record, now)):
            return granted
        self.number()
        view = self._view(now, wall)
        if self._forgot or record is None:
            record = suspend(self._config, record, view, Forgetful(known.server, self._forgot, self._ttl, self._epoch))
        made, reply = judge(self._config, record, request, view)
        if made is None:
            if not self._forgot:
                return reply
            made = begin(self._config, record, view)
        if isinstance(reply, Granted):
            self._grants[view.n] = now
        return Draft(known, made, reply)

    def settle(self, draft: Draft, seen: Seen, now: int) -> Reply | None:
        """The answer to the swap of a draft. The reply, if it won; else propose again."""
        record, ours = seen.record, draft.record
        won = (
            record is not None
            and record.owner == ours.owner
            and record.n == ours.n
            and seen.server == draft.seen.server
        )
        if won and self._forgot:
            self._forgot = ""
        self.has_read(seen, draft.seen.record.seq if draft.seen.record else 0, now)
        if not won:
            return self._let_be(draft, now)
        self._grants.clear()
        self._wrote_at, self._waited = now, False
        self._short = isinstance(draft.reply, Renewed) and not draft.reply.extends
        return draft.reply

    def _let_be(self, draft: Draft, now: int) -> Reply | None:
        """A heartbeat that a leader forestalled waits, once, until that renews again; all else is tried at once."""
        if self._waited:
            return None
        record = self.known.record if self.known is not None else None
        if record is None or self._forgot or not isinstance(draft.reply, Refused) or draft.reply.why != "held":
            return None
        obstacle = obstacle_for(self._config, record, True, self._view(now, 0))
        if obstacle is None or obstacle.why != "held":
            return None
        self._waited = True
        return Refused(obstacle.why, obstacle.wait_ms, record.epoch, obstacle.by, draft.reply.notice)

    def due(self, leads: bool, now: int) -> int | None:
        """In how many milliseconds a request would achieve something, as things stand; None: not by waiting."""
        record = self.known.record if self.known is not None else None
        if record is None or not self._in_touch or self._forgot:
            return 0
        view = self._view(now, 0)
        return self._leader_due(record, view) if leads else self._standby_due(record, view, now)

    def _leader_due(self, record: Record, view: View) -> int | None:
        lock = record.lock
        if lock is None or lock.owner != self._config.owner or (self._short and view.absent_ms <= 0):
            return 0
        reply = whom_to_yield_to(self._config, record, view)
        return 0 if reply.yield_to or reply.why else reply.yield_in_ms

    def _standby_due(self, record: Record, view: View, now: int) -> int | None:
        config = self._config
        beat = record.beats.get(config.site)
        if beat is None:
            return 0
        if beat.owner != config.owner and (wait := twin_wait_ms(beat) - view.twin_ms) > 0:
            return wait
        obstacle = obstacle_for(config, record, True, view)
        if obstacle is None or (beat.unsure_ms and memory_in(config, record, view) <= 0):
            return 0
        if obstacle.why != "held" or self._lock.since < self._wrote_at or obstacle.wait_ms is None:
            return obstacle.wait_ms
        # The leader has just renewed: that is the moment for a heartbeat. It will have heard of it, however late it
        # hears, before it renews again; and so its renewal meets the record that it knows.
        return min(obstacle.wait_ms, max(0, self._wrote_at + config.renew_interval_ms // 2 - now))

    def time(self, now: int) -> int:
        """The record's, as far as we know."""
        return now + self._offset

    def number(self) -> int:
        """For a write of this process that is no request: no two may have the same."""
        self._writes += 1
        return self._writes

    def _view(self, now: int, wall: int) -> View:
        return View(
            now,
            now + self._offset,
            wall,
            self._writes,
            self._beats,
            lock_ms=now - self._lock.since,
            quiet_ms=0 if self._forgot else now - self._quiet.since,
            twin_ms=now - self._twin.since,
            twin_lives=self._twin_beats > 0,
            lag_ms=self._lag,
            absent_ms=self._absent.wait_ms(now),
            away_ms=self._away.wait_ms(now),
            missed=self._absent.missed or self._away.missed,
            serving=self.serving,
            trips=self.trips,
        )

    def _own_grant(self, record: Record, now: int) -> Granted | None:
        """A grant that was given up, but was made all the same."""
        lock = record.lock
        if lock is None or lock.owner != self._config.owner:
            return None
        worked_out = self._grants.pop(lock.n, None)
        if worked_out is None:
            return None
        return Granted(lock.epoch, worked_out, logins_left(self._config, record, self.time(now)))
