"""DISCORD_API_URL, checked without a library of Discord's."""

from __future__ import annotations

from urllib.parse import urlsplit

from rectbot.errors import ConfigError

API_VERSION = 10  # of discord.py; a test compares


def check_api_url(url: str) -> str:
    """The URL without a trailing slash. Raises ConfigError when it cannot be the base of a Discord API."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise ConfigError(f"DISCORD_API_URL={url} is not an http or https URL, such as http://127.0.0.1:9800/api/v10")
    if parts.path.rstrip("/").rsplit("/", 1)[-1] != f"v{API_VERSION}":
        raise ConfigError(f"DISCORD_API_URL={url} must end in /api/v{API_VERSION}, the version that discord.py speaks")
    return url.rstrip("/")
