"""Slash commands, used as a person would: INTERACTION_CREATE to the bot, and the endpoints through which it answers.

https://discord.com/developers/docs/interactions/receiving-and-responding
"""

from __future__ import annotations

import asyncio
from typing import Any

from localdiscord.api import Call, Endpoint
from localdiscord.errors import ApiError, LocalDiscordError, unknown
from localdiscord.kept import Interaction
from localdiscord.messages import EPHEMERAL, build_message, check_message, edit_message, read_body, read_message
from localdiscord.options import check_options, resolved
from localdiscord.rest import GUILD_MESSAGES, publish, withdraw
from localdiscord.state import LocalDiscord
from localdiscord.world import ALL_PERMISSIONS, APPLICATION_ID, CHANNEL_ID, GUILD_ID, PERSON_ID, Json

COMMAND, COMPONENT = 2, 3
PONG, MESSAGE, DEFERRED_MESSAGE, DEFERRED_UPDATE, UPDATE, AUTOCOMPLETE, MODAL = 1, 4, 5, 6, 7, 8, 9
CALLBACK_TYPES = (PONG, MESSAGE, DEFERRED_MESSAGE, DEFERRED_UPDATE, UPDATE, AUTOCOMPLETE, MODAL)
ACKNOWLEDGE_WITHIN_S = 3.0


async def invoke(discord: LocalDiscord, command: str, options: list[Json], timeout_s: float) -> Json:
    """Uses a registered slash command and waits for the bot's answer.

    Raises LocalDiscordError when the command is not registered, has no such options, or no bot is online.
    """
    registered = discord.world.find_command(command)
    if registered is None:
        raise LocalDiscordError(
            f"no slash command /{command} is registered; the bot registers its commands after its login"
        )
    checked = check_options(registered.get("options") or [], options, discord.world)
    live = [session for session in discord.sessions.live() if session.serves_guild]
    if not live:
        raise LocalDiscordError(
            "no bot is logged in, so nobody can answer; wait for a session in /journal?event=session_open"
        )
    interaction = Interaction(command)
    discord.interactions.add(interaction)
    event = _interaction_create(discord, interaction, registered, checked)
    await asyncio.gather(*(session.dispatch("INTERACTION_CREATE", event) for session in live))
    try:
        async with asyncio.timeout(timeout_s):
            await interaction.answered.wait()
    except TimeoutError:
        pass  # `answered` tells
    return interaction.describe()


def _interaction_create(discord: LocalDiscord, interaction: Interaction, command: Json, options: list[Json]) -> Json:
    scope: Json = {"guild_id": GUILD_ID} if "guild_id" in command else {}
    if objects := resolved(options, discord.world):
        scope["resolved"] = objects
    return {
        "id": interaction.id,
        "application_id": APPLICATION_ID,
        "type": COMMAND,
        "token": interaction.token,
        "version": 1,
        "data": {"id": command["id"], "name": command["name"], "type": 1, "options": options, **scope},
        "guild_id": GUILD_ID,
        "guild": {"id": GUILD_ID, "locale": "en-US", "features": []},
        "channel_id": CHANNEL_ID,
        "channel": {**discord.world.channel, "permissions": ALL_PERMISSIONS},
        "member": discord.world.member(PERSON_ID),
        "locale": "en-US",
        "guild_locale": "en-US",
        "app_permissions": ALL_PERMISSIONS,
        "entitlements": [],
        "authorizing_integration_owners": {"0": GUILD_ID},
        "context": 0,
        "attachment_size_limit": 10 * 1024 * 1024,
    }


# How the bot answers


async def _callback(call: Call) -> Json | None:
    interaction = call.discord.interactions.find(call["interaction_token"])
    if interaction is None or interaction.id != call["interaction_id"]:
        raise unknown("Interaction")
    if interaction.type is not None:
        raise ApiError(400, 40060, "Interaction has already been acknowledged.")
    if interaction.age_s > ACKNOWLEDGE_WITHIN_S:
        raise unknown("Interaction")
    body = await read_body(call.request)
    kind, data = (body.get("type"), body.get("data") or {}) if isinstance(body, dict) else (None, {})
    if kind not in CALLBACK_TYPES or not isinstance(data, dict):
        raise ApiError(400, 50035, "Invalid Form Body", {"type": {"_errors": [{"code": "BASE_TYPE_CHOICES"}]}})
    if kind == MESSAGE:
        check_message({**data, "_files": body.get("_files", [])})
    interaction.type, interaction.data, interaction.site = kind, data, call.site
    interaction.acknowledged_s = interaction.age_s
    if kind in (MESSAGE, DEFERRED_MESSAGE):
        interaction.original = await _send(call.discord, interaction, data)
    if kind not in (DEFERRED_MESSAGE, DEFERRED_UPDATE):
        interaction.answered.set()
    wanted = call.request.query.get("with_response", "").lower() in ("true", "1")
    return _callback_response(interaction) if wanted else None


async def _send(discord: LocalDiscord, interaction: Interaction, data: Json) -> Json:
    """A message in the channel, or one that only the person sees."""
    used = {"id": interaction.id, "type": COMMAND, "name": interaction.command, "user": discord.world.person}
    extra: Json = {"interaction": used, "application_id": APPLICATION_ID, "webhook_id": APPLICATION_ID}
    message = {**build_message(data, discord.world.bot, guild_id=GUILD_ID, **extra), "type": 20}
    if not message["flags"] & EPHEMERAL:
        await publish(discord, message)
    return message


async def _edit(discord: LocalDiscord, message: Json, body: Json) -> Json:
    edit_message(message, body)
    if message["id"] in discord.world.messages:
        await discord.sessions.dispatch("MESSAGE_UPDATE", message, GUILD_MESSAGES)
    return message


async def _delete(discord: LocalDiscord, message: Json) -> None:
    if message["id"] in discord.world.messages:
        await withdraw(discord, message)


def _callback_response(interaction: Interaction) -> Json:
    original, loading = interaction.original, interaction.type == DEFERRED_MESSAGE
    described: Json = {"id": interaction.id, "type": COMMAND, "response_message_loading": loading}
    if original is None:
        return {"interaction": described}
    described["response_message_id"] = original["id"]
    described["response_message_ephemeral"] = bool(original["flags"] & EPHEMERAL)
    return {"interaction": described, "resource": {"type": interaction.type, "message": original}}


async def follow_up(call: Call) -> Json:
    """A message after the first answer; after a deferral it becomes the first answer."""
    interaction = _find(call)
    body = await read_message(call.request)
    if interaction.type == DEFERRED_MESSAGE and not interaction.answered.is_set() and interaction.original:
        await _edit(call.discord, interaction.original, body)
        interaction.answered.set()
        return interaction.original
    message = await _send(call.discord, interaction, body)
    interaction.followups.append(message)
    return message


async def _get_original(call: Call) -> Json:
    return _original(_find(call))


async def _patch_original(call: Call) -> Json:
    interaction = _find(call)
    message = await _edit(call.discord, _original(interaction), await read_message(call.request))
    interaction.answered.set()
    return message


async def _delete_original(call: Call) -> None:
    interaction = _find(call)
    await _delete(call.discord, _original(interaction))
    interaction.original = None


async def _get_followup(call: Call) -> Json:
    return _followup(call)


async def _patch_followup(call: Call) -> Json:
    return await _edit(call.discord, _followup(call), await read_message(call.request))


async def _delete_followup(call: Call) -> None:
    interaction, message = _find(call), _followup(call)
    await _delete(call.discord, message)
    if message is interaction.original:
        interaction.original = None
    else:
        interaction.followups.remove(message)


def _followup(call: Call) -> Json:
    interaction = _find(call)
    messages = [*([interaction.original] if interaction.original else []), *interaction.followups]
    for message in messages:
        if message["id"] == call["message_id"]:
            return message
    raise unknown("Message")


def _find(call: Call) -> Interaction:
    interaction = call.discord.interactions.find(call["webhook_token"])
    if call["webhook_id"] != APPLICATION_ID or interaction is None:
        raise unknown("Webhook")
    return interaction


def _original(interaction: Interaction) -> Json:
    if interaction.original is None:
        raise unknown("Message")
    return interaction.original


_CALLBACK = "/interactions/{interaction_id}/{interaction_token}/callback"
_FOLLOWUP = "/webhooks/{webhook_id}/{webhook_token}/messages/{message_id}"
_ORIGINAL = "/webhooks/{webhook_id}/{webhook_token}/messages/@original"


def _endpoint(method: str, path: str, handler: Any) -> Endpoint:
    return Endpoint(method, path, handler, auth=False, counts_globally=False)


ENDPOINTS = [
    Endpoint("POST", _CALLBACK, _callback, bucket=None, auth=False, counts_globally=False),
    _endpoint("GET", _ORIGINAL, _get_original),
    _endpoint("PATCH", _ORIGINAL, _patch_original),
    _endpoint("DELETE", _ORIGINAL, _delete_original),
    _endpoint("GET", _FOLLOWUP, _get_followup),
    _endpoint("PATCH", _FOLLOWUP, _patch_followup),
    _endpoint("DELETE", _FOLLOWUP, _delete_followup),
]
