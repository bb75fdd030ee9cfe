"""The page that shows both sites as they are, and from which the operator acts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from nicegui import ui
from nicegui.element import Element

from rectbot.console.acts import Act, ActName
from rectbot.console.alert_list import AlertList
from rectbot.console.buttons import ActButton
from rectbot.console.confirm import Confirm
from rectbot.console.live import Now
from rectbot.console.message_list import MessageList
from rectbot.console.outcome import Outcome, hold_text
from rectbot.console.past_card import PastCard
from rectbot.console.visit import Visit, heading
from rectbot.console.widgets import Lines, Sentence, Ticker, event_lines, moment
from rectbot.console.words import Words
from rectbot.failover.events import Snapshot
from rectbot.push.ages import STALE_SECONDS


class Known(Element, component="static/known.js"):
    """A word that is true as of the last look; a page that hears nothing says `unknown` in its place."""

    def __init__(self, unknown: str) -> None:
        super().__init__()
        self._props.update({"words": unknown, "unknown": unknown, "tone": "unknown"})

    def show(self, words: str, tone: str) -> None:
        """The word, and how it looks."""
        if (words, tone) != (self._props["words"], self._props["tone"]):
            self._props.update({"words": words, "tone": tone})
            self.update()


class LivePage:
    """Built once, then changed in place at each look; what is not there yet has its room already."""

    def __init__(self, visit: Visit, now: Now) -> None:
        self._visit = visit
        self._words = visit.words
        self._now = now
        self._confirm = Confirm(visit, self.tell)
        self._events_shown: tuple[object, ...] = ()
        self._longest = 0.0  # seconds that a lease had left: the whole of the bar

    def build(self) -> None:
        """The elements, with what is known now; then they follow the state for as long as the page is open."""
        words = self._words
        self._outcome = Sentence().classes("outcome").props("role=status")
        with ui.element("div").classes("columns"):
            with ui.element("section").classes("card leader"):
                self._build_leader()
            self._cards = [SiteCard(self, name) for name in self._visit.desk.config.priority]
        with ui.element("div").classes("columns"):
            with ui.element("section").classes("card"):
                heading(words("push.title"), 2)
                self._pushes = PushList(self._visit)
            with ui.element("section").classes("card wide"):
                heading(words("alert.title"), 2)
                self._alerts = AlertList(self._visit, self.tell)
        with ui.element("section").classes("card below"):
            heading(words("happened.title"), 2)
            self._past = PastCard(self._visit)
        with ui.element("section").classes("card below"):
            heading(words("message.title"), 2)
            self._messages = MessageList(self._visit, self.tell)
        with ui.element("section").classes("card"):
            heading(words("events.title"), 2)
            self._events_age = Sentence().classes("hint age")
            self._events = Lines(empty="", label=words("events.title"))
            self._events.classes("events")
        self._show(self._now)
        stop = self._visit.desk.live.watch(self._look)
        self._visit.client.on_delete(stop)

    def tell(self, outcome: Outcome) -> None:
        """What came of an act; it stays there until the next one."""
        self._outcome.classes(replace=f"outcome {outcome.tone}")
        self._outcome.set_text(outcome.text)

    def _build_leader(self) -> None:
        words = self._words
        heading(words("live.leader"), 2)
        self._leader = Known(words("state.unknown")).classes("who").props("data-name=leader aria-live=polite")
        self._last = Sentence().classes("hint age")
        self._since = Sentence().classes("facts")
        with ui.element("p").classes("facts"):
            ui.label(words("live.lease"))
            self._lease = Ticker(direction=-1)
        self._orders = Sentence().classes("orders")
        self._logins = ui.label().classes("hint")
        if self._visit.may_act:
            with ui.element("div").classes("acts"):
                self._hold = ActButton(self._visit, words("act.button.hold"), self._toggle_hold)

    def _look(self, now: Now) -> None:
        self._now = now
        with self._visit.client:
            self._show(now)

    def _show(self, now: Now) -> None:
        self._show_leader(now)
        for card in self._cards:
            card.show(now)
        self._pushes.show(now)
        self._alerts.show(now)
        self._messages.show(now)
        self._past.show(now)
        self._confirm.show(now)
        silent = now.silent("store")
        age = as_of(self._words, now.read) if silent and now.read else ""
        self._events_age.set_text(age)
        if (shown := (now.events, silent is None)) != self._events_shown:
            self._events_shown = shown
            empty = "events.unknown" if silent else "events.none"
            self._events.show(event_lines(now.events, self._words), self._words(empty))

    def _show_leader(self, now: Now) -> None:
        words, snapshot = self._words, now.snapshot
        leader = snapshot.leader if snapshot else None
        if snapshot is None:
            self._leader.show(words("state.unknown"), "unknown")
        else:
            self._leader.show(leader.site if leader else words("live.nobody"), "" if leader else "nobody")
        self._last.set_text("" if snapshot else self._last_known(now))
        since = datetime.fromisoformat(leader.since).timestamp() if leader else 0.0
        self._since.set_text(f"{words('live.since')} {moment(since)}" if leader else "")
        left = leader.lease_remaining_ms / 1000 if leader else None
        self._longest = max(self._longest, left or 0.0)
        self._lease.show(left, self._longest or None)
        self._orders.set_text("\n".join(self._orders_of(now.last, now)) if now.last else "")
        self._orders.classes(replace="orders" if snapshot else "orders old")
        self._logins.set_text(words("live.logins", left=snapshot.logins_left) if snapshot else "")
        if self._visit.may_act:
            held = snapshot is not None and snapshot.hold is not None
            self._hold.say(words("act.button.unhold" if held else "act.button.hold"), off=snapshot is None)

    def _last_known(self, now: Now) -> str:
        """Who led when the store answered last."""
        if now.last is None or now.read is None:
            return self._words("live.never")
        leader = now.last.leader.site if now.last.leader else self._words("live.nobody")
        return f"{self._words('live.last', what=leader)} {as_of(self._words, now.read)}"

    def _orders_of(self, snapshot: Snapshot, now: Now) -> Iterator[str]:
        words = self._words
        if snapshot.leader is None and now.snapshot is not None:
            yield words("live.nobody.hint")
        if snapshot.suspended_ms:
            yield words("live.suspended", seconds=round(snapshot.suspended_ms / 1000))
        if snapshot.hold:
            yield hold_text(words, snapshot.hold, now.read or now.time)
        if snapshot.switch_to:
            yield words("live.switching", site=snapshot.switch_to)
        if pinned := snapshot.pin_against(self._visit.desk.config.priority):
            yield words("live.pinned", site=pinned)

    async def _toggle_hold(self) -> None:
        held = self._now.snapshot is not None and self._now.snapshot.hold is not None
        self.ask("unhold" if held else "hold")

    def ask(self, name: ActName, site: str = "") -> None:
        """Shows what the act would do, and does it when the operator agrees."""
        self._confirm.ask(Act(name, site), self._now)

    @property
    def visit(self) -> Visit:
        """Whose page it is."""
        return self._visit


def as_of(words: Words, at: float) -> str:
    """Marks what is old."""
    return words("live.asof", at=moment(at))


class SiteCard:
    """One site: whether it is alive, what it does, and what can be ordered."""

    def __init__(self, page: LivePage, name: str) -> None:
        self._page, self._words, self._name = page, page.visit.words, name
        words, config = self._words, page.visit.desk.config
        self._drained = False
        with ui.element("section").classes("card site").props(f"data-name=site-{name}"):
            heading(name, 2)
            self._state = Known(words("state.unknown")).classes("state")
            self._hint = Sentence().classes("hint")
            with ui.element("p").classes("facts"):
                ui.label(words("live.heartbeat"))
                self._beat = Ticker(none="-", limit=page.visit.settings_ttl())
            rank, count = config.priority.index(name) + 1, len(config.priority)
            ui.label(words("live.priority", rank=rank, count=count)).classes("hint")
            if page.visit.may_act:
                with ui.element("div").classes("acts"):
                    self._switch = ActButton(page.visit, words("act.go.switch", site=name), self._ask_switch)
                    self._drain = ActButton(page.visit, words("act.go.drain", site=name), self._ask_drain)

    async def _ask_switch(self) -> None:
        self._page.ask("switch", self._name)

    async def _ask_drain(self) -> None:
        self._page.ask("undrain" if self._drained else "drain", self._name)

    def show(self, now: Now) -> None:
        """The site as it is now."""
        words, name, snapshot = self._words, self._name, now.snapshot
        site = snapshot.sites.get(name) if snapshot else None
        state = snapshot.state_of(name) if snapshot else "unknown"
        self._state.show(words(f"state.{state}", seconds=round(site.damped_s) if site else 0), state)
        self._hint.set_text(self._hinted(now, state))
        self._beat.show(site.heartbeat_age_s if site else None)
        self._drained = snapshot is not None and name in snapshot.drained
        if self._page.visit.may_act:
            off = snapshot is None
            self._switch.say(words("act.go.switch", site=name), off=off)
            self._drain.say(words("act.go.undrain" if self._drained else "act.go.drain", site=name), off=off)

    def _hinted(self, now: Now, state: str) -> str:
        words, last = self._words, now.last
        if state in ("silent", "absent"):
            return words("state.silent.hint")
        if state != "unknown" or last is None or now.read is None:
            return ""
        site = last.sites.get(self._name)
        before = words(f"state.{last.state_of(self._name)}", seconds=round(site.damped_s) if site else 0)
        return f"{words('live.last', what=before)} {as_of(words, now.read)}"


class PushList:
    """When each job pushed last."""

    def __init__(self, visit: Visit) -> None:
        self._words = visit.words
        self._box = ui.element("div").classes("pushes")
        self._jobs: dict[str, tuple[Ticker, Sentence]] = {}
        with self._box:
            self._note = Sentence().classes("hint")

    def show(self, now: Now) -> None:
        """Adds a row for a job that is new, and sets the ages; of a silent Prometheus the moments that it told."""
        words, silent = self._words, now.silent("prometheus")
        if silent:
            self._note.set_text(words("push.error", error=silent.reason))
        else:
            self._note.set_text(words("push.none") if now.pushes == {} else "")
        for job, then in sorted((now.pushes or {}).items()):
            if job not in self._jobs:
                with self._box, ui.element("p").classes("facts"):
                    ui.label(job)
                    self._jobs[job] = (Ticker(limit=STALE_SECONDS, none=""), Sentence().classes("age"))
            ticker, old = self._jobs[job]
            ticker.show(None if silent else max(0.0, now.time - then))
            old.set_text(words("push.last", at=moment(then)) if silent else "")
