"""What every page says of the parts around it: one banner for each that does not answer, and the state in the tab."""

from __future__ import annotations

from nicegui import ui
from nicegui.element import Element

from rectbot.console.live import Now
from rectbot.console.reach import Unknown
from rectbot.console.widgets import Sentence, moment
from rectbot.console.words import Words
from rectbot.failover.events import Snapshot


class Pulse(Element, component="static/pulse.js"):
    """By its silence the page knows that it shows what is old: see static/console.js."""


class Banners:
    """In the slot that is open. `title` is the page's own, `store` what the lease's store is called."""

    def __init__(self, words: Words, title: str, store: str) -> None:
        self._words, self._title, self._store = words, title, store
        self._shown: tuple[Unknown, ...] | None = None
        self._pulse = Pulse()
        self._pulse.props["words"] = words("link.lost", since="\1")
        self._pulse.props["unknown"] = self._tab("?")
        self._box = ui.element("div").classes("banners").props("role=alert")

    def show(self, now: Now, look: str) -> None:
        """What is known now; `look` is what the page's clicks carry: see Looks."""
        mark, tone = mark_of(self._words, now)
        self._pulse.props.update({"look": look, "title": self._tab(mark), "tone": tone})
        self._pulse.update()
        if now.unknown == self._shown:
            return
        self._shown = now.unknown
        self._box.clear()
        with self._box:
            for unknown in now.unknown:
                text = explained(self._words, unknown, self._store)
                Sentence(text).classes("banner").props(f"data-part={unknown.part}")

    def _tab(self, mark: str) -> str:
        return f"{mark} · {self._title} - rectbot"


def explained(words: Words, unknown: Unknown, store: str) -> str:
    """What cannot be said without this part, since when, and as of when that is which is shown all the same."""
    what = words(f"unknown.{unknown.part}", name=store, error=unknown.reason, since=moment(unknown.since))
    kept = words("unknown.kept", at=moment(unknown.answered)) if unknown.answered else words("unknown.never")
    return f"{what} {kept}"


def mark_of(words: Words, now: Now) -> tuple[str, str]:
    """The state in one or two words, and its tone: good, warning, error or unknown."""
    if now.snapshot is None:
        return "?", "unknown"
    alerts = sum(1 for alert in now.alerts or () if not alert.silences and not alert.inhibited)
    count = f" ({alerts})" if alerts else ""
    leader = now.snapshot.leader.site if now.snapshot.leader else words("live.nobody")
    return f"{leader}{count}", _tone(now.snapshot, alerts, blind=bool(now.unknown) or now.alerts is None)


def _tone(snapshot: Snapshot, alerts: int, *, blind: bool) -> str:
    if snapshot.leader is None:
        return "error"
    serves = snapshot.state_of(snapshot.leader.site) == "leads"
    return "warning" if alerts or blind or not serves else "good"
