"""What the agent does: it leads, and runs the program, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections import deque
from collections.abc import Coroutine
from typing import Any, NoReturn

from foundation.redaction import know
from foundation.terminal import lines
from rectbot.errors import ConfigError, RectbotError
from rectbot.failover import FailoverConfig, LeaseStore, WorkloadFailed, open_store, run
from rectbot.failover.config import ChildOptions
from rectbot.failover.process.child import ChildWorkload
from rectbot.failover.process.log import StderrHandler, log_to_stderr
from rectbot.failover.process.pidfile import pid_file

_log = logging.getLogger(__name__)
_PASSED_ON = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)  # what a program may mean something by
_UNSHIPPED = 500  # lines of the log that wait for a program that ships them


def main(plan: dict[str, Any]) -> NoReturn:
    """Runs a site as planned (see `agent.plan`), until SIGTERM or SIGINT, and ends this process."""
    given = {name: value for name, value in plan["store"].items() if isinstance(value, str)}
    know((value for name, value in given.items() if "password" in name), urls=filter(_is_url, given.values()))
    log = log_to_stderr()
    status, code = 0, 1
    try:
        status = asyncio.new_event_loop().run_until_complete(_run(plan, log))
        code = os.waitstatus_to_exitcode(status)
    except RectbotError as error:
        log.say(lines(f"rectbot: {error}"))
        code = error.exit_code
    except Exception:
        _log.exception("this is a fault of rectbot's")
    log.flush()
    if status == signal.SIGTERM:  # it ended as one does that does not care about the signal; so do we
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    # At once: a thread may still wait for a name server that does not answer. A code is as shells have it.
    os._exit(code if code >= 0 else 128 - code)


def _is_url(text: str) -> bool:
    return "://" in text


async def _run(plan: dict[str, Any], log: StderrHandler) -> int:
    """Returns the wait status of the program that ran when the site was stopped; 0 if none did."""
    config = FailoverConfig(**plan["config"] | {"priority": tuple(plan["config"]["priority"])})
    options = ChildOptions(**plan["options"] | {"stop_s": config.stop_timeout_ms / 1000})
    with pid_file(plan.get("pid_file")):
        store = open_store(config, **plan["store"])
        workload = ChildWorkload(plan["command"], options, site=config.site, plan=plan.get("plan"))
        if plan.get("plan", {}).get("ship"):
            logging.getLogger().addHandler(_Shipped(workload))
        try:
            return await _lead(config, store, workload, log, tells=options.tells)
        finally:
            await store.close()
            await workload.close()


async def _lead(
    config: FailoverConfig, store: LeaseStore, workload: ChildWorkload, log: StderrHandler, *, tells: bool
) -> int:
    stop = asyncio.Event()
    ran = False

    def on_stop(*_: object) -> None:
        nonlocal ran
        ran = ran or workload.active
        workload.stopping()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_stop)
    for number in _PASSED_ON:
        loop.add_signal_handler(number, workload.signal, number)
    workload.broken.add_done_callback(on_stop)
    try:
        await _first(workload.until_warm(), stop.wait())
        if not stop.is_set():
            await run(config, store, workload, stop=stop)
    except WorkloadFailed as error:
        if tells or not workload.status:  # it is not the program's exit code that says so
            raise
        ran = True
        log.say(lines(f"rectbot: {error}"))
    if workload.broken.done():
        raise ConfigError(workload.broken.result().reason)
    return (workload.status or 0) if ran and not tells else 0


async def _first(*acts: Coroutine[Any, Any, object]) -> None:
    tasks = [asyncio.ensure_future(act) for act in acts]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


class _Shipped(logging.Handler):
    """The program ships what we log; what is logged while there is none waits for the next."""

    def __init__(self, workload: ChildWorkload) -> None:
        super().__init__()
        self._workload = workload
        self._waiting: deque[tuple[float, int, str]] = deque(maxlen=_UNSHIPPED)

    def emit(self, record: logging.LogRecord) -> None:
        self._waiting.append((record.created, record.levelno, record.getMessage()))
        while self._waiting and self._workload.tell_log(*self._waiting[0]):
            self._waiting.popleft()
