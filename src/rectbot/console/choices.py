"""A dashboard's variables on its page: what is chosen, what may be, and what that makes of the panels."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from nicegui import ui

from rectbot.console.panels.ask import Asker, View
from rectbot.console.visit import Choice
from rectbot.console.words import Words
from rectbot.dashboards.variables import ALL, Variable
from rectbot.errors import RectbotError

Chosen = tuple[tuple[str, tuple[str, ...] | None], ...]
_MOST_VALUES = 100
_ANY_ALL = (ALL, "All")


class Choices:
    """The variables of one page."""

    def __init__(self, known: Sequence[Variable], words: Words, on_change: Callable[[], Awaitable[None]]) -> None:
        self.known = tuple(known)
        self._words, self._on_change = words, on_change
        self._asked: dict[str, tuple[str, ...] | None] = {}
        self._offered: dict[str, list[str]] = {each.name: list(each.choices) for each in known}
        self._controls: dict[str, ui.input | Choice | ui.select] = {}
        self._setting = False

    def read(self, query: Mapping[str, list[str]]) -> None:
        """Takes over what an address says; of what it says nothing, the file's default holds."""
        self._asked = {}
        for each in self.known:
            if f"var-{each.name}" in query:
                values = tuple(value for value in query[f"var-{each.name}"] if value)[:_MOST_VALUES]
                self._asked[each.name] = None if set(values) & set(_ANY_ALL) else values or None
        for name, control in self._controls.items():
            self._set(control, self._value(self._by_name(name)))

    def query(self) -> Iterator[tuple[str, str]]:
        """For the address: what somebody has chosen."""
        for name, values in self._asked.items():
            variable = self._by_name(name)
            if values is None and variable.default is None and variable.kind != "textbox":
                continue
            yield from ((f"var-{name}", value) for value in values or ((ALL,) if variable.include_all else ("",)))

    def build(self) -> None:
        """The controls of those that are not hidden."""
        for each in self.known:
            if each.lack:
                ui.label(each.lack).classes("problem")
            elif not each.hidden and each.kind != "constant":
                self._controls[each.name] = self._control(each)

    def _control(self, variable: Variable) -> ui.input | Choice | ui.select:
        value = self._value(variable)
        if variable.kind == "textbox":
            field = ui.input(variable.label, value=(value or ("",))[0])
            field.props("dense outlined debounce=600 clearable")
            field.on_value_change(lambda event: self._choose(variable, [event.value] if event.value else []))
            return field
        if variable.multi:
            chosen = value or ()
            select = Choice(variable.label, self._offered[variable.name], chosen, self._words("logs.all"))
            select.on_value_change(lambda event: self._choose(variable, event.value))
            return select
        one = ui.select(self._options(variable), value=(value or (ALL,))[0], label=variable.label)
        one.props("dense outlined options-dense").on_value_change(lambda event: self._choose(variable, [event.value]))
        return one

    def _options(self, variable: Variable) -> dict[str, str]:
        """Of one that has one value: what may be chosen, and as what it is shown."""
        texts = dict(variable.texts)
        value = self._value(variable)
        everything = {ALL: self._words("logs.all")} if variable.include_all else {}
        values = dict.fromkeys([*self._offered[variable.name], *(value or ())])
        return everything | {each: texts.get(each, each) for each in values} or {ALL: "-"}

    async def _choose(self, variable: Variable, values: Sequence[str] | None) -> None:
        wanted = tuple(values or ())[:_MOST_VALUES]
        chosen = None if set(wanted) & set(_ANY_ALL) else wanted or None
        if self._setting or chosen == self._value(variable):
            return
        self._asked[variable.name] = chosen
        await self._on_change()

    def _set(self, control: ui.input | Choice | ui.select, value: tuple[str, ...] | None) -> None:
        self._setting = True
        try:
            if isinstance(control, Choice):
                control.offer(value or ())
                control.set_value(list(value or ()))
            elif isinstance(control, ui.input):
                control.set_value((value or ("",))[0])
            else:
                control.set_value((value or (ALL,))[0])
        finally:
            self._setting = False

    def _by_name(self, name: str) -> Variable:
        return next(each for each in self.known if each.name == name)

    def _value(self, variable: Variable) -> tuple[str, ...] | None:
        """What is chosen; None: all, or nothing yet."""
        if variable.name in self._asked:
            return self._asked[variable.name]
        offered = self._offered[variable.name]
        if variable.kind == "query" and offered:
            if variable.default and not set(variable.default) <= set(offered):
                return None if variable.include_all else (offered[0],)
            if variable.default is None and not variable.include_all:
                return (offered[0],)
        return variable.default

    @property
    def decided(self) -> bool:
        """Whether panels can be drawn before the choices are known."""
        return all(each.decided or each.name in self._asked for each in self.known)

    def chosen(self) -> Chosen:
        """For a view: where all is chosen and nothing stands for it, every choice."""
        found = {}
        for each in self.known:
            value = self._value(each)
            if value is None and each.include_all and not each.all_value and self._offered[each.name]:
                value = tuple(self._offered[each.name])
            found[each.name] = value
        return tuple(sorted(found.items()))

    def written_out(self) -> dict[str, Sequence[str]]:
        """All values of each, for what is repeated."""
        return {each.name: self._value(each) or self._offered[each.name] for each in self.known}

    async def load(self, asker: Asker, view: Callable[[], View]) -> None:
        """Asks what may be chosen, of each variable after those that it depends on."""
        waiting = [each for each in self.known if each.kind == "query"]
        while waiting:
            names = {each.name for each in waiting}
            ready = [each for each in waiting if not _named_in(each) & (names - {each.name})] or waiting[:1]
            await asyncio.gather(*(self._load(each, asker, view()) for each in ready))
            waiting = [each for each in waiting if each not in ready]

    async def _load(self, variable: Variable, asker: Asker, view: View) -> None:
        try:
            found = await asker.choices(variable, view)
        except (RectbotError, ValueError):
            return  # the panels say what is wrong with that server
        self._offered[variable.name] = found
        control = self._controls.get(variable.name)
        self._setting = True
        try:
            if isinstance(control, Choice):
                control.offer(found)
            elif isinstance(control, ui.select):
                control.set_options(self._options(variable), value=(self._value(variable) or (ALL,))[0])
        finally:
            self._setting = False


def _named_in(variable: Variable) -> set[str]:
    found = re.findall(r"\$\{?(\w+)|\[\[(\w+)", f"{variable.metric} {variable.query}")
    return {name for pair in found for name in pair if name}
