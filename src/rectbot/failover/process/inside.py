"""The life of our own programs, under a lease or without one: they wait, work, are stopped, and are gone in time."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn

from rectbot.errors import ConfigError, RectbotError
from rectbot.failover.lease import Lease
from rectbot.failover.process.child import kill_after
from rectbot.failover.process.line import SAY_S, ProgramsEnd
from rectbot.failover.workload import Ended, Workload

_log = logging.getLogger(__name__)
_LOOK_S = 1.0  # how old the news may be that it serves no longer
_LEAVE_S = 4.0  # for what is left to do once the workload is gone: logs to be shipped, the user's own handlers
Tell = Callable[[bool], None]
_STOPS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Set by SIGTERM and SIGINT. From then on the process has so many seconds to live, whatever holds it up."""

    def __init__(self, seconds: float, code: int = 0) -> None:
        self.event = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._code = code
        for number in _STOPS:
            # Not the event loop's own way: a loop that is kept busy would never hear of it.
            signal.signal(number, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        exit_within(self._seconds, self._code)
        self._loop.call_soon_threadsafe(self.event.set)


def exit_within(seconds: float, code: int) -> None:
    """Ends this process by then, whoever does not: a thread that sleeps, an exit handler that hangs."""

    def wait() -> None:
        time.sleep(seconds)
        os._exit(code)

    try:
        threading.Thread(target=wait, name="exit", daemon=True).start()
    except RuntimeError:  # no room for a thread
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)


async def live(workload: Workload, lease: Lease, stop: Stop, tell: Tell, stop_s: float) -> Ended | None:
    """From the start of a workload to its end; None when it was told to stop. Nothing of it is left running."""
    life = asyncio.ensure_future(_live(workload, lease, tell))
    stopped = asyncio.ensure_future(stop.event.wait())
    try:
        await asyncio.wait((life, stopped), return_when=asyncio.FIRST_COMPLETED)
        return life.result() if life.done() else None
    finally:
        life.cancel()
        stopped.cancel()
        await workload.stop(stop_s)


async def _live(workload: Workload, lease: Lease, tell: Tell) -> Ended:
    try:
        await workload.start(lease)
        ending = asyncio.ensure_future(workload.wait())
        try:
            await _report(workload, ending, tell)
            return ending.result()
        finally:
            ending.cancel()
    except RectbotError as error:
        return Ended(str(error), fatal=isinstance(error, ConfigError))
    except Exception as error:
        _log.exception("the workload failed")
        return Ended(f"{type(error).__name__}: {error}")


async def _report(workload: Workload, ending: asyncio.Future[Ended], tell: Tell) -> None:
    """Says whether it serves, at once when that changes, and from time to time to show that it moves."""
    said, said_at = None, 0.0
    while not ending.done():
        healthy, now = bool(workload.healthy), time.monotonic()
        if healthy is not said or now - said_at >= SAY_S:
            tell(healthy)
            said, said_at = healthy, now
        await asyncio.wait({ending}, timeout=_LOOK_S)


async def under_the_agent(make: Callable[[dict[str, object]], Workload]) -> int:
    """A program that `ChildWorkload` has started with a plan: what `make` makes of that is its workload.

    Returns the exit code. Raises RectbotError when nobody has started it so.
    """
    line = ProgramsEnd()
    line.on_log = _ship
    try:
        workload = make(await line.plan())
    except RectbotError as error:
        line.tell(ended=str(error), fatal=isinstance(error, ConfigError))
        return error.exit_code
    granted = asyncio.ensure_future(line.lease())
    await asyncio.wait((granted, line.closed), return_when=asyncio.FIRST_COMPLETED)
    if not granted.done():
        return 1
    lease, stop_s = granted.result()
    own_s = 0.9 * kill_after(stop_s)
    ended = await live(workload, lease, Stop(own_s), lambda healthy: line.tell(healthy=healthy), 0.9 * own_s)
    if ended is None:
        return 0
    line.tell(ended=ended.reason, fatal=ended.fatal)
    return 2 if ended.fatal else 1


def _ship(seconds: float, level: int, text: str) -> None:
    """A line of the agent's log: it has printed that itself, so it is for all handlers but ours that print."""
    record = logging.LogRecord("rectbot.failover", level, "", 0, "%s", (text,), None)
    record.created, record.msecs = seconds, seconds % 1 * 1000
    record.printed = True
    logging.getLogger().handle(record)


def run_and_leave(main: Callable[[], Awaitable[int]]) -> NoReturn:
    """Runs a program's main coroutine, and then ends the process, also when tasks, threads or exit handlers would not.

    asyncio.run() waits for tasks that swallow their cancellation, and for every thread of the executor.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    code = 1
    try:
        code = loop.run_until_complete(_awaited(main))
    finally:
        exit_within(_LEAVE_S, code)
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=0.2))
    sys.exit(code)


async def _awaited(main: Callable[[], Awaitable[int]]) -> int:
    return await main()
