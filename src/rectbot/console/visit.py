"""What a page knows of its visitor, and the frame that all pages have."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from nicegui import ui
from nicegui.client import Client

from rectbot.console.auth import Auth, Role, Session
from rectbot.console.banners import Banners
from rectbot.console.clients import make_room
from rectbot.console.desk import Desk
from rectbot.console.live import Now
from rectbot.console.looks import Looks
from rectbot.console.own import SCRIPT, STYLE
from rectbot.console.words import COOKIE, LANGUAGES, Words, choose

THEME_COOKIE = "rectbot_theme"
ALIVE_EVERY_SECONDS = 10.0
_LANGUAGE_NAMES = {"en": "English", "ja": "日本語"}
_TOGGLE_THEME = f"""() => {{
    Quasar.Dark.toggle();
    rectbotKeep('{THEME_COOKIE}', Quasar.Dark.isActive ? 'dark' : 'light');
}}"""


@dataclass(frozen=True)
class Visit:
    """One page in one browser."""

    desk: Desk
    auth: Auth
    session: Session
    words: Words
    theme: str
    client: Client
    looks: Looks = field(default_factory=Looks)

    @classmethod
    def of(cls, desk: Desk, auth: Auth, request: Request) -> Visit:
        """The guard has let the request through, so there is a session."""
        session = auth.session(request.scope["session"])
        assert session is not None
        make_room(auth)
        words = choose(request.cookies, request.headers.get("accept-language", ""))
        return cls(desk, auth, session, words, request.cookies.get(THEME_COOKIE, ""), ui.context.client)

    @property
    def dashboards(self) -> dict[str, dict[str, Any]]:
        """By uid, in the visitor's language."""
        return self.desk.dashboards[self.words.language]

    def settings_ttl(self) -> float:
        """Seconds after which a heartbeat is not fresh any more."""
        return self.desk.config.lock_ttl_ms / 1000

    def leave_when_ended(self) -> None:
        """After a logout, in whatever window, this one shows no more."""
        if not self.auth.alive(self.session):
            self.client.run_javascript("rectbotLeave()")

    @property
    def may_act(self) -> bool:
        """Whether acts are offered; each act asks again."""
        return self.session.role is Role.ADMIN


@contextmanager
def frame(visit: Visit, title: str, here: str) -> Iterator[None]:
    """The page around its content: skip link, navigation, language, theme, logout."""
    words = visit.words
    visit.client.title = f"{title} - rectbot"
    ui.add_head_html(
        f'<link rel="stylesheet" href="{STYLE}"><link rel="manifest" href="/manifest.webmanifest">'
        f'<script src="{SCRIPT}"></script>'
        f"<script>document.documentElement.lang = '{words.language}'</script>"
    )
    ui.add_body_html(_first_sight(title, words))
    ui.dark_mode({"dark": True, "light": False}.get(visit.theme))
    with ui.element("header").classes("bar"):
        ui.link(words("nav.skip"), "#content").classes("skip")
        with ui.element("nav").props(f'aria-label="{words("nav.pages")}"'):
            for name, address in _places(visit):
                link = ui.link(name, address)
                if address == here:
                    link.props("aria-current=page")
        with ui.element("div").classes("tools"):
            _tools(visit)
    if visit.auth.required:
        ui.timer(ALIVE_EVERY_SECONDS, visit.leave_when_ended)
    with ui.element("div").classes("page").props("id=content tabindex=-1"):
        heading(title, 1)
        banners = Banners(words, title, visit.desk.store_name)
        yield
    _follow(visit, banners)


def _first_sight(title: str, words: Words) -> str:
    """What stands there, in the right theme, until the toolkit has been loaded and draws the page over it."""
    return (
        f'<div id="first-sight"><div class="bar"></div><div class="page"><p class="title">{html.escape(title)}</p>'
        f'<p class="hint">{html.escape(words("panel.loading"))}</p></div></div><script>rectbotFirstSight()</script>'
    )


def _follow(visit: Visit, banners: Banners) -> None:
    def look(now: Now) -> None:
        with visit.client:
            banners.show(now, visit.looks.sent())

    if (now := visit.desk.live.fresh()) is not None:
        look(now)
    visit.client.on_delete(visit.desk.live.watch(look))


def heading(text: str, level: int) -> None:
    """A heading; screen readers find their way by them."""
    with ui.element(f"h{level}"):
        ui.label(text)


def _places(visit: Visit) -> Iterator[tuple[str, str]]:
    yield visit.words("nav.live"), "/"
    for uid, dashboard in visit.dashboards.items():
        yield dashboard["title"], f"/d/{uid}"
    yield visit.words("nav.history"), "/history"
    yield visit.words("nav.logs"), "/logs"
    yield visit.words("nav.explore"), "/explore"


def _tools(visit: Visit) -> None:
    words = visit.words
    for language in LANGUAGES:
        if language != words.language:
            choose_it = f"() => {{ rectbotKeep('{COOKIE}', '{language}'); location.reload(); }}"
            button(_LANGUAGE_NAMES[language]).on("click", js_handler=choose_it).props(f"lang={language}")
    button(words("nav.theme")).on("click", js_handler=_TOGGLE_THEME)
    if visit.session.role is Role.VIEWER:
        ui.label(words("nav.viewer")).classes("badge")
    if visit.auth.required:
        with ui.element("form").props('method="post" action="/logout"'):
            button(words("nav.logout")).props("type=submit")


def button(text: str) -> ui.button:
    """A plain button."""
    return ui.button(text, color=None).props("no-caps flat dense no-wrap").classes("plain")


class Choice(ui.select):
    """Several of some values; none means all."""

    def __init__(self, label: str, options: list[str], chosen: Sequence[str], everything: str) -> None:
        super().__init__(sorted({*options, *chosen}), label=label, multiple=True, value=list(chosen))
        self._everything = everything
        self.props("dense outlined options-dense stack-label")
        self._show()
        self.on_value_change(self._show)

    def offer(self, options: Iterable[str]) -> None:
        """Other values to choose from; what is chosen stays."""
        wanted = sorted({*options, *self.value})
        if wanted != self.options:
            self.set_options(wanted)

    def _show(self) -> None:
        self.props["display-value"] = ", ".join(self.value) or self._everything
        self.update()
