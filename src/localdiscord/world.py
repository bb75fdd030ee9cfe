"""The small world that the local Discord serves: an application with its bot, a person, a server and a text channel.

Everything here is plain data in the shape of Discord's API v10 objects.
"""

from __future__ import annotations

import itertools
import time
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

DISCORD_EPOCH_MS = 1_420_070_400_000
APPLICATION_ID = "1000000000000000001"  # of the bot's user too, as at Discord
PERSON_ID = "1000000000000000002"
GUILD_ID = "1000000000000000003"  # of the @everyone role too, as at Discord
CHANNEL_ID = "1000000000000000004"

PRIVILEGED_FLAGS = 1 << 13 | 1 << 15 | 1 << 19  # presence, members and message content, for bots in few servers
ALL_PERMISSIONS = str((1 << 50) - 1)
MESSAGES_KEPT = 1000

_increments = itertools.count()


def snowflake() -> str:
    """A new id that carries the time, as Discord makes them."""
    milliseconds = int(time.time() * 1000) - DISCORD_EPOCH_MS
    return str(milliseconds << 22 | next(_increments) & 0xFFF)


def timestamp() -> str:
    return datetime.now(UTC).isoformat()


def user(id_: str, name: str, *, bot: bool = False) -> Json:
    return {
        "id": id_,
        "username": name,
        "discriminator": "0000" if bot else "0",
        "global_name": None if bot else name.title(),
        "avatar": None,
        "bot": bot,
        "system": False,
        "flags": 0,
        "public_flags": 0,
    }


class World:
    """What exists: users, the server, its channel and messages, and the registered commands."""

    def __init__(self) -> None:
        self.bot = {**user(APPLICATION_ID, "rectbot", bot=True), "verified": True, "mfa_enabled": False, "email": None}
        self.person = user(PERSON_ID, "alice")
        self.privileged_intents = True
        self.messages: OrderedDict[str, Json] = OrderedDict()
        self.reactions: dict[str, dict[str, list[str]]] = {}  # by message and emoji: who has reacted
        self._born = timestamp()
        self._commands: dict[str | None, list[Json]] = {}

    @property
    def users(self) -> dict[str, Json]:
        return {APPLICATION_ID: self.bot, PERSON_ID: self.person}

    @property
    def application(self) -> Json:
        return {
            "id": APPLICATION_ID,
            "name": "rectbot",
            "icon": None,
            "description": "",
            "summary": "",
            "type": None,
            "bot_public": False,
            "bot_require_code_grant": False,
            "verify_key": "0" * 64,
            "flags": PRIVILEGED_FLAGS if self.privileged_intents else 0,
            "owner": self.person,
            "team": None,
            "bot": self.bot,
            "interactions_endpoint_url": None,
            "redirect_uris": [],
            "rpc_origins": [],
            "tags": [],
            "approximate_guild_count": 1,
            "approximate_user_install_count": 0,
            "approximate_user_authorization_count": 0,
        }

    def member(self, user_id: str) -> Json:
        return {
            "user": self.users[user_id],
            "nick": None,
            "avatar": None,
            "roles": [],
            "joined_at": self._born,
            "premium_since": None,
            "deaf": False,
            "mute": False,
            "flags": 0,
            "pending": False,
            "permissions": ALL_PERMISSIONS,
        }

    @property
    def channel(self) -> Json:
        return {
            "id": CHANNEL_ID,
            "type": 0,
            "guild_id": GUILD_ID,
            "name": "general",
            "position": 0,
            "permission_overwrites": [],
            "topic": None,
            "nsfw": False,
            "rate_limit_per_user": 0,
            "parent_id": None,
            "flags": 0,
            "last_message_id": next(reversed(self.messages), None),
        }

    @property
    def guild(self) -> Json:
        everyone = {
            "id": GUILD_ID,
            "name": "@everyone",
            "color": 0,
            "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
            "hoist": False,
            "icon": None,
            "unicode_emoji": None,
            "position": 0,
            "permissions": ALL_PERMISSIONS,
            "managed": False,
            "mentionable": False,
            "flags": 0,
        }
        return {
            "id": GUILD_ID,
            "name": "local",
            "icon": None,
            "splash": None,
            "discovery_splash": None,
            "banner": None,
            "description": None,
            "owner_id": PERSON_ID,
            "afk_channel_id": None,
            "afk_timeout": 300,
            "verification_level": 0,
            "default_message_notifications": 0,
            "explicit_content_filter": 0,
            "roles": [everyone],
            "emojis": [],
            "stickers": [],
            "features": [],
            "mfa_level": 0,
            "application_id": None,
            "system_channel_id": CHANNEL_ID,
            "system_channel_flags": 0,
            "rules_channel_id": None,
            "public_updates_channel_id": None,
            "safety_alerts_channel_id": None,
            "vanity_url_code": None,
            "premium_tier": 0,
            "premium_subscription_count": 0,
            "premium_progress_bar_enabled": False,
            "preferred_locale": "en-US",
            "nsfw_level": 0,
            "max_members": 500_000,
            "incidents_data": None,
        }

    def guild_create(self) -> Json:
        """The server as GUILD_CREATE carries it."""
        return {
            **self.guild,
            "joined_at": self._born,
            "large": False,
            "unavailable": False,
            "member_count": len(self.users),
            "voice_states": [],
            "members": [self.member(id_) for id_ in self.users],
            "channels": [self.channel],
            "threads": [],
            "presences": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "soundboard_sounds": [],
        }

    def keep(self, message: Json) -> None:
        """Remembers a message; the oldest are forgotten."""
        self.messages[message["id"]] = message
        while len(self.messages) > MESSAGES_KEPT:
            self.forget(next(iter(self.messages)))

    def forget(self, message_id: str) -> None:
        """Forgets a message, and who has reacted to it."""
        self.messages.pop(message_id, None)
        self.reactions.pop(message_id, None)

    def commands(self, guild_id: str | None) -> list[Json]:
        """The commands registered for a server, or globally (None)."""
        return self._commands.setdefault(guild_id, [])

    def set_commands(self, guild_id: str | None, wanted: list[Json]) -> list[Json]:
        """Replaces the commands of a scope; one that keeps its name and type keeps its id."""
        ids = {(old["name"], old["type"]): old["id"] for old in self.commands(guild_id)}
        self._commands[guild_id] = [
            self._command(guild_id, command, ids.get((command["name"], command.get("type", 1)))) for command in wanted
        ]
        return self._commands[guild_id]

    def _command(self, guild_id: str | None, command: Json, id_: str | None) -> Json:
        scope = {"guild_id": guild_id} if guild_id else {}
        defaults = {
            "description": "",
            "type": 1,
            "options": [],
            "nsfw": False,
            "default_member_permissions": None,
            "dm_permission": True,
            "contexts": None,
            "integration_types": [0],
            "name_localizations": None,
            "description_localizations": None,
        }
        fixed = {"id": id_ or snowflake(), "application_id": APPLICATION_ID, "version": snowflake()}
        return {**defaults, **command, **fixed, **scope}

    def find_command(self, name: str) -> Json | None:
        """The slash command of this name, the server's own before the global one."""
        for scope in (GUILD_ID, None):
            for command in self.commands(scope):
                if command["name"] == name and command["type"] == 1:
                    return command
        return None
