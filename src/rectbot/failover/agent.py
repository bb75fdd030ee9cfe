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
        _flush()
        os.execvp(command[0], list(command))  # noqa: S606
    config = failover_config(settings)
    check_url(settings)  # told now, on the command line
    arguments = agent_command(plan(config, store_options(settings), command, options))
    _flush()
    os.execv(arguments[0], arguments)  # noqa: S606


def plan(config: FailoverConfig, store: dict[str, Any], command: Sequence[str], options: ChildOptions) -> int:
    """What the agent is to do, in memory that only its heir can read; returns the descriptor, which is inherited."""
    words = {
        "config": {name: getattr(config, name) for name in config.__slots__},
        "store": store,
        "command": list(command),
        "options": {name: getattr(options, name) for name in options.__slots__},
    }
    memory = os.memfd_create("rectbot", 0)
    os.write(memory, json.dumps(words, default=str).encode())
    os.lseek(memory, 0, os.SEEK_SET)
    return memory


def agent_command(memory: int) -> list[str]:
    """The command line of an agent that inherits this descriptor."""
    return [sys.executable, "-I", "-S", __file__, str(memory)]


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def main() -> None:
    """The agent: runs until SIGTERM or SIGINT. Its exit code is the program's."""
    sys.path.insert(0, str(Path(__file__).parents[2]))  # `-I -S` leaves it out, and all that we do not need with it
    import asyncio  # noqa: PLC0415
    import logging  # noqa: PLC0415

    from rectbot.errors import RectbotError  # noqa: PLC0415

    memory = int(sys.argv[1])
    with os.fdopen(memory, "rb") as stream:
        plan = json.load(stream)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z"
    )
    try:
        status = asyncio.run(_run(plan))
    except RectbotError as error:
        sys.exit(_fail(f"rectbot: {error}", error.exit_code))
    if status == signal.SIGTERM:  # it ended as one does that does not care about the signal; so do we
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    code = os.waitstatus_to_exitcode(status)
    sys.exit(code if code >= 0 else 128 - code)  # as shells have it


def _fail(text: str, code: int) -> int:
    sys.stderr.write(f"{text}\n")
    return code


async def _run(plan: dict[str, Any]) -> int:
    """Returns the wait status of the program that ran when the site was stopped; 0 if none did."""
    import asyncio  # noqa: PLC0415

    from rectbot.failover import FailoverConfig, WorkloadFailed, open_store, run  # noqa: PLC0415
    from rectbot.failover.config import ChildOptions  # noqa: PLC0415
    from rectbot.failover.process.child import ChildWorkload  # noqa: PLC0415

    config = FailoverConfig(**plan["config"] | {"priority": tuple(plan["config"]["priority"])})
    store = open_store(config, **plan["store"])
    workload = ChildWorkload(plan["command"], ChildOptions(**plan["options"]))
    stop = asyncio.Event()
    ran = False

    def on_stop() -> None:
        nonlocal ran
        ran = ran or workload.active
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_stop)
    for number in _PASSED_ON:
        loop.add_signal_handler(number, workload.signal, number)
    try:
        await run(config, store, workload, stop=stop)
    except WorkloadFailed as error:
        if not workload.status:  # it is not the program that says so
            raise
        ran = True
        _fail(f"rectbot: {error}", 1)
    finally:
        await store.close()
        await workload.close()
    return (workload.status or 0) if ran else 0


if __name__ == "__main__":
    main()
