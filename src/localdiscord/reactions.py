"""Reactions to messages.

https://discord.com/developers/docs/resources/message#create-reaction
"""

from __future__ import annotations

import re
from typing import Any

from localdiscord.api import Call, Endpoint, page
from localdiscord.errors import ApiError, unknown
from localdiscord.limits import Bucket
from localdiscord.world import APPLICATION_ID, CHANNEL_ID, GUILD_ID, Json

GUILD_MESSAGE_REACTIONS = 1 << 10
BUCKET = Bucket("reactions", 1, 0.25)
_CUSTOM = re.compile(r"(?:a:)?(\w{2,32}):(\d{15,20})")
_MAX_EMOJIS = 20


def _emoji(call: Call) -> Json:
    """The emoji of the path: a character of Unicode, or NAME:ID of one of a server."""
    text = call["emoji"]
    if match := _CUSTOM.fullmatch(text):
        return {"id": match[2], "name": match[1]}
    if not text or len(text) > 16 or text.isascii():
        raise ApiError(400, 10014, "Unknown Emoji")
    return {"id": None, "name": text}


def _message(call: Call) -> Json:
    if call["channel_id"] != CHANNEL_ID:
        raise unknown("Channel")
    message: Json | None = call.discord.world.messages.get(call["message_id"])
    if message is None:
        raise unknown("Message")
    return message


def _who(call: Call) -> str:
    user = call.request.match_info.get("user_id", "@me")
    if user == "@me":
        return APPLICATION_ID
    if user not in call.discord.world.users:
        raise unknown("User")
    return user


def _users(call: Call, message: Json, emoji: Json) -> list[str]:
    """Who has reacted with an emoji; to be changed in place."""
    return call.discord.world.reactions.setdefault(message["id"], {}).setdefault(emoji["id"] or emoji["name"], [])


async def _add(call: Call) -> None:
    message, emoji = _message(call), _emoji(call)
    kinds = call.discord.world.reactions.get(message["id"], {})
    if len(kinds) >= _MAX_EMOJIS and (emoji["id"] or emoji["name"]) not in kinds:
        raise ApiError(400, 30010, "Maximum number of reactions reached (20)")
    users = _users(call, message, emoji)
    if APPLICATION_ID in users:
        return
    users.append(APPLICATION_ID)
    _count(message, emoji, users)
    more = {"member": call.discord.world.member(APPLICATION_ID), "message_author_id": message["author"]["id"]}
    await _tell(call, "MESSAGE_REACTION_ADD", {**_event(message, APPLICATION_ID, emoji), **more})


async def _remove(call: Call) -> None:
    message, emoji, user = _message(call), _emoji(call), _who(call)
    users = _users(call, message, emoji)
    if user not in users:
        raise unknown("Emoji")
    users.remove(user)
    _count(message, emoji, users)
    await _tell(call, "MESSAGE_REACTION_REMOVE", _event(message, user, emoji))


async def _list(call: Call) -> list[Json]:
    message, emoji = _message(call), _emoji(call)
    return [call.discord.world.users[user] for user in page(call, _users(call, message, emoji))]


async def _clear(call: Call) -> None:
    message = _message(call)
    call.discord.world.reactions.pop(message["id"], None)
    message.pop("reactions", None)
    gone = {"channel_id": CHANNEL_ID, "message_id": message["id"], "guild_id": GUILD_ID}
    await _tell(call, "MESSAGE_REACTION_REMOVE_ALL", gone)


async def _clear_emoji(call: Call) -> None:
    message, emoji = _message(call), _emoji(call)
    _users(call, message, emoji).clear()
    _count(message, emoji, [])
    gone = {"channel_id": CHANNEL_ID, "message_id": message["id"], "guild_id": GUILD_ID, "emoji": emoji}
    await _tell(call, "MESSAGE_REACTION_REMOVE_EMOJI", gone)


def _event(message: Json, user: str, emoji: Json) -> Json:
    place = {"channel_id": CHANNEL_ID, "message_id": message["id"], "guild_id": GUILD_ID}
    return {**place, "user_id": user, "emoji": emoji, "burst": False, "type": 0}


def _count(message: Json, emoji: Json, users: list[str]) -> None:
    """Enters into the message how many have reacted."""
    others = [found for found in message.get("reactions", []) if found["emoji"] != emoji]
    if users:
        details = {"burst": 0, "normal": len(users)}
        mine: Json = {"me": APPLICATION_ID in users, "me_burst": False, "burst_colors": [], "count_details": details}
        others.append({"emoji": emoji, "count": len(users), **mine})
    message["reactions"] = others


async def _tell(call: Call, event: str, data: Any) -> None:
    await call.discord.sessions.dispatch(event, data, GUILD_MESSAGE_REACTIONS)


_ALL = "/channels/{channel_id}/messages/{message_id}/reactions"
_ONE = _ALL + "/{emoji}"

ENDPOINTS = [
    Endpoint("PUT", _ONE + "/@me", _add, BUCKET),
    Endpoint("DELETE", _ONE + "/{user_id}", _remove, BUCKET),
    Endpoint("GET", _ONE, _list),
    Endpoint("DELETE", _ONE, _clear_emoji, BUCKET),
    Endpoint("DELETE", _ALL, _clear, BUCKET),
]
