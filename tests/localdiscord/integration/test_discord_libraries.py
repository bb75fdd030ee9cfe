"""Other people's libraries against the local Discord: each logs in, answers, sends, edits, reacts, deletes and resumes.

What they do is in tests/libraries. Each has its packages to itself (py-cord and discord.py both call theirs `discord`),
in .venv-libraries, installed by pip from a lock file with hashes, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from discord_helpers import entries, until
from localdiscord.discord import Running, local_discord

# As Discord makes them: the bot's id in base64, and two more parts. hikari reads the id from it.
TOKEN = "MTAwMDAwMDAwMDAwMDAwMDAwMQ.GLocal.this-is-not-a-real-token-0123456789"
REPOSITORY = Path(__file__).parents[3]
BOTS = REPOSITORY / "tests" / "libraries"
INSTALLED = REPOSITORY / ".venv-libraries"
OURS = "discord.py"  # it is among our own packages
LIBRARIES = {
    OURS: "discordpy_bot.py",
    "py-cord": "pycord_bot.py",
    "nextcord": "nextcord_bot.py",
    "disnake": "disnake_bot.py",
    "hikari": "hikari_bot.py",
}


def python_of(library: str) -> Path:
    """A Python that has the library. Installs it if that was not done from the present lock file."""
    if library == OURS:
        return Path(sys.executable)
    place, lock = INSTALLED / library, BOTS / f"{library}.lock"
    INSTALLED.mkdir(exist_ok=True)
    with (INSTALLED / f"{library}.busy").open("w") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        done = place / "installed.lock"
        if not done.exists() or done.read_text() != lock.read_text():
            install(place, lock)
            shutil.copy(lock, done)
    return place / "bin" / "python"


def install(place: Path, lock: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    venv.create(place, with_pip=False)
    command = [sys.executable, "-m", "pip", "--python", str(place / "bin/python"), "install", "--quiet"]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", "--require-hashes", "-r", str(lock)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        pytest.fail(f"{lock.relative_to(REPOSITORY)} cannot be installed; is a package index reachable? {last}")


@pytest.fixture
async def discord() -> AsyncIterator[Running]:
    async with local_discord(TOKEN) as running:
        yield running


@contextlib.asynccontextmanager
async def running(library: str, discord: Running) -> AsyncIterator[None]:
    """A bot that is logged in and has registered its commands."""
    environment = {
        "PATH": os.environ["PATH"],
        "DISCORD_API_URL": discord.api_url(library),
        "DISCORD_GATEWAY_URL": f"{discord.url.replace('http', 'ws')}/sites/{library}/gateway",
        "DISCORD_BOT_TOKEN": TOKEN,
    }
    python = await asyncio.to_thread(python_of, library)
    pipe = asyncio.subprocess.PIPE
    bot = await asyncio.create_subprocess_exec(
        python, BOTS / LIBRARIES[library], env=environment, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    try:
        await until(
            lambda: bool(entries(discord, "ready")) and bool(discord.discord.world.find_command("work")), within_s=60
        )
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            bot.terminate()
        said, _ = await bot.communicate()
        print(said.decode())


async def ask(discord: Running, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as http, http.post(discord.url + path, json=body) as answer:
        return answer.status, await answer.json()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_library_does_what_bots_do(library: str, discord: Running) -> None:
    async with running(library, discord):
        use = {"command": "hello", "options": [{"name": "name", "value": "you"}], "timeout_s": 30}
        status, answer = await ask(discord, "/control/interaction", use)
        assert (status, answer["content"]) == (200, "hello you")

        status, answer = await ask(discord, "/control/interaction", {"command": "work", "timeout_s": 60})
        assert (status, answer["type"], answer["content"]) == (200, 5, "done")
        await until(lambda: calls(discord)[-1][0] == "DELETE", within_s=30)
        kept = [message["content"] for message in discord.discord.world.messages.values()]
        assert kept == ["hello you", "done"], "it deletes the others"
        assert {("PUT", "@me"), ("POST", "typing"), ("DELETE", "@me")} <= set(calls(discord))

        await ask(discord, "/control", {"drop_sockets": {"code": 4000}})
        await until(lambda: bool(entries(discord, "resumed")), within_s=30)
        status, answer = await ask(discord, "/control/interaction", use)
        assert (status, answer["content"]) == (200, "hello you")
    refused = [entry for entry in entries(discord, "rest") if entry["status"] >= 400]
    assert not refused
    assert len({entry["session"] for entry in entries(discord, "session_open")}) == 1


def calls(discord: Running) -> list[tuple[str, str]]:
    return [(entry["method"], entry["path"].rpartition("/")[2]) for entry in entries(discord, "rest")]
