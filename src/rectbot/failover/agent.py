"""`rectbot failover run -- CMD ...`: a site of the failover whose workload is any program.

Reading the settings takes 30 MiB of libraries that are of no use afterwards. So the command line reads them, and then
this process becomes another: a Python with the standard library and this package only. It is told what to do through
memory that only it can read, since that holds the password of Redis.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from rectbot.failover.config import ChildOptions, FailoverConfig
    from rectbot.settings import Settings

_PASSED_ON = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)  # what a program may mean something by


def become_agent(settings: Settings, command: Sequence[str], options: ChildOptions) -> NoReturn:
    """Runs the command under the lease, in place of this process; without failover, runs just the command.

    Raises ConfigError for wrong settings, or when there is no such program.
    """
    # The agent begins without all this.
    from shutil import which  # noqa: PLC0415

    from rectbot.errors import ConfigError  # noqa: PLC0415
    from rectbot.failover.wiring import check_url, failover_config, store_options  # noqa: PLC0415
    from rectbot.settings import wants_failover  # noqa: PLC0415

    if which(command[0]) is None:  # better told now than in the hour of need
        raise ConfigError(f"{command[0]}: no such program, or not executable: give its path or correct PATH")
    if not wants_failover(settings):
        sys.stdout.flush()
        sys.stderr.flush()
        os.execvp(command[0], list(command))  # noqa: S606
    config = failover_config(settings)
    check_url(settings)  # told now, on the command line
    become(plan(config, store_options(settings), command, contained(settings, options), pid_file=settings.bot_pid_file))


def contained(settings: Settings, options: ChildOptions) -> ChildOptions:
    """The options, and what the settings say of every program."""
    return replace(options, contain=settings.failover_containment == "auto")


def plan(
    config: FailoverConfig, store: dict[str, Any], command: Sequence[str], options: ChildOptions, **more: Any
) -> int:
    """What the agent is to do, in memory that only its heir can read; returns the descriptor, which is inherited.

    `more` may hold a `pid_file`, and a `plan` for a program that asks for one, with `ship` in it when the program ships
    the agent's log, too.
    """
    words = {
        "config": {name: getattr(config, name) for name in config.__slots__},
        "store": store,
        "command": list(command),
        "options": {name: getattr(options, name) for name in options.__slots__},
        **more,
    }
    memory = os.memfd_create("rectbot", 0)
    os.write(memory, json.dumps(words, default=str).encode())
    os.lseek(memory, 0, os.SEEK_SET)
    return memory


def become(memory: int) -> NoReturn:
    """This process becomes the agent that does what was planned."""
    arguments = agent_command(memory)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(arguments[0], arguments)  # noqa: S606


def agent_command(memory: int) -> list[str]:
    """The command line of an agent that inherits this descriptor."""
    return [sys.executable, "-I", "-S", __file__, str(memory)]


def main() -> None:
    """The agent: runs until SIGTERM or SIGINT. Its exit code is the program's."""
    sys.path.insert(0, str(Path(__file__).parents[2]))  # `-I -S` leaves it out, and all that we do not need with it
    from rectbot.failover.process.site import main as run_site  # noqa: PLC0415

    with os.fdopen(int(sys.argv[1]), "rb") as stream:
        plan = json.load(stream)
    run_site(plan)


if __name__ == "__main__":
    main()
