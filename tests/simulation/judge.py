"""Judges a schedule from outside: by what workloads did, and what the store answered, never by what a site believes.

It keeps books of its own on who holds the lock, which site stands ready since when, who lost the lead how often, and
which disturbance may excuse what. It never reads the state of a protocol, a scribe or a record.

I1 (one session), I4 (few logins, within the budget), I5 (who fails gives up the lead, and sits out) and I6 (epochs)
hold always. I2 (priority) and I3 (liveness) are promises for a world in which messages arrive: each is checked when it
is due, unless something was disturbed meanwhile.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rectbot.failover.messages import Campaign, Granted, Refused, Release, Released, Renewed, Reply, Request

if TYPE_CHECKING:
    from .site import Ask, Site
    from .world import World

SLACK = 50.0  # milliseconds that I3 allows on top
BEATS = (Campaign, Release)  # requests that say whether their site is eligible


class Violation(Exception):  # noqa: N818 (what happened)
    """An invariant was broken."""


class Judge:
    def __init__(self, world: World) -> None:
        self.world = world
        self.top_epoch = 0
        self.starts: list[tuple[float, str]] = []
        self.storms = 0  # disturbances of the whole world that go on
        self.ongoing = 0  # disturbances of whatever that go on
        self.edges = 0  # disturbances that began or ended
        self.last_edge = -1e9  # of the whole world
        self.site_edge: dict[str, float] = {}  # of one site
        self.ready: dict[str, tuple[float, float, int]] = {}  # since, last heartbeat, life
        self.last_beat: dict[str, float] = {}  # that said that its site is ready, also of one that is gone since
        self.losses: Counter[str] = Counter()  # of the lead
        self.first_lost: dict[str, float] = {}
        self.lost_at: dict[str, float] = {}
        self.failures: dict[str, tuple[int, float]] = {}  # of the workload in a row, the last one
        self.started: dict[str, float] = {}
        self.booted: dict[str, float] = {}
        self.begun: set[int] = set()  # epochs under which a workload was started
        self.holder_epoch = 0
        self.holder: Site | None = None  # by the store's answers
        self.holder_life = 0
        self.held_from = 0.0  # the last request that kept the lock for it
        self.heir: tuple[Site, float] | None = None  # to whom an operator moves the lead, and since when
        self.memory_lost = False  # the store may have forgotten a grant
        self.unsure_at = -1.0  # when that was, or is believed to have been
        self.switch_to = ""  # the last that an operator wanted
        self.bent = False  # by an operator, or by a budget that is all but spent: others may lead than usual
        self.logins = 0  # paid for with a grant, and under a lease
        self.untold: dict[str, list[int]] = {}  # of them, those that no request could tell of yet: the last one before
        self.allowed = float(world.base.login_burst)
        self.drained: set[str] = set()
        self.poor_from: int | None = None  # the logins before the store, without memory, took all but ten for spent

    def violated(self, invariant: str, text: str) -> None:
        self.world.say("JUDGE", f"{invariant} VIOLATED: {text}")
        raise Violation(f"{invariant}: {text}")

    # --- disturbances, which excuse things

    def disturbed(self, site: Site | None = None) -> None:
        self.edges += 1
        if site is None:
            self.last_edge = self.world.t
            return
        self.site_edge[site.name] = self.world.t
        if site is self.holder:
            self._expect_takeover(site)

    def begins(self, site: Site | None) -> None:
        """A disturbance that goes on until it `ends`."""
        self.ongoing += 1
        self.storms += site is None
        self.disturbed(site)

    def ends(self, site: Site | None) -> None:
        self.ongoing -= 1
        self.storms -= site is None
        self.disturbed(site)

    def calm_since(self, t: float, *sites: Site) -> bool:
        """Whether nothing went wrong since, with the store and the network, and with these sites."""
        ttl = self.world.base.lock_ttl_ms
        return (
            self.storms == 0
            and self.last_edge < t - 1.1 * ttl
            and not self.bent
            and all(self.site_edge.get(site.name, -1e9) < t for site in sites)
        )

    def _is_able(self, site: Site, since: float) -> bool:
        """Whether it has stood ready since then, and no request of it is still unanswered because of a disturbance."""
        return (
            site.up
            and not site.frozen
            and not site.wire.cut
            and not site.wire.lag
            and site.name in self.ready
            and self.ready[site.name][0] <= since
            and self.site_edge.get(site.name, -1e9) < since - self._silence()
        )

    def _silence(self) -> float:
        """How long a site may be silent after a disturbance is over.

        A request that was lost just before its end is given up a while later, and sent again after a pause.
        """
        base = self.world.base
        return 1.01 * (base.patience_ms + base.renew_interval_ms + base.retry_ms) + self._round_trips() / 4

    def _round_trips(self) -> float:
        """As long as four round trips may take in good weather; and two looks at a register that is polled."""
        return 12 * self.world.weather.latency + 2 * self.world.poll

    # --- what sites do

    def on_boot(self, site: Site) -> None:
        self.ready.pop(site.name, None)
        self.failures.pop(site.name, None)
        self.booted[site.name] = self.world.t
        self.disturbed(site)

    def on_down(self, site: Site) -> None:
        self.ready.pop(site.name, None)
        self.allowed += len(self.untold.pop(site.name, ()))  # nobody can tell of them any more
        self.disturbed(site)

    def on_login(self, site: Site) -> None:
        """A login under a lease, beside the first."""
        self.untold.setdefault(site.name, []).append(site.sent)
        self._spend(self._unknown() - len(self.untold[site.name]))

    def on_memory_lost(self, *, entirely: bool) -> None:
        """The store may forget what was spent: an older copy all of it, an empty table takes all but ten for spent."""
        self.memory_lost, self.unsure_at = True, self.world.t
        if entirely:
            self.holder = None  # until its renewal restores the lock; a release ends nothing, as grants are suspended
            self.poor_from = self.logins
        self.drained.clear()
        self.switch_to = ""  # what is handed over from now on may be a hand-back, which a more preferred site may pass
        self.allowed += max(10, self.logins)

    def _unknown(self) -> int:
        return sum(map(len, self.untold.values()))

    def _spend(self, unknown: int) -> None:
        """I4: of the logins but those that nobody could tell of, because a leader was cut off."""
        self.logins += 1
        if self.logins - unknown > self.allowed:
            self.violated("I4", f"{self.logins} logins, {unknown} of them untold, and room for {self.allowed:.2f}")

    def on_start(self, site: Site) -> None:
        t = self.world.t
        self.starts.append((t, site.name))
        self.started[site.name] = t
        self.check_alone(site)
        if site.epoch <= self.top_epoch:
            self.violated("I6", f"{site} leads with epoch {site.epoch} after {self.top_epoch}")
        self.top_epoch = site.epoch
        self.begun.add(site.epoch)
        count, last = self.failures.get(site.name, (0, 0.0))
        if count:
            config = self.world.base
            pause = min(config.sit_out_ms * 2 ** (count - 1), config.sit_out_max_ms)
            if t - last < pause * 0.99:
                self.violated("I5", f"{site} logs in {t - last:.0f} ms after failure {count} in a row, not {pause}")
        if len(self.starts) > 4 + 2 * self.edges:
            self.violated("I4", f"{len(self.starts)} logins for {self.edges} disturbances")

    def check_alone(self, site: Site) -> None:
        """I1. In a suspended machine nothing runs; its session counts again from the first instruction after that."""
        if not site.live or site.frozen == "suspended":
            return
        for other in self.world.sites:
            if other is not site and other.live and other.frozen != "suspended":
                self.violated("I1", f"{site} and {other} are both live")

    def on_failed(self, site: Site) -> None:
        count, _ = self.failures.get(site.name, (0, 0.0))
        stable = self.world.t - self.started[site.name] >= self.world.base.sit_out_max_ms
        self.failures[site.name] = (1 if stable else count + 1, self.world.t)
        self.disturbed(site)
        self.world.after(1.02 * site.config.lock_ttl_ms + SLACK, self._check_gone, (site, site.run_number))

    def _check_gone(self, failed: tuple[Site, int]) -> None:
        """I5: a leader whose workload has failed gives up the lead, and does not go on with it."""
        site, run = failed
        if site.live and site.run_number == run and not site.frozen:
            self.violated("I5", f"{site} still leads, a TTL after its workload has failed")

    # --- what the store answers

    def on_executed(self, ask: Ask) -> None:
        """A swap was done."""
        assert ask.draft is not None
        site, t, request, reply = ask.site, self.world.t, ask.send.request, ask.draft.reply
        self._on_beat(ask, request, reply)
        if site.name in self.untold and ask.life == site.life:
            before = self.untold[site.name]
            self.untold[site.name] = [number for number in before if number >= ask.send.id]
            if self.holder is not None and self.holder is not site:  # it was told what it may spend without these
                self.allowed += len(before) - len(self.untold[site.name])
            self.allowed = max(self.allowed, self.logins - self._unknown())
        if isinstance(reply, Granted):
            self._on_granted(site, ask.life)
            self.holder_epoch = reply.epoch
        elif isinstance(reply, Refused) and self._holds(ask):
            self.holder = None  # who campaigns runs nothing
        elif isinstance(reply, Renewed):
            if self.holder is not None and not self._holds(ask) and not self.memory_lost:
                self.violated("lock", f"{site} renews the lock that {self.holder} holds")
            self.holder, self.holder_life, self.held_from = site, ask.life, t
        elif isinstance(reply, Released) and self._holds(ask):
            assert isinstance(request, Release)
            self._on_released(site, request)

    def _on_released(self, site: Site, request: Release) -> None:
        t = self.world.t
        if self.holder_epoch not in self.begun:
            self.logins -= 1  # nothing ever ran under that lease
        elif request.ending in ("renew-failed", "workload-failed"):
            self._on_loss(site)
        if t - self.held_from > 0.9 * self.world.base.lock_ttl_ms:
            self.unsure_at = t  # it was away for long, and cannot know whether another one leads elsewhere
        self.holder = None
        heir = next((other for other in self.world.sites if other.name == request.to), None)
        self.heir = (heir, t) if heir is not None and heir.name == self.switch_to else None
        if self.calm_since(t) and (heir is None or self._is_able(heir, t)):
            self.world.after(SLACK + self._round_trips(), self._check_release, t)

    def _on_beat(self, ask: Ask, request: Request, reply: Reply) -> None:
        site = ask.site
        twin = isinstance(reply, Refused) and reply.why == "twin"
        eligible = isinstance(reply, Renewed) or (isinstance(request, BEATS) and request.eligible and not twin)
        if eligible:
            self.last_beat[site.name] = self.world.t  # it counts at the store, also when its sender is gone meanwhile
        if eligible and ask.life == site.life and site.up:
            self._on_ready(site)
        elif isinstance(request, BEATS):
            self.ready.pop(site.name, None)

    def _lock_end(self) -> float:
        return self.held_from + self.world.base.lock_ttl_ms * 1.006

    def _holds(self, ask: Ask) -> bool:
        return self.holder is ask.site and self.holder_life == ask.life

    def _on_ready(self, site: Site) -> None:
        t = self.world.t
        since, last, life = self.ready.get(site.name, (t, t, -1))
        if life != site.life or t - last >= self.world.base.lock_ttl_ms:
            since = t
        self.ready[site.name] = (since, t, site.life)
        holder = self.holder
        if since == t and holder is not None and site.place < holder.place:
            self._expect_hand_back(site, holder)

    def _on_granted(self, site: Site, life: int) -> None:
        if site.known_as in self.drained:
            self.violated("drain", f"{site} is granted the lock though it is drained")
        self._check_heir(site)
        if not self.bent:
            self._check_damping(site)
            self._check_priority(site)
        self._spend(self._unknown())
        if self.holder is not None and (self.holder is not site or self.holder_life != life):
            self._on_loss(self.holder)
        self.holder, self.holder_life, self.held_from = site, life, self.world.t

    def _on_loss(self, site: Site) -> None:
        self.losses[site.name] += 1
        self.first_lost.setdefault(site.name, self.world.t)
        self.lost_at[site.name] = self.world.t

    def _check_heir(self, site: Site) -> None:
        """What an operator has handed to a site that is able goes to nobody else."""
        if self.heir is not None and self.heir[0].known_as != site.known_as:  # a twin is the site, if it leads
            heir, since = self.heir
            late = self.world.t >= since + self.world.base.reserve_ms * 0.9
            if not late and self._is_able(heir, since) and self.last_edge < since and not self.storms:
                self.violated("switch", f"{site} is granted the lock that was handed to {heir}")
        self.heir = None
        if site.known_as == self.switch_to:
            self.switch_to = ""  # done

    def _check_damping(self, site: Site) -> None:
        """I4: after repeated losses a site leaves the lead to others for a while."""
        t, lost_at = self.world.t, self.lost_at.get(site.name, -1e9)
        damped = self.losses[site.name] >= 2 and t - lost_at < 0.9 * self.world.base.damping_ms
        if not damped or self.memory_lost:
            return
        if self.storms or self.last_edge >= min(self.first_lost[site.name], t - self._silence()):
            return  # in a storm nobody can tell the store that it stands ready
        for other in self.world.sites:
            if other is site or self.losses[other.name] >= 2 or self._watches_anew(other):
                continue
            if self._is_able(other, t):
                self.violated("I4", f"{site} is granted the lock again, after repeated losses, before {other}")

    def _check_priority(self, site: Site) -> None:
        """I2: nobody passes a more preferred site that stands ready."""
        if self.storms:
            return  # it may not have heard for how long it has to watch
        for other in self.world.sites[: site.place]:
            if other.name not in self.ready or self.losses[other.name] >= 2 or self._watches_anew(other):
                continue
            if other.wire.lag:
                continue  # it hears late of the last lease, and so watches it for longer
            last = self.ready[other.name][1]
            fresh_for = self.world.base.lock_ttl_ms * 0.98 - self._round_trips() / 2
            heard_late = self.site_edge.get(site.name, -1e9) >= last  # of when the other one's wait is over
            if self.world.t - last < fresh_for and self.last_edge < last and not heard_late:
                self.violated("I2", f"{site} acquires while {other} stands ready")

    def _watches_anew(self, site: Site) -> bool:
        """Whether it has had too little time to watch the last lease for a whole TTL."""
        since = max(self.booted[site.name], self.site_edge[site.name], self.unsure_at, self.last_edge)
        fresh = self.world.t - since < 1.1 * self.world.base.lock_ttl_ms + self._silence()
        return fresh and (self.holder is not None or self.unsure_at >= 0)

    def _waits_for_others(self, site: Site, since: float) -> bool:
        """Whether it may have heard nothing for a TTL, or of a loss of memory, and of some other site nothing since.

        That one may lead elsewhere, for all that it can know, for a TTL.
        """
        ttl = self.world.base.lock_ttl_ms
        edge = max(self.booted[site.name], self.site_edge.get(site.name, -1e9), self.unsure_at, self.last_edge)
        if edge < since - ttl - self._silence():
            return False
        return any(not self._is_able(other, since) for other in self.world.sites if other is not site)

    # --- promises

    def _expect_hand_back(self, site: Site, holder: Site) -> None:
        config = self.world.base
        due = config.failback_ms * 1.01 + config.stop_timeout_ms * 1.01 + SLACK + self._round_trips()
        if self.booted[site.name] < self.world.t - 0.9 * config.lock_ttl_ms:  # it was away: sees the leader renew first
            due += config.renew_interval_ms * 1.01 + self._round_trips()
        self.world.after(due, self._check_hand_back, (site, holder, holder.run_number, self.world.t))

    def _check_hand_back(self, promise: tuple[Site, Site, int, float]) -> None:
        """I2: a preferred site gets the lead once it has been ready for the failback delay."""
        site, holder, run, since = promise
        if self.holder is not holder or not self.calm_since(since, site, holder) or self.losses[site.name] >= 2:
            return
        if (
            holder.hangs
            or holder.wire.cut
            or holder.wire.lag  # it hears late of who is due
            or self.site_edge.get(holder.name, -1e9) > since - self.world.base.lock_ttl_ms
        ):
            return
        if self._waits_for_others(site, since) and any(other not in (site, holder) for other in self.world.sites):
            return
        if holder.live and holder.run_number == run and self._is_able(site, self.world.t - 1):
            self.violated("I2", f"{holder} still leads though {site} has been ready since {since:.1f}")

    def _expect_takeover(self, holder: Site) -> None:
        """After the last renewal of a holder that something happened to."""
        due = self._lock_end()
        if due > self.world.t:
            self.world.at(due + SLACK + self._round_trips(), self._check_takeover, (holder, self.held_from))

    def _check_takeover(self, promise: tuple[Site, float]) -> None:
        """I3: a standby takes over at the lock's expiry."""
        holder, held_from = promise
        if self.holder is not holder or self.held_from != held_from or not self.calm_since(held_from):
            return
        others = [site for site in self.world.sites if site is not holder]
        unsure = [site for site in self.world.sites if not self._is_able(site, held_from)]
        if all(site in unsure for site in others) or any(
            self.last_beat.get(site.name, -1e9) > held_from for site in unsure
        ):
            return
        if any(self.losses[site.name] >= 2 for site in others):
            return
        self.violated("I3", f"nobody has taken over since {holder}'s lock of {held_from:.1f} has expired")

    def _check_release(self, since: float) -> None:
        """I3: after a release a ready site begins its login at once."""
        able = [site for site in self.world.sites if self._is_able(site, since)]
        if not able or not self.calm_since(since) or any(t >= since for t, _ in self.starts):
            return
        stale = since - self.world.base.lock_ttl_ms
        newest = max(self.booted[site.name] for site in able)  # what is there when one begins looks fresh to it
        obstructed = any(
            site not in able and site.name in self.last_beat and max(self.last_beat[site.name], newest) > stale
            for site in self.world.sites
        )
        if all(self._waits_for_others(site, since) for site in able):
            return
        if not obstructed and not any(self.losses.values()):
            self.violated("I3", f"nobody has begun since the release at {since:.1f}")

    def is_well(self, enough: float) -> bool:
        """Whether nothing is disturbed, and the most preferred site has led for long enough since anything was."""
        first, *others = self.world.sites
        if self.ongoing or not first.live or not all(other.up for other in others):
            return False
        return self.world.t - max(self.last_edge, self.started[first.name], *self.site_edge.values()) >= enough

    def check_end(self) -> None:
        """I3: when all has been well for long enough, there is a session, and it is where it should be."""
        live = [site for site in self.world.sites if site.live]
        if self.poor_from is not None and self.logins - self.poor_from >= 8:
            return  # the budget is all but spent: nobody may lead, or the lead stays where it is
        if not live:
            self.violated("I3", "all is well again, and nobody leads")
        if live[0].place > 0 and max(self.losses.values(), default=0) < 2:
            self.violated("I2", f"all is well again, and {live[0]} leads")
