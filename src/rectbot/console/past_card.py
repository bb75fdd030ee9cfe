"""What happened, on the live page: how much of the time the bot was up, and each change of leader as a sentence."""

from __future__ import annotations

from nicegui import ui
from nicegui.element import Element

from rectbot.console.happened import WINDOWS, Day, Happened, described, percent, told, tone
from rectbot.console.live import Now
from rectbot.console.visit import Visit
from rectbot.console.widgets import Sentence, moment, packed

_MOST = 12
_TONES = ((0.9999, "good"), (0.99, "warning"), (0.0, "error"))


class Days(Element, component="static/days.js"):
    """A bar for each day."""


class PastCard:
    """Changed when something happened, and once a minute."""

    def __init__(self, visit: Visit) -> None:
        self._visit, self._words = visit, visit.words
        self._shown: Happened | None = None
        with ui.element("dl").classes("shares"):
            self._shares = {count: self._share(count) for count in WINDOWS}
        self._days = Days().props(f'label="{self._words("happened.days")}"')
        self._note = Sentence(self._words("happened.asked")).classes("hint")
        self._box = ui.element("ul").classes("moves")

    def _share(self, count: int) -> ui.label:
        with ui.element("div"):
            with ui.element("dt"):
                ui.label(
                    self._words("happened.window", hours=24)
                    if count == 1
                    else self._words("happened.window.days", days=count)
                )
            with ui.element("dd"):
                return ui.label("-")

    def show(self, now: Now) -> None:
        """As far as it is known now."""
        past = self._visit.desk.past
        found = past.look(now)
        if found is None or found is self._shown:
            return
        self._shown = found
        for count, label in self._shares.items():
            label.set_text(percent(found.windows[count]))
        self._days.props["days"] = packed([self._day(day) for day in found.days])
        self._days.update()
        self._note.set_text(self._noted(found, now, past.trouble))
        self._box.clear()
        with self._box:
            for move in found.moves[:_MOST]:
                with ui.element("li").classes("" if move.switch.planned else "unplanned"):
                    Sentence(told(self._words, move))

    def _noted(self, found: Happened, now: Now, trouble: str) -> str:
        words, said = self._words, []
        if found.known is None:
            said.append(words("happened.nothing"))
        else:
            said.append(words("happened.since", since=moment(found.known / 1000)))
        if now.snapshot is None and now.read is not None:
            said.append(words("happened.until", at=moment(now.read)))
        if not found.moves and found.known is not None:
            said.append(words("happened.none"))
        if trouble:
            said.append(words("happened.trouble", error=trouble))
        return " ".join(said)

    def _day(self, day: Day) -> dict[str, object]:
        start, end = day.span
        return {"start": start, "end": end, "tone": tone(day, _TONES), "words": described(self._words, day)}
