"""The bot's settings, pid file and log lines."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import discord.http
import pytest

from rectbot.bot.api import discord_api
from rectbot.bot.client import _duration
from rectbot.bot.log import OneLine
from rectbot.bot.main import run_bot
from rectbot.bot.url import API_VERSION, check_api_url
from rectbot.errors import ConfigError
from rectbot.failover.process.pidfile import pid_file
from rectbot.settings import Settings


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "DISCORD_BOT_TOKEN is not set"),
        ({"discord_bot_token": "t", "discord_api_url": "127.0.0.1:9800"}, "is not an http or https URL"),
        ({"discord_bot_token": "t", "discord_api_url": "http://127.0.0.1/api/v9"}, "must end in /api/v10"),
        ({"discord_bot_token": "t", "failover_enabled": True}, "SITE_ID is not set"),
        ({"discord_bot_token": "t", "failover_enabled": True, "site_id": "moon"}, "SITE_ID=moon is not in"),
        ({"discord_bot_token": "t", "bot_app": "nothing-here"}, "--app nothing-here: write module:factory"),
        (
            {"discord_bot_token": "t", "bot_pid_file": "/proc/x/bot.pid"},
            "BOT_PID_FILE=/proc/x/bot.pid: cannot be written",
        ),
    ],
)
def test_wrong_settings_start_nothing(
    settings: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    with pytest.raises(ConfigError, match=told):
        run_bot(Settings(rectbot_home=tmp_path, **settings))


def test_the_pid_file_goes_with_us_but_not_with_a_successor(tmp_path: Path) -> None:
    file = tmp_path / "run" / "bot.pid"
    with pid_file(file):
        assert int(file.read_text()) > 1
    assert not file.exists()
    with pid_file(file):
        file.write_text("1\n")
    assert file.read_text() == "1\n"


def test_a_log_line_is_one_line_without_secrets() -> None:
    formatter = OneLine(["s3cret"])
    try:
        raise ValueError("the token s3cret\nis wrong")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed with %s", ("s3cret",), info)
    line = formatter.format(record)
    message = r"\S+ ERROR failed with \*\*\* \| ValueError: the token \*\*\* \| is wrong at test_bot_main\.py:\d+"
    assert re.fullmatch(message, line)
    assert "\n" not in line


def test_another_api_is_forgotten_afterwards() -> None:
    before = discord.http.Route.BASE
    with discord_api("http://127.0.0.1:1/api/v10/"):
        assert discord.http.Route("GET", "/x").url == "http://127.0.0.1:1/api/v10/x"
        with discord_api("http://127.0.0.1:1/api/v10"):
            pass
        assert discord.http.Route.BASE == "http://127.0.0.1:1/api/v10"
        with pytest.raises(RuntimeError, match="talks to"), discord_api("http://127.0.0.1:2/api/v10"):
            pass
    assert before == discord.http.Route.BASE
    with discord_api(None):
        assert before == discord.http.Route.BASE


def test_the_api_url_may_have_a_prefix() -> None:
    assert discord.http.INTERNAL_API_VERSION == API_VERSION
    assert check_api_url("https://example.org/sites/oci/api/v10/") == "https://example.org/sites/oci/api/v10"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (61, "1 min 1 s"), (3600, "1 h"), (3661, "1 h 1 min"), (90_000, "1 d 1 h")]
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert _duration(seconds) == text
