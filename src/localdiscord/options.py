"""The options with which a slash command is used, checked against those that the bot registered.

https://discord.com/developers/docs/interactions/application-commands#application-command-object
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from localdiscord.errors import LocalDiscordError
from localdiscord.world import CHANNEL_ID, GUILD_ID, Json, World

SUB_COMMAND, SUB_COMMAND_GROUP, STRING, INTEGER, BOOLEAN, USER, CHANNEL, ROLE, MENTIONABLE, NUMBER = range(1, 11)
NESTED = (SUB_COMMAND, SUB_COMMAND_GROUP)
MAX_SAFE = 1 << 53
MAX_TEXT = 6000

_IDS = {USER: "a user's", CHANNEL: "a channel's", ROLE: "a role's", MENTIONABLE: "a user's or a role's"}


class WrongOptionError(LocalDiscordError):
    """An option that a person could not have chosen; its text says what fits."""


def check_options(registered: list[Json], given: list[Any], world: World, path: str = "options") -> list[Json]:
    """The options as INTERACTION_CREATE carries them. `type` may be left out. Raises WrongOptionError."""
    known = {option["name"]: option for option in registered}
    found: list[Json] = []
    for number, option in enumerate(given):
        name = option.get("name") if isinstance(option, dict) else None
        if not isinstance(name, str) or name not in known:
            has = ", ".join(known) or "none"
            raise WrongOptionError(f"{path}.{number}.name: the command has no such option; it has {has}")
        if any(name == other["name"] for other in found):
            raise WrongOptionError(f"{path}.{number}.name: {name} is there twice")
        found.append(_checked(known[name], option, world, f"{path}.{number}"))
    names = {option["name"] for option in found}
    nested = [option["name"] for option in registered if option.get("type") in NESTED]
    if nested and len(found) != 1:
        raise WrongOptionError(f"{path}: choose one of {', '.join(nested)}")
    missing = [option["name"] for option in registered if option.get("required") and option["name"] not in names]
    if missing:
        raise WrongOptionError(f"{path}: {missing[0]} is required")
    return found


def _checked(registered: Json, option: Json, world: World, path: str) -> Json:
    kind = registered["type"]
    if option.get("type", kind) != kind:
        raise WrongOptionError(f"{path}.type: {registered['name']} has type {kind}")
    if kind in NESTED:
        inner = option.get("options") or []
        if not isinstance(inner, list):
            raise WrongOptionError(f"{path}.options: write a list")
        checked = check_options(registered.get("options") or [], inner, world, f"{path}.options")
        return {"name": registered["name"], "type": kind, "options": checked}
    value = option.get("value")
    problem = _problem(registered, value, world)
    if problem:
        raise WrongOptionError(f"{path}.value: {problem}")
    return {"name": registered["name"], "type": kind, "value": value}


def _problem(registered: Json, value: Any, world: World) -> str:
    """What is wrong with a value; nothing if it fits."""
    kind = registered["type"]
    if kind in _IDS:
        known = _known_ids(world)[kind]
        return (
            "" if isinstance(value, str) and value in known else f"write {_IDS[kind]} id: {' or '.join(sorted(known))}"
        )
    check, word = _KINDS.get(kind, (lambda _: False, "nothing: the type is not known here"))
    if not check(value):
        return f"write {word}"
    choices = [choice.get("value") for choice in registered.get("choices") or []]
    if choices and value not in choices:
        return f"choose one of {', '.join(map(str, choices))}"
    size = len(value) if kind == STRING else value
    unit = "length" if kind == STRING else "value"
    least, most = registered.get(f"min_{unit}"), registered.get(f"max_{unit}")
    if (least is not None and size < least) or (most is not None and size > most):
        return (
            f"the {unit} must be between {least if least is not None else '…'} and {most if most is not None else '…'}"
        )
    return ""


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_SAFE


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_SAFE


_KINDS: dict[int, tuple[Callable[[Any], bool], str]] = {
    STRING: (lambda value: isinstance(value, str) and len(value) <= MAX_TEXT, "a text of up to 6000 characters"),
    INTEGER: (_is_integer, "a whole number between -2^53 and 2^53"),
    BOOLEAN: (lambda value: isinstance(value, bool), "true or false"),
    NUMBER: (_is_number, "a number between -2^53 and 2^53"),
}


def _known_ids(world: World) -> dict[int, set[str]]:
    users, roles = set(world.users), {GUILD_ID}
    return {USER: users, CHANNEL: {CHANNEL_ID}, ROLE: roles, MENTIONABLE: users | roles}


def resolved(options: list[Json], world: World) -> Json:
    """The objects behind the ids in checked options, as INTERACTION_CREATE carries them."""
    found: Json = {}
    for option in options:
        if option["type"] in NESTED:
            for kind, objects in resolved(option["options"], world).items():
                found.setdefault(kind, {}).update(objects)
        elif option["type"] in _IDS:
            for kind, each in _objects(option["value"], world).items():
                found.setdefault(kind, {})[option["value"]] = each
    return found


def _objects(id_: str, world: World) -> Json:
    if id_ in world.users:
        member = {key: value for key, value in world.member(id_).items() if key not in ("user", "deaf", "mute")}
        return {"users": world.users[id_], "members": member}
    if id_ == CHANNEL_ID:
        return {"channels": {**world.channel, "permissions": world.member(next(iter(world.users)))["permissions"]}}
    return {"roles": world.guild["roles"][0]}
