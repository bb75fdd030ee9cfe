"""Runs the protocol with the real clock, a store and a workload."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress

from rectbot.errors import ConfigError, RectbotError
from rectbot.failover import messages, protocol
from rectbot.failover.clock import Alarm, boottime_ms
from rectbot.failover.config import FailoverConfig
from rectbot.failover.lease import Lease
from rectbot.failover.process.handle import Guardian
from rectbot.failover.protocol import State
from rectbot.failover.store import LeaseStore, StoreUnavailable
from rectbot.failover.workload import Ended, Killable, Workload

_log = logging.getLogger(__name__)
_GUARDIANS = 10  # so many may be killed in the life of a process
_EXIT_LEASE_OVER = 75  # EX_TEMPFAIL of <sysexits.h>: a supervisor may start us again


class WorkloadFailed(RectbotError):  # noqa: N818 (what happened)
    """The workload ended. Exit code 2 when it cannot run at all, as with a wrong token: another try would not help."""

    def __init__(self, reason: str, *, fatal: bool) -> None:
        super().__init__(reason)
        self.exit_code = 2 if fatal else 1


async def run(
    config: FailoverConfig,
    store: LeaseStore,
    workload: Workload,
    *,
    stop: asyncio.Event | None = None,
    guardian: bool = False,
) -> None:
    """Runs the workload whenever this site holds the lease, until `stop` is set; then releases the lease.

    With `guardian`, a helper process kills this one with SIGKILL if its workload still runs when the lease ends, so
    that no socket outlives the lease even if this process is paused. Without it a paused process only stops sending. In
    both cases the process exits with status 75 when a workload inside of it does not stop in time. A workload outside
    of it is `Killable`, and has a guardian of its own.

    Waits for a store that cannot be reached. Raises ConfigError when the configuration is wrong or the store refuses
    the login, WorkloadFailed when the workload ended for a reason that trying again cannot mend.
    """
    config.validate()
    driver = _Driver(config, store, workload, guardian)
    try:
        await driver.run(stop or asyncio.Event())
    finally:
        await driver.close()


async def run_unguarded(workload: Workload, *, site: str = "", stop: asyncio.Event | None = None) -> None:
    """Runs the workload as if there were no other site: no store, a lease without end. For FAILOVER_ENABLED=false.

    Raises WorkloadFailed when the workload ends by itself.
    """
    stop = stop or asyncio.Event()
    stopped = asyncio.ensure_future(stop.wait())
    life = asyncio.ensure_future(_live(workload, Lease(site, site, 0, None)))
    try:
        await asyncio.wait({stopped, life}, return_when=asyncio.FIRST_COMPLETED)
        if life.done():
            raise WorkloadFailed(life.result().reason, fatal=life.result().fatal)
    finally:
        stopped.cancel()
        life.cancel()
        await workload.stop(10)


def stop_on_signals() -> asyncio.Event:
    """An event for run()'s `stop`, that SIGTERM and SIGINT set. Call it in the running loop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _live(workload: Workload, lease: Lease, on_started: Callable[[], None] = lambda: None) -> Ended:
    """The life of a workload from its start to its end, if that comes by itself."""
    try:
        await workload.start(lease)
        on_started()
        return await workload.wait()
    except RectbotError as error:
        return Ended(str(error), fatal=isinstance(error, ConfigError))
    except Exception as error:
        _log.exception("the workload failed")
        return Ended(f"{type(error).__name__}: {error}")


async def _ended(pid: int) -> None:
    """Returns when a child process has ended; at once if that was so before."""
    ended = asyncio.Event()
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    loop.add_reader(handle, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


class _Driver:
    """Feeds events to the protocol and performs its actions."""

    def __init__(self, config: FailoverConfig, store: LeaseStore, workload: Workload, guardian: bool) -> None:
        self._config = config
        self._store = store
        self._workload = workload
        self._state = State()
        self._alarm = Alarm()
        self._guardian = Guardian() if guardian else None
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        self._life: asyncio.Task[None] | None = None
        self._lease: Lease | None = None
        self._started = False  # the workload's start() has returned
        self._reached_store = False

    async def run(self, stop: asyncio.Event) -> None:
        asyncio.get_running_loop().add_reader(self._alarm.fileno(), self._ring)
        self._spawn(self._await_stop(stop))
        if self._guardian is not None:
            self._spawn(self._keep(self._guardian))
        self._spawn(self._store.listen(self._look_again))
        self._feed(messages.Tick())
        await self._finished

    async def close(self) -> None:
        """Leaves nothing behind, whatever made run() end."""
        asyncio.get_running_loop().remove_reader(self._alarm.fileno())
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._state.running:  # we were cancelled, or failed: the deadline still holds
            self._end_life()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._config.stop_timeout_ms / 1000):
                    await self._workload.stop(self._config.stop_timeout_ms / 1000)
                    self._on_stopped()
        self._alarm.close()
        if self._guardian is not None:
            self._guardian.close()

    def _ring(self) -> None:
        self._alarm.clear()
        self._feed(messages.Tick())

    def _feed(self, event: messages.Event) -> None:
        if self._finished.done():
            return
        try:
            self._state, actions = protocol.step(self._config, self._state, event, boottime_ms())
            for action in actions:
                self._perform(action)
            self._alarm.set(protocol.wake_at(self._config, self._state))
        except Exception as error:
            self._finish(error)

    def _perform(self, action: messages.Action) -> None:
        match action:
            case messages.Send():
                self._spawn(self._send(action))
            case messages.Start():
                self._start(action)
            case messages.Extend():
                self._extend(action)
            case messages.StopWorkload(by=by):
                self._spawn(self._stop(by))
            case messages.Kill():
                self._kill()
            case messages.Note(text=text, warning=warning):
                _log.log(logging.WARNING if warning else logging.INFO, "%s: %s", self._config.site, text)
            case messages.Finish(error=error):
                self._finish(WorkloadFailed(error, fatal=True) if error else None)

    async def _send(self, action: messages.Send) -> None:
        self._store.serving = self._serving() if self._lease is not None else None
        try:
            reply = await self._store.request(action.request, action.give_up_at)
        except StoreUnavailable as error:
            self._feed(messages.Failed(action.id, str(error)))
        except ConfigError as error:
            if self._reached_store:  # it was right before: somebody changed the password under a leader's feet
                self._feed(messages.Failed(action.id, str(error)))
            else:
                self._finish(error)
        else:
            self._reached_store = True
            self._feed(messages.Answered(action.id, reply))
            self._look_again()

    def _look_again(self) -> None:
        """The record has changed, or we know more of it: something may be due sooner than the next heartbeat."""
        state = self._state
        if state.pending is not None or state.role not in ("candidate", "leader"):
            return
        due = self._store.due(leads=state.role == "leader")
        if due is not None and boottime_ms() + due < state.next_at:
            self._feed(messages.Changed(due))

    def _start(self, action: messages.Start) -> None:
        self._guard(action.deadline)
        self._lease = Lease(
            self._config.site,
            self._config.owner,
            action.epoch,
            action.deadline,
            logins_left=action.logins_left,
            on_login=lambda logins: self._feed(messages.LoggedIn(logins)),
        )
        self._life = self._spawn(self._run_workload(self._lease))

    def _serving(self) -> bool:
        try:
            return self._started and bool(self._workload.healthy)
        except Exception:  # it is only for show: it must not cost the lead
            _log.exception("the workload does not tell whether it is healthy")
            return False

    async def _run_workload(self, lease: Lease) -> None:
        ended = await _live(self._workload, lease, self._on_started)
        self._feed(messages.WorkloadEnded(ended.reason, ended.fatal))

    def _extend(self, action: messages.Extend) -> None:
        assert self._lease is not None
        self._guard(action.deadline)
        self._lease.extend(action.deadline, action.logins_left)

    def _guard(self, deadline: int | None) -> None:
        if isinstance(self._workload, Killable):
            self._workload.guard(deadline)
        if self._guardian is not None:
            self._guardian.set(deadline)

    async def _stop(self, by: int) -> None:
        self._end_life()
        try:
            await self._workload.stop(max(0, by - boottime_ms()) / 1000)
        except Exception:
            _log.exception("the workload did not stop; it is killed when the lease ends")
            return
        self._on_stopped()
        self._feed(messages.WorkloadStopped())

    def _end_life(self) -> None:
        if self._life is not None:
            self._life.cancel()
            self._life = None

    def _on_started(self) -> None:
        self._started = True
        self._feed(messages.Serves())

    def _on_stopped(self) -> None:
        self._started = False
        if self._lease is not None:
            self._lease.end()
            self._lease = None
        self._guard(None)

    def _kill(self) -> None:
        if not isinstance(self._workload, Killable):
            _log.critical("%s: the lease is over: this process ends, and the workload with it", self._config.site)
            os._exit(_EXIT_LEASE_OVER)
        self._workload.kill()
        self._spawn(self._stop(boottime_ms()))

    def _finish(self, error: Exception | None) -> None:
        if self._finished.done():
            return
        if error is None:
            self._finished.set_result(None)
        else:
            self._finished.set_exception(error)

    async def _keep(self, guardian: Guardian) -> None:
        """Replaces the guardian as soon as it is gone, whoever killed it: without it, a pause would break the lease."""
        for _ in range(_GUARDIANS):
            await _ended(guardian.pid)
            _log.warning("%s: the guardian process ended; another takes its place", self._config.site)
            guardian.set(self._lease.deadline if self._lease is not None else None)
        raise RectbotError(
            f"the guardian process was killed {_GUARDIANS} times: find out by whom, for example in dmesg"
        )

    async def _await_stop(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._feed(messages.Stop())

    def _spawn(self, coroutine: object) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(coroutine)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._finish(error if isinstance(error, Exception) else RuntimeError(repr(error)))
