"""Messages by hand, sent to the local Discord as a person's would be to the real one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from rectbot.alerts.webhook import AlertError, send_alert
from rectbot.errors import ConfigError
from rectbot.settings import Settings
from servers import free_port
from servers_monitoring import ROOT, Discord, local_discord


@pytest.fixture(scope="module")
def discord(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Discord]:
    with local_discord(tmp_path_factory.mktemp("discord")) as server:
        yield server


@pytest.fixture(autouse=True)
def fresh(discord: Discord) -> None:
    discord.start_afresh()


def to(url: str) -> Settings:
    return Settings(discord_alert_webhook_url=SecretStr(url))


def statuses(discord: Discord) -> list[int]:
    return [entry["status"] for entry in discord.received()]


def test_a_message_arrives_and_pings_nobody(discord: Discord) -> None:
    send_alert("@everyone the disk is full\n", to(discord.webhook_url))
    assert discord.taken() == [{"content": "@everyone the disk is full", "allowed_mentions": {"parse": []}}]
    assert statuses(discord) == [200]  # not 204: Discord was asked to answer once the message is stored


def test_a_long_text_arrives_whole_and_in_order(discord: Discord) -> None:
    lines = [f"line {number} {'.' * 40}" for number in range(150)]
    send_alert("\n".join(lines), to(discord.webhook_url))
    taken = [message["content"] for message in discord.taken()]
    assert len(taken) == 4
    assert "\n".join(taken).split("\n") == lines


def test_a_rate_limit_is_waited_for_as_long_as_discord_asks(discord: Discord) -> None:
    discord.fail(429, times=2, retry_after=0.4)
    begin = time.monotonic()
    send_alert("patience", to(discord.webhook_url))
    assert time.monotonic() - begin >= 0.8
    assert statuses(discord) == [429, 429, 200]


def test_a_server_error_is_tried_again_with_backoff(discord: Discord) -> None:
    discord.fail(502, times=2)
    begin = time.monotonic()
    send_alert("again", to(discord.webhook_url))
    assert time.monotonic() - begin >= 0.5 + 1.0
    assert statuses(discord) == [502, 502, 200]


def test_it_gives_up_in_time(discord: Discord) -> None:
    discord.fail(500, times=100)
    begin = time.monotonic()
    with pytest.raises(AlertError, match="not delivered: Discord answers 500"):
        send_alert("hopeless", to(discord.webhook_url), give_up_after=0.8)
    assert time.monotonic() - begin < 5
    assert 500 in statuses(discord)


def test_a_rate_limit_that_is_too_long_is_not_waited_for(discord: Discord) -> None:
    discord.fail(429, retry_after=3600)
    with pytest.raises(AlertError, match="rate limited by Discord, which asks to wait 3600 s"):
        send_alert("later", to(discord.webhook_url))
    assert statuses(discord) == [429]


@pytest.mark.parametrize("status", [401, 404])
def test_a_deleted_webhook_is_said_at_once_and_the_token_is_not_shown(status: int, discord: Discord) -> None:
    discord.fail(status)
    with pytest.raises(AlertError, match="the webhook was deleted or its URL is wrong") as caught:
        send_alert("anybody there?", to(discord.webhook_url))
    assert "secret-token" not in str(caught.value)
    assert str(status) in str(caught.value)
    assert statuses(discord) == [status]


def test_a_wrong_token_is_what_discord_says(discord: Discord) -> None:
    send_alert("mine", to(discord.webhook_url))
    with pytest.raises(AlertError, match=r"401 \(Invalid Webhook Token\)"):
        send_alert("not mine", to(discord.webhook_url.replace("secret-token", "guess")))


def test_nobody_there_is_an_error_without_the_token() -> None:
    port = free_port()
    with pytest.raises(
        AlertError, match=f"http://127.0.0.1:{port}/api/webhooks/1/…: not delivered: Connection refused"
    ):
        send_alert("hello", to(f"http://127.0.0.1:{port}/api/webhooks/1/secret-token"), give_up_after=0.2)


@pytest.mark.parametrize(
    "url",
    [
        "discord.com",
        "https://discord.com/",
        "https://discord.com/api/webhooks/1",
        "file:///api/webhooks/1/secret-token",
    ],
)
def test_a_wrong_url_is_a_wrong_setting_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigError, match="DISCORD_ALERT_WEBHOOK_URL is not a webhook's URL") as caught:
        send_alert("hello", to(url))
    assert "secret-token" not in str(caught.value)


def test_no_url_and_no_text_are_said(discord: Discord) -> None:
    with pytest.raises(ConfigError, match="DISCORD_ALERT_WEBHOOK_URL is not set"):
        send_alert("hello", Settings(discord_alert_webhook_url=None))
    with pytest.raises(ConfigError, match="the text is empty"):
        send_alert(" \n", to(discord.webhook_url))


def test_the_script_works_from_cron(discord: Discord, tmp_path: Path) -> None:
    """No terminal, almost no environment, another folder, through a symbolic link, text from standard input."""
    link = tmp_path / "alert"
    link.symlink_to(ROOT / "scripts" / "discord-alert.sh")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "DISCORD_ALERT_WEBHOOK_URL": discord.webhook_url}
    for arguments, text in (["from cron"], b""), (["-"], b"from a pipe"):
        done = subprocess.run(
            [link, *arguments], input=text, cwd="/", env=environment, capture_output=True, check=False
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, b"")
    assert [message["content"] for message in discord.taken()] == ["from cron", "from a pipe"]


def test_the_command_line_fails_in_one_line(discord: Discord) -> None:
    discord.fail(404)
    environment = {**os.environ, "DISCORD_ALERT_WEBHOOK_URL": discord.webhook_url}
    command = [sys.executable, "-m", "rectbot", "alert", "hello"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "secret-token" not in done.stderr
