"""The process in which the bot is: started by the agent of a site, or by `rectbot bot` itself without failover."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NoReturn

import discord

from rectbot.bot.log import OneLine
from rectbot.bot.workload import DiscordWorkload
from rectbot.failover import WorkloadFailed
from rectbot.failover.lease import Lease
from rectbot.failover.process.inside import Stop, live, run_and_leave, under_the_agent
from rectbot.failover.process.log import log_to_stderr

_STOP_MARGIN_S = 1.0  # beyond STOP_TIMEOUT_MS, until the process ends whatever holds it up


def make(plan: Mapping[str, Any]) -> DiscordWorkload:
    """The workload of a plan (`main.bot_plan`), with logging set up. Raises ConfigError."""
    set_up_logging([plan["token"]])
    workload = DiscordWorkload(
        plan["token"],
        api_url=plan["api_url"],
        app=plan["app"],
        login_timeout_s=plan["login_timeout_s"],
        away_limit_s=plan["away_limit_s"],
    )
    if plan["ship"]:
        _ship_logs(plan["site"], [plan["token"]])
    return workload


async def run_alone(workload: DiscordWorkload, site: str, stop_s: float) -> int:
    """Runs the bot as if there were no other site, until SIGTERM or SIGINT. Raises WorkloadFailed."""
    stop = Stop(stop_s + _STOP_MARGIN_S)
    ended = await live(workload, Lease(site, site, 0, None), stop, lambda _: None, stop_s)
    if ended is None:
        return 0
    raise WorkloadFailed(ended.reason, fatal=ended.fatal)


def set_up_logging(secrets: list[str]) -> None:
    """One line for each event to standard error: time, level, message; with secrets blanked out."""
    handler = log_to_stderr(OneLine(secrets))
    handler.addFilter(lambda record: not getattr(record, "printed", False))
    logging.getLogger("discord").setLevel(logging.WARNING)
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False  # a bot without voice needs neither


def _ship_logs(site: str, secrets: list[str]) -> None:
    """Sends the log to LOKI_URL too; `logging.shutdown` sends the rest at exit."""
    from rectbot.logs.ship.wiring import handler_of  # noqa: PLC0415 (only who ships pays for it)
    from rectbot.settings import load_settings  # noqa: PLC0415

    handler = handler_of(load_settings(), "bot", site, secrets)
    if handler is not None:
        logging.getLogger().addHandler(handler)


def main() -> NoReturn:
    run_and_leave(lambda: under_the_agent(make))


if __name__ == "__main__":
    main()
