"""`rectbot bot`: the process that runs the bot of one site."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import discord

from rectbot.bot.api import check_api_url
from rectbot.bot.workload import DiscordWorkload
from rectbot.errors import ConfigError
from rectbot.failover import run, run_unguarded, stop_on_signals
from rectbot.failover.wiring import failover_config, open_store_from_settings
from rectbot.logs.ship.wiring import handler_of
from rectbot.settings import Settings, wants_failover

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

_NO_FAILOVER_SITE = "local"


def run_bot(settings: Settings) -> int:
    """Runs the bot until SIGTERM or SIGINT, with failover only while this site holds the lease; returns the exit code.

    Raises ConfigError for wrong settings, WorkloadFailed when the bot cannot run at all.
    """
    if settings.discord_bot_token is None:
        raise ConfigError("DISCORD_BOT_TOKEN is not set: put the bot's token from the developer portal into .env")
    if settings.discord_api_url is not None:
        check_api_url(settings.discord_api_url)
    failover = wants_failover(settings)
    token = settings.discord_bot_token.get_secret_value()
    workload = DiscordWorkload(
        token,
        api_url=settings.discord_api_url,
        app=settings.bot_app,
        login_timeout_s=settings.discord_login_timeout_sec,
        away_limit_s=settings.discord_away_limit_sec,
    )
    set_up_logging(secrets=[token])
    _ship_logs(settings, secrets=[token])
    with _pid_file(settings.bot_pid_file):
        asyncio.run(_run(settings, workload, failover=failover))
    return 0


async def _run(settings: Settings, workload: DiscordWorkload, *, failover: bool) -> None:
    stop = stop_on_signals()
    if not failover:
        await run_unguarded(workload, site=settings.site_id or _NO_FAILOVER_SITE, stop=stop)
        return
    config = failover_config(settings)
    store = open_store_from_settings(settings, config)
    await run(config, store, workload, stop=stop, guardian=True)


@contextmanager
def _pid_file(path: Path | None) -> Iterator[None]:
    """Names this process to the push agent while it runs."""
    if path is None:
        yield
        return
    own = f"{os.getpid()}\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(own)
    except OSError as error:
        raise ConfigError(
            f"BOT_PID_FILE={path}: cannot be written ({error.strerror}); name a file you may write"
        ) from None
    try:
        yield
    finally:
        if path.exists() and path.read_text() == own:  # a bot that was started over us has put its own there
            path.unlink()


def set_up_logging(secrets: list[str]) -> None:
    """One line for each event to standard error: time, level, message; with secrets blanked out."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine(secrets))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("discord").setLevel(logging.WARNING)
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False  # a bot without voice needs neither


def _ship_logs(settings: Settings, secrets: list[str]) -> None:
    """Sends the log to LOKI_URL too, if that is set; `logging.shutdown` sends the rest at exit."""
    handler = handler_of(settings, "bot", settings.site_id or _NO_FAILOVER_SITE, secrets)
    if handler is not None:
        logging.getLogger().addHandler(handler)


class _OneLine(logging.Formatter):
    """An error is shown as its type, its message and the place where it was raised."""

    def __init__(self, secrets: list[str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        for secret in self._secrets:
            line = line.replace(secret, "***")
        return " | ".join(part.strip() for part in line.splitlines() if part.strip())

    def formatException(self, ei: ExcInfo) -> str:  # noqa: N802 - the name is logging's
        kind, error, trace = ei
        if kind is None:
            return ""
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""
        return f"{kind.__name__}: {error}{place}"
