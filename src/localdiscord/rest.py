"""The REST API for bots: login, gateway, commands, servers, channels and messages.

https://discord.com/developers/docs/reference
"""

from __future__ import annotations

import re
from typing import Any

from localdiscord.api import Call, Endpoint, page, query_number
from localdiscord.errors import ApiError, Form, unknown
from localdiscord.limits import Bucket
from localdiscord.messages import build_message, edit_message, read_body, read_message
from localdiscord.state import LocalDiscord
from localdiscord.world import APPLICATION_ID, CHANNEL_ID, GUILD_ID, Json

MESSAGE_BUCKET = Bucket("channel messages", 5, 5.0)
COMMAND_BUCKET = Bucket("application commands", 30, 60.0)

GUILD_MESSAGES = 1 << 9
MESSAGE_CONTENT = 1 << 15

COMMAND_NAME = re.compile(r"[-_'\w]{1,32}")
MAX_COMMANDS = 100
_BOUNDS = ("min_value", "max_value", "min_length", "max_length")


async def _me(call: Call) -> Json:
    return call.discord.world.bot


async def _application(call: Call) -> Json:
    return call.discord.world.application


async def _gateway(call: Call) -> Json:
    return {"url": call.discord.gateway_url(call.request)}


async def _gateway_bot(call: Call) -> Json:
    limit = call.discord.logins.describe()
    return {"url": call.discord.gateway_url(call.request), "shards": 1, "session_start_limit": limit}


async def _user(call: Call) -> Json:
    user = call.discord.world.users.get(call["user_id"])
    if user is None:
        raise unknown("User")
    return user


async def _my_guilds(call: Call) -> list[Json]:
    guild = call.discord.world.guild
    keys = ("id", "name", "icon", "banner", "features")
    shown = {**{key: guild[key] for key in keys}, "owner": False, "permissions": "0"}
    return [shown for _ in page(call, [GUILD_ID], default=200)]


async def _guild(call: Call) -> Json:
    _check_guild(call)
    return call.discord.world.guild


async def _guild_channels(call: Call) -> list[Json]:
    _check_guild(call)
    return [call.discord.world.channel]


async def _members(call: Call) -> list[Json]:
    _check_guild(call)
    return [call.discord.world.member(id_) for id_ in page(call, call.discord.world.users, default=1)]


async def _member(call: Call) -> Json:
    _check_guild(call)
    if call["user_id"] not in call.discord.world.users:
        raise unknown("Member")
    return call.discord.world.member(call["user_id"])


def _check_guild(call: Call) -> None:
    if call["guild_id"] != GUILD_ID:
        raise unknown("Guild")


# Commands


async def _get_commands(call: Call) -> list[Json]:
    return call.discord.world.commands(_command_scope(call))


async def _put_commands(call: Call) -> list[Json]:
    scope = _command_scope(call)
    return call.discord.world.set_commands(scope, _check_commands(await read_body(call.request)))


async def _post_command(call: Call) -> Json:
    scope = _command_scope(call)
    new = _check_commands([await read_body(call.request)])[0]
    others = [old for old in call.discord.world.commands(scope) if old["name"] != new["name"]]
    return call.discord.world.set_commands(scope, [*others, new])[-1]


async def _command(call: Call) -> Json:
    for command in call.discord.world.commands(_command_scope(call)):
        if command["id"] == call["command_id"]:
            return command
    raise unknown("application command")


async def _patch_command(call: Call) -> Json:
    command = await _command(call)
    changes = await read_body(call.request)
    if not isinstance(changes, dict):
        _check_commands(changes)
    _check_commands([{**command, **changes}])
    command.update({key: value for key, value in changes.items() if key not in ("id", "application_id", "type")})
    return command


async def _delete_command(call: Call) -> None:
    commands = call.discord.world.commands(_command_scope(call))
    found = [command for command in commands if command["id"] == call["command_id"]]
    if not found:
        raise unknown("application command")
    commands.remove(found[0])


def _command_scope(call: Call) -> str | None:
    if call["application_id"] != APPLICATION_ID:
        raise unknown("Application")
    guild_id = call.request.match_info.get("guild_id")
    if guild_id not in (None, GUILD_ID):
        raise ApiError(403, 50001, "Missing Access")
    return guild_id


def _check_commands(commands: Any) -> list[Json]:
    form = Form()
    if not isinstance(commands, list) or not all(isinstance(command, dict) for command in commands):
        form.reject("_", "LIST_TYPE_CONVERT", "Only iterables of dictionaries may be used here")
        form.finish()
    if len(commands) > MAX_COMMANDS:
        raise ApiError(400, 30032, "Maximum number of application commands reached (100)")
    for number, command in enumerate(commands):
        kind, name = command.get("type", 1), command.get("name")
        if isinstance(kind, bool) or kind not in (1, 2, 3, 4):
            form.reject(f"{number}.type", "BASE_TYPE_CHOICES", "Value must be one of (1, 2, 3, 4).")
        if not _are_options(command.get("options")):
            form.reject(f"{number}.options", "LIST_TYPE_CONVERT", "Only iterables of dictionaries may be used here")
        slash = kind == 1
        if not isinstance(name, str) or not 1 <= len(name) <= 32:
            form.reject(f"{number}.name", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 32 in length.")
        elif slash and (not COMMAND_NAME.fullmatch(name) or name != name.lower()):
            form.reject(f"{number}.name", "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")
        if slash and not 1 <= len(str(command.get("description", ""))) <= 100:
            form.reject(f"{number}.description", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.")
    form.finish()
    return list(commands)


async def _no_permissions(call: Call) -> list[Json]:
    _command_scope(call)
    return []


def _are_options(options: Any) -> bool:
    """Whether these are options, as deep as they go."""
    return options is None or (
        isinstance(options, list)
        and all(
            isinstance(each, dict)
            and isinstance(each.get("name"), str)
            and isinstance(each.get("type"), int)
            and all(isinstance(each.get(bound) or 0, int | float) for bound in _BOUNDS)
            and isinstance(each.get("choices") or [], list)
            and all(isinstance(choice, dict) for choice in each.get("choices") or [])
            and _are_options(each.get("options"))
            for each in options
        )
    )


# What there is none of; libraries ask for it at their login


async def _nothing(_: Call) -> list[Json]:
    return []


async def _guild_nothing(call: Call) -> list[Json]:
    _check_guild(call)
    return []


async def _no_items(_: Call) -> Json:
    return {"items": []}


async def _sticker_packs(_: Call) -> Json:
    return {"sticker_packs": []}


async def _roles(call: Call) -> list[Json]:
    _check_guild(call)
    roles: list[Json] = call.discord.world.guild["roles"]
    return roles


# Channels and messages


async def _channel(call: Call) -> Json:
    _check_channel(call)
    return call.discord.world.channel


async def _typing(call: Call) -> None:
    _check_channel(call)


async def _post_message(call: Call) -> Json:
    _check_channel(call)
    world = call.discord.world
    message = build_message(await read_message(call.request), world.bot, guild_id=GUILD_ID)
    await publish(call.discord, message)
    return message


async def publish(discord: LocalDiscord, message: Json) -> None:
    """Keeps a message and tells the sessions of it. Without the message content intent another's text is withheld."""
    world = discord.world
    world.keep(message)
    author = message["author"]["id"]
    full = {**message, "member": {key: value for key, value in world.member(author).items() if key != "user"}}
    hidden = (
        full if author == APPLICATION_ID else {**full, "content": "", "embeds": [], "attachments": [], "components": []}
    )
    for session in discord.sessions.subscribed(GUILD_MESSAGES):
        await session.dispatch("MESSAGE_CREATE", full if session.intents & MESSAGE_CONTENT else hidden)


async def withdraw(discord: LocalDiscord, message: Json) -> None:
    """Forgets a message and tells the sessions of it."""
    discord.world.forget(message["id"])
    gone = {"id": message["id"], "channel_id": CHANNEL_ID, "guild_id": GUILD_ID}
    await discord.sessions.dispatch("MESSAGE_DELETE", gone, GUILD_MESSAGES)


async def _messages(call: Call) -> list[Json]:
    _check_channel(call)
    limit = min(100, max(1, query_number(call, "limit", 50)))
    return _selected(call, list(call.discord.world.messages.values()), limit)


def _selected(call: Call, messages: list[Json], limit: int) -> list[Json]:
    """The newest first: before a message, after one, around one, or of all."""
    if before := query_number(call, "before"):
        messages = [message for message in messages if int(message["id"]) < before]
    if after := query_number(call, "after"):
        messages = [message for message in messages if int(message["id"]) > after][:limit]
    if around := query_number(call, "around"):
        nearest = sorted(messages, key=lambda message: abs(int(message["id"]) - around))[:limit]
        messages = [message for message in messages if message in nearest]
    return messages[::-1][:limit]


async def _message(call: Call) -> Json:
    _check_channel(call)
    message = call.discord.world.messages.get(call["message_id"])
    if message is None:
        raise unknown("Message")
    return message


async def _patch_message(call: Call) -> Json:
    message = await _own_message(call)
    edit_message(message, await read_message(call.request))
    await call.discord.sessions.dispatch("MESSAGE_UPDATE", message, GUILD_MESSAGES)
    return message


async def _delete_message(call: Call) -> None:
    await withdraw(call.discord, await _message(call))


async def _bulk_delete(call: Call) -> None:
    _check_channel(call)
    body = await read_body(call.request)
    wanted = body.get("messages") if isinstance(body, dict) else None
    if not isinstance(wanted, list) or not 2 <= len(wanted) <= 100:
        raise ApiError(400, 50016, "Provided too few or too many messages to delete. Must provide between 2 and 100.")
    ids = [str(id_) for id_ in wanted if str(id_) in call.discord.world.messages]
    for id_ in ids:
        call.discord.world.forget(id_)
    gone = {"ids": ids, "channel_id": CHANNEL_ID, "guild_id": GUILD_ID}
    await call.discord.sessions.dispatch("MESSAGE_DELETE_BULK", gone, GUILD_MESSAGES)


async def _own_message(call: Call) -> Json:
    message = await _message(call)
    if message["author"]["id"] != APPLICATION_ID:
        raise ApiError(403, 50005, "Cannot edit a message authored by another user")
    return message


def _check_channel(call: Call) -> None:
    if call["channel_id"] != CHANNEL_ID:
        raise unknown("Channel")


_COMMANDS = "/applications/{application_id}/commands"
_GUILD_COMMANDS = "/applications/{application_id}/guilds/{guild_id}/commands"
_MESSAGES = "/channels/{channel_id}/messages"

ENDPOINTS = [
    Endpoint("GET", "/users/@me", _me),
    Endpoint("GET", "/users/@me/guilds", _my_guilds),
    Endpoint("GET", "/users/{user_id}", _user),
    Endpoint("GET", "/applications/@me", _application),
    Endpoint("GET", "/oauth2/applications/@me", _application),
    Endpoint("GET", "/gateway", _gateway, auth=False),
    Endpoint("GET", "/gateway/bot", _gateway_bot),
    Endpoint("GET", "/guilds/{guild_id}", _guild),
    Endpoint("GET", "/guilds/{guild_id}/channels", _guild_channels),
    Endpoint("GET", "/guilds/{guild_id}/members", _members),
    Endpoint("GET", "/guilds/{guild_id}/members/{user_id}", _member),
    Endpoint("GET", "/guilds/{guild_id}/roles", _roles),
    Endpoint("GET", "/guilds/{guild_id}/emojis", _guild_nothing),
    Endpoint("GET", "/guilds/{guild_id}/stickers", _guild_nothing),
    Endpoint("GET", "/guilds/{guild_id}/webhooks", _guild_nothing),
    Endpoint("GET", "/guilds/{guild_id}/soundboard-sounds", _no_items),
    Endpoint("GET", "/applications/{application_id}/emojis", _no_items),
    Endpoint("GET", "/soundboard-default-sounds", _nothing),
    Endpoint("GET", "/sticker-packs", _sticker_packs),
    Endpoint("GET", "/voice/regions", _nothing),
    Endpoint("GET", _GUILD_COMMANDS + "/permissions", _no_permissions, COMMAND_BUCKET),
    *(
        Endpoint(method, path, handler, COMMAND_BUCKET)
        for base in (_COMMANDS, _GUILD_COMMANDS)
        for method, path, handler in (
            ("GET", base, _get_commands),
            ("PUT", base, _put_commands),
            ("POST", base, _post_command),
            ("GET", base + "/{command_id}", _command),
            ("PATCH", base + "/{command_id}", _patch_command),
            ("DELETE", base + "/{command_id}", _delete_command),
        )
    ),
    Endpoint("GET", "/channels/{channel_id}", _channel),
    Endpoint("POST", "/channels/{channel_id}/typing", _typing),
    Endpoint("GET", _MESSAGES, _messages),
    Endpoint("POST", _MESSAGES, _post_message, MESSAGE_BUCKET),
    Endpoint("POST", _MESSAGES + "/bulk-delete", _bulk_delete, MESSAGE_BUCKET),
    Endpoint("GET", _MESSAGES + "/{message_id}", _message),
    Endpoint("PATCH", _MESSAGES + "/{message_id}", _patch_message, MESSAGE_BUCKET),
    Endpoint("DELETE", _MESSAGES + "/{message_id}", _delete_message, MESSAGE_BUCKET),
]
