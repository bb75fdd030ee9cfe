"""What a test, the demo or a person asks of the local Discord, beside Discord's own API.

GET  /healthz               200 when it serves
GET  /journal               what happened, as JSON lines, oldest first; ?event=a,b&since=EPOCH_SECONDS
GET  /webhooks              what the webhooks were sent, as a JSON list; ?since=EPOCH_SECONDS
GET  /control               the misbehaviour in force
POST /control               misbehave: see localdiscord.faults.Control
POST /control/interaction   {"command": NAME, "options": [], "timeout_s": 5}: uses a slash command, returns the answer
POST /control/message       {"content": TEXT}: a person writes in the channel
"""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeVar

from aiohttp import web
from pydantic import Field, ValidationError

from localdiscord.errors import LocalDiscordError
from localdiscord.faults import Aim, Control, InvalidSession, Strict
from localdiscord.interactions import invoke
from localdiscord.messages import build_message
from localdiscord.options import WrongOptionError
from localdiscord.rest import publish
from localdiscord.state import LocalDiscord
from localdiscord.world import GUILD_ID

ModelT = TypeVar("ModelT", bound=Strict)


class UseCommand(Strict):
    """The body of POST /control/interaction."""

    command: str
    options: list[Any] = Field(default_factory=list)
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0


class WriteMessage(Strict):
    """The body of POST /control/message."""

    content: Annotated[str, Field(min_length=1, max_length=2000)]


class Refused(Exception):  # noqa: N818 - becomes an answer, as web.HTTPException does
    """A request that makes no sense; its text is the answer."""


async def _read(request: web.Request, model: type[ModelT]) -> ModelT:
    try:
        return model.model_validate_json(await request.read() or b"{}")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        known = ", ".join(model.model_fields)
        raise Refused(f"{where}: {first['msg']}; the fields are {known}") from None


def _since(request: web.Request) -> float:
    try:
        return float(request.query.get("since", "0"))
    except ValueError:
        raise Refused("since: write epoch seconds, for example since=1700000000.5") from None


@web.middleware
async def answer_refusals(request: web.Request, handler: Any) -> web.StreamResponse:
    """Turns a refusal into 400 {"error": sentence}, and an error that a person can mend into 409."""
    try:
        response: web.StreamResponse = await handler(request)
    except (Refused, WrongOptionError) as refused:
        return web.json_response({"error": str(refused)}, status=400)
    except LocalDiscordError as error:
        return web.json_response({"error": str(error)}, status=409)
    return response


class Controls:
    """The handlers of these requests."""

    def __init__(self, discord: LocalDiscord) -> None:
        self._discord = discord

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/journal", self._journal)
        app.router.add_get("/webhooks", self._webhooks)
        app.router.add_get("/control", self._show)
        app.router.add_post("/control", self._control)
        app.router.add_post("/control/interaction", self._interaction)
        app.router.add_post("/control/message", self._message)

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "sessions": len(list(self._discord.sessions.live()))})

    async def _journal(self, request: web.Request) -> web.Response:
        events = {event for event in request.query.get("event", "").split(",") if event}
        lines = [json.dumps(entry) + "\n" for entry in self._discord.journal.read(events, _since(request))]
        return web.Response(text="".join(lines), content_type="application/x-ndjson")

    async def _webhooks(self, request: web.Request) -> web.Response:
        since = _since(request)
        return web.json_response([sent for sent in self._discord.webhooks.received if sent["time"] >= since])

    async def _show(self, _: web.Request) -> web.Response:
        return web.json_response(self._discord.describe_faults())

    async def _control(self, request: web.Request) -> web.Response:
        control = await _read(request, Control)
        self._discord.journal.add("control", site=control.site, asked=control.model_dump(exclude_unset=True))
        self._discord.faults.apply(control)
        self._set_knobs(control)
        await self._act(control)
        return web.json_response(self._discord.describe_faults())

    def _set_knobs(self, control: Control) -> None:
        discord = self._discord
        if control.heartbeat_interval_ms is not None:
            discord.heartbeat_interval_ms = control.heartbeat_interval_ms
        if control.privileged_intents is not None:
            discord.world.privileged_intents = control.privileged_intents
        if control.identify_limit is not None:
            discord.restore_token(control.identify_limit)
        if control.identify_window_s is not None:
            discord.logins.window_s = control.identify_window_s
        if "webhook_fail" in control.model_fields_set:
            discord.webhooks.fail(control.webhook_fail)

    async def _act(self, control: Control) -> None:
        if control.drop_sockets:
            for connection in self._discord.sockets(control.drop_sockets.site):
                await connection.close(control.drop_sockets.code, "Dropped on request.")
        if control.reconnect:
            site = control.reconnect.site if isinstance(control.reconnect, Aim) else None
            for connection in self._discord.logged_in(site):
                await connection.reconnect()
        if control.invalid_session:
            aim = control.invalid_session if isinstance(control.invalid_session, InvalidSession) else InvalidSession()
            for connection in self._discord.logged_in(aim.site):
                await connection.invalidate(resumable=aim.resumable)

    async def _interaction(self, request: web.Request) -> web.Response:
        wanted = await _read(request, UseCommand)
        answer = await invoke(self._discord, wanted.command, wanted.options, wanted.timeout_s)
        return web.json_response(answer)

    async def _message(self, request: web.Request) -> web.Response:
        wanted = await _read(request, WriteMessage)
        message = build_message({"content": wanted.content}, self._discord.world.person, guild_id=GUILD_ID)
        await publish(self._discord, message)
        return web.json_response(message)
