"""Which page is where."""

from __future__ import annotations

from fastapi import Request
from nicegui import ui

from rectbot.console.auth import Auth
from rectbot.console.board import Board
from rectbot.console.desk import Desk
from rectbot.console.explore import ExplorePage
from rectbot.console.history_page import HistoryPage
from rectbot.console.live_page import LivePage
from rectbot.console.log_page import LogPage
from rectbot.console.visit import Visit, frame

PATIENCE_SECONDS = 15.0  # for a page to be built, on a machine that has much else to do


def add(desk: Desk, auth: Auth) -> None:
    """Registers the pages."""

    @ui.page("/", response_timeout=PATIENCE_SECONDS)
    async def live(request: Request) -> None:
        visit = Visit.of(desk, auth, request)
        now = await desk.live.now()
        with frame(visit, visit.words("live.title"), "/"):
            LivePage(visit, now).build()

    @ui.page("/d/{uid}", response_timeout=PATIENCE_SECONDS)
    @ui.page("/d/{uid}/{_slug}", response_timeout=PATIENCE_SECONDS)
    async def dashboard(request: Request, uid: str, _slug: str = "") -> None:
        visit = Visit.of(desk, auth, request)
        found = visit.dashboards.get(uid)
        title = found["title"] if found else visit.words("dashboard.missing")
        with frame(visit, title, f"/d/{uid}"):
            for file, reason in desk.dashboards.broken.items():
                ui.label(visit.words("dashboard.broken", file=file, reason=reason)).classes("problem")
            if found is not None:
                query = request.query_params
                Board(visit, found, {name: query.getlist(name) for name in query}).build()

    @ui.page("/explore", response_timeout=PATIENCE_SECONDS)
    async def explore(request: Request) -> None:
        visit = Visit.of(desk, auth, request)
        with frame(visit, visit.words("nav.explore"), "/explore"):
            query = request.query_params
            ExplorePage(visit, {name: query.getlist(name) for name in query}).build()

    @ui.page("/logs", response_timeout=PATIENCE_SECONDS)
    async def logs(request: Request) -> None:
        visit = Visit.of(desk, auth, request)
        with frame(visit, visit.words("nav.logs"), "/logs"):
            query = request.query_params
            LogPage(visit, {name: query.getlist(name) for name in query}).build()

    @ui.page("/history", response_timeout=PATIENCE_SECONDS)
    async def history(request: Request) -> None:
        visit = Visit.of(desk, auth, request)
        now = await desk.live.now()
        with frame(visit, visit.words("nav.history"), "/history"):
            query = request.query_params
            HistoryPage(visit, {name: query.getlist(name) for name in query}, now).build()
