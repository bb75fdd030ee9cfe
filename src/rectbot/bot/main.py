"""`rectbot bot`: the bot of one site. With failover an agent runs it as a child, fresh for each lease."""

from __future__ import annotations

import sys
from typing import Any

from rectbot.bot.url import check_api_url
from rectbot.errors import ConfigError
from rectbot.failover.config import ChildOptions
from rectbot.settings import Settings, wants_failover

_NO_FAILOVER_SITE = "local"
_STOP_MS = 10_000  # STOP_TIMEOUT_MS without failover
_LOAD_S = 60.0  # in which time a cold bot must have been loaded, on a small host that is busy


def run_bot(settings: Settings) -> int:
    """Runs the bot until SIGTERM or SIGINT, with failover only while this site holds the lease; returns the exit code.

    Raises ConfigError for wrong settings, WorkloadFailed when the bot cannot run at all.
    """
    plan = bot_plan(settings)
    if wants_failover(settings):
        _become_agent(settings, plan)
    from rectbot.bot.child import make, run_alone  # noqa: PLC0415 (the agent needs nothing of Discord)
    from rectbot.failover.process.inside import run_and_leave  # noqa: PLC0415
    from rectbot.failover.process.pidfile import pid_file  # noqa: PLC0415

    workload = make(plan)
    with pid_file(settings.bot_pid_file):
        run_and_leave(lambda: run_alone(workload, plan["site"], plan["stop_s"]))


def bot_plan(settings: Settings) -> dict[str, Any]:
    """What a bot must know, and nothing that it takes libraries to read. Raises ConfigError."""
    if settings.discord_bot_token is None:
        raise ConfigError("DISCORD_BOT_TOKEN is not set: put the bot's token from the developer portal into .env")
    if settings.discord_api_url is not None:
        check_api_url(settings.discord_api_url)
    if settings.loki_url is not None:
        from rectbot.logs.client.target import target_of  # noqa: PLC0415

        target_of(settings)
    return {
        "token": settings.discord_bot_token.get_secret_value(),
        "api_url": settings.discord_api_url,
        "app": settings.bot_app,
        "login_timeout_s": settings.discord_login_timeout_sec,
        "away_limit_s": settings.discord_away_limit_sec,
        "site": settings.site_id or _NO_FAILOVER_SITE,
        "ship": settings.loki_url is not None,
        "stop_s": (settings.stop_timeout_ms or _STOP_MS) / 1000,
    }


def _become_agent(settings: Settings, plan: dict[str, Any]) -> None:
    from rectbot.failover import agent  # noqa: PLC0415
    from rectbot.failover.wiring import check_url, failover_config, store_options  # noqa: PLC0415

    config = failover_config(settings)
    check_url(settings)
    options = ChildOptions(
        restarts=0,  # a bot that ends has told why; another site may do better
        ready_timeout=settings.discord_login_timeout_sec + _LOAD_S,
        silence_limit=max(settings.discord_away_limit_sec, 15.0),
        warm=settings.bot_standby == "warm",
        tells=True,
    )
    # -P: a file of the user's that is named as a library's module must not take its place.
    command = [sys.executable, "-P", "-m", "rectbot.bot.child"]
    memory = agent.plan(
        config,
        store_options(settings),
        command,
        agent.contained(settings, options),
        plan=plan,
        pid_file=settings.bot_pid_file,
    )
    agent.become(memory)
