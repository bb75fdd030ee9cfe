"""The page that shows both sites as they are, and from which the operator acts."""

from __future__ import annotations

import time
from datetime import datetime

from nicegui import ui

from rectbot.console.acts import Act, ActName
from rectbot.console.alert_list import AlertList
from rectbot.console.confirm import Confirm
from rectbot.console.live import Now
from rectbot.console.visit import Visit, button, heading
from rectbot.console.widgets import Lines, Ticker, event_lines
from rectbot.failover.events import Snapshot


class LivePage:
    """Built once, then changed in place at each look; what is not there yet has its room already."""

    def __init__(self, visit: Visit, now: Now) -> None:
        self._visit = visit
        self._words = visit.words
        self._now = now
        self._confirm = Confirm(visit, lambda: self._now.snapshot)
        self._events_shown: tuple[object, ...] = ()
        self._longest = 0.0  # seconds that a lease had left: the whole of the bar

    def build(self) -> None:
        """The elements, with what is known now; then they follow the state for as long as the page is open."""
        self._trouble = ui.label().classes("problem").props("role=alert")
        with ui.element("div").classes("columns"):
            with ui.element("section").classes("card leader"):
                self._build_leader()
            self._cards = [SiteCard(self, name) for name in self._visit.desk.config.priority]
        with ui.element("div").classes("columns"):
            with ui.element("section").classes("card"):
                heading(self._words("push.title"), 2)
                self._pushes = PushList(self._visit)
            with ui.element("section").classes("card wide"):
                heading(self._words("alert.title"), 2)
                self._alerts = AlertList(self._visit)
        with ui.element("section").classes("card"):
            heading(self._words("events.title"), 2)
            self._events = Lines(empty=self._words("events.none"), label=self._words("events.title"))
            self._events.classes("events")
        self._show(self._now)
        stop = self._visit.desk.live.watch(self._look)
        self._visit.client.on_delete(stop)

    def _build_leader(self) -> None:
        words = self._words
        heading(words("live.leader"), 2)
        self._leader = ui.label().classes("who").props("data-name=leader aria-live=polite")
        with ui.element("p").classes("facts"):
            self._epoch = ui.label()
            self._since = ui.label()
        with ui.element("p").classes("facts"):
            ui.label(words("live.lease"))
            self._lease = Ticker(direction=-1)
        self._orders = ui.label().classes("orders")
        self._logins = ui.label().classes("hint")
        if self._visit.may_act:
            self._hold = button("").classes("act").on_click(self._toggle_hold)

    def _look(self, now: Now) -> None:
        self._now = now
        with self._visit.client:
            self._show(now)

    def _show(self, now: Now) -> None:
        self._trouble.set_text(self._words("live.redis", error=now.redis_error) if now.redis_error else "")
        self._show_leader(now.snapshot)
        for card in self._cards:
            card.show(now.snapshot)
        self._pushes.show(now)
        self._alerts.show(now)
        if now.events != self._events_shown:
            self._events_shown = now.events
            self._events.show(event_lines(now.events, self._words.meaning))

    def _show_leader(self, snapshot: Snapshot | None) -> None:
        words, leader = self._words, snapshot.leader if snapshot else None
        self._leader.set_text(leader.site if leader else words("live.nobody") if snapshot else "?")
        self._leader.classes(replace="who" if leader else "who nobody")
        self._epoch.set_text(words("live.epoch", epoch=snapshot.epoch) if snapshot else "")
        self._since.set_text(f"{words('live.since')} {_moment(leader.since)}" if leader else "")
        left = leader.lease_remaining_ms / 1000 if leader else None
        self._longest = max(self._longest, left or 0.0)
        self._lease.show(left, self._longest or None)
        self._orders.set_text("\n".join(self._orders_of(snapshot)) if snapshot else "")
        self._logins.set_text(words("live.logins", left=snapshot.logins_left) if snapshot else "")
        if self._visit.may_act:
            self._hold.set_text(words("act.button.unhold" if snapshot and snapshot.hold else "act.button.hold"))
            self._hold.set_enabled(snapshot is not None)

    def _orders_of(self, snapshot: Snapshot) -> list[str]:
        words, found = self._words, []
        if snapshot.leader is None:
            found.append(words("live.nobody.hint"))
        if snapshot.suspended_ms:
            found.append(words("live.suspended", seconds=round(snapshot.suspended_ms / 1000)))
        if snapshot.hold:
            key = "live.hold" if snapshot.hold.site else "live.hold.nobody"
            found.append(words(key, site=snapshot.hold.site, why=snapshot.hold.why))
        if snapshot.switch_to:
            found.append(words("live.switching", site=snapshot.switch_to))
        if pinned := snapshot.pin_against(self._visit.desk.config.priority):
            found.append(words("live.pinned", site=pinned))
        return found

    def _toggle_hold(self) -> None:
        held = self._now.snapshot is not None and self._now.snapshot.hold is not None
        self.ask("unhold" if held else "hold")

    def ask(self, name: ActName, site: str = "") -> None:
        """Shows what the act would do, and does it when the operator agrees."""
        self._confirm.ask(Act(name, site))

    @property
    def visit(self) -> Visit:
        """Whose page it is."""
        return self._visit


class SiteCard:
    """One site: whether it is alive, what it does, and what can be ordered."""

    def __init__(self, page: LivePage, name: str) -> None:
        self._page, self._words, self._name = page, page.visit.words, name
        words = self._words
        self._drained = False
        with ui.element("section").classes("card site").props(f"data-name=site-{name}"):
            heading(name, 2)
            self._state = ui.label().classes("state")
            self._hint = ui.label().classes("hint")
            with ui.element("p").classes("facts"):
                ui.label(words("live.heartbeat"))
                self._beat = Ticker(none="-", limit=page.visit.settings_ttl())
            rank = page.visit.desk.config.priority.index(name)
            ui.label(words("live.priority", rank=rank)).classes("hint")
            if page.visit.may_act:
                with ui.element("div").classes("acts"):
                    self._switch = button(words("act.button.switch")).classes("act")
                    self._switch.on_click(lambda: page.ask("switch", name))
                    self._drain = button(words("act.button.drain")).classes("act")
                    self._drain.on_click(lambda: page.ask("undrain" if self._drained else "drain", name))

    def show(self, snapshot: Snapshot | None) -> None:
        """The site as it is now."""
        words, name = self._words, self._name
        site = snapshot.sites.get(name) if snapshot else None
        state = snapshot.state_of(name) if snapshot else "unknown"
        self._state.set_text(words(f"state.{state}", seconds=round(site.damped_s) if site else 0))
        self._state.classes(replace=f"state {state}")
        self._hint.set_text(words("state.silent.hint") if state in ("silent", "absent") else "")
        self._beat.show(site.heartbeat_age_s if site else None)
        self._drained = snapshot is not None and name in snapshot.drained
        if self._page.visit.may_act:
            self._drain.set_text(words("act.button.undrain" if self._drained else "act.button.drain"))
            for act in (self._switch, self._drain):
                act.set_enabled(snapshot is not None)


class PushList:
    """When each job pushed last."""

    def __init__(self, visit: Visit) -> None:
        self._words = visit.words
        self._box = ui.element("div").classes("pushes")
        self._jobs: dict[str, Ticker] = {}
        with self._box:
            self._note = ui.label().classes("hint")

    def show(self, now: Now) -> None:
        """Adds a row for a job that is new, and sets the ages."""
        words = self._words
        note = words("push.error", error=now.push_error) if now.push_error else "" if now.pushes else words("push.none")
        self._note.set_text(note)
        for job, then in sorted(now.pushes.items()):
            if job not in self._jobs:
                with self._box, ui.element("p").classes("facts"):
                    ui.label(job)
                    self._jobs[job] = Ticker(limit=180)
            self._jobs[job].show(max(0.0, time.time() - then))


def _moment(iso: str) -> str:
    return datetime.fromisoformat(iso).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
