"""Incoming webhooks: checks and keeps what alerts send, so that a test or a person can read it.

Every numeric id is a webhook; the first token used with it is its token from then on.
https://discord.com/developers/docs/resources/webhook#execute-webhook
"""

from __future__ import annotations

import math

from aiohttp import web

from localdiscord.api import Call, Endpoint
from localdiscord.errors import ApiError, unknown
from localdiscord.faults import WebhookFail
from localdiscord.interactions import follow_up
from localdiscord.limits import Bucket
from localdiscord.messages import build_message, read_message
from localdiscord.world import APPLICATION_ID, CHANNEL_ID, GUILD_ID, Json, user

BUCKET = Bucket("webhook", 5, 2.0)
HEADERS_KEPT = ("Content-Type", "User-Agent")


async def _execute(call: Call) -> Json | web.Response | None:
    if call["webhook_id"] == APPLICATION_ID:
        return await follow_up(call)
    webhooks = call.discord.webhooks
    try:
        webhooks.check(call["webhook_id"], call["webhook_token"])
        failure = webhooks.next_failure()
        if failure:
            _keep(call, {"undecoded": await _undecoded(call.request)}, failure.status)
            return _failed(failure)
        body = await read_message(call.request)
    except ApiError as error:
        _keep(call, {"undecoded": await _undecoded(call.request)}, error.status)
        raise
    wait = call.request.query.get("wait", "").lower() in ("true", "1")
    _keep(call, body, 200 if wait else 204)
    author = {**user(call["webhook_id"], body.get("username") or "webhook", bot=True), "avatar": body.get("avatar_url")}
    message = build_message(body, author, webhook_id=call["webhook_id"])
    return message if wait else None


async def _undecoded(request: web.Request) -> str:
    """A body that was not understood, as far as it can be shown."""
    try:
        return (await request.read()).decode(errors="replace")
    except Exception:  # it is not what its headers say, which fails in aiohttp in many ways
        return ""


def _keep(call: Call, payload: Json, status: int) -> None:
    headers = {name: call.request.headers[name] for name in HEADERS_KEPT if name in call.request.headers}
    details: Json = {"webhook_id": call["webhook_id"], "status": status}
    call.discord.webhooks.received.append(
        {
            "time": call.at.time,
            "mono": call.at.mono,
            "site": call.site,
            **details,
            "headers": headers,
            "payload": payload,
        }
    )
    call.discord.journal.add("webhook", site=call.site, at=call.at, **details)


def _failed(failure: WebhookFail) -> web.Response:
    if failure.status == 429:
        body = {"message": "You are being rate limited.", "retry_after": failure.retry_after, "global": False}
        headers = {"Retry-After": str(math.ceil(failure.retry_after)), "X-RateLimit-Scope": "shared"}
        return web.json_response(body, status=429, headers=headers)
    return web.json_response({"message": f"{failure.status}: made to fail", "code": 0}, status=failure.status)


async def _describe(call: Call) -> Json:
    if call["webhook_id"] == APPLICATION_ID:
        raise unknown("Webhook")
    call.discord.webhooks.check(call["webhook_id"], call["webhook_token"])
    return {
        "id": call["webhook_id"],
        "type": 1,
        "name": "webhook",
        "avatar": None,
        "channel_id": CHANNEL_ID,
        "guild_id": GUILD_ID,
        "application_id": None,
        "token": call["webhook_token"],
    }


_WEBHOOK = "/webhooks/{webhook_id}/{webhook_token}"

ENDPOINTS = [
    Endpoint("POST", _WEBHOOK, _execute, BUCKET, auth=False, counts_globally=False),
    Endpoint("GET", _WEBHOOK, _describe, BUCKET, auth=False, counts_globally=False),
]
