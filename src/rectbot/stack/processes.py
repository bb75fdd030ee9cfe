"""The process table: who holds a port, what is left of a stack, and the processes of a site."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable

import psutil

from rectbot.stack.control_socket import owner
from rectbot.stack.layout import Layout
from rectbot.stack.supervise import STACK_VARIABLE


def port_holder(port: int) -> str:
    """Who listens on a TCP port, in words: `redis-server (pid 123)`."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        connections = []
    for connection in connections:
        if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
            if connection.pid is None:
                break
            with contextlib.suppress(psutil.Error):
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "a process of another user"


def of_stack(layout: Layout) -> list[psutil.Process]:
    """Every process that a stack's supervisor started, whoever its parent is now."""
    return [process for process in psutil.process_iter() if _is_of_stack(process, layout)]


def _is_of_stack(process: psutil.Process, layout: Layout) -> bool:
    """It is the stack's owner's, and carries its mark, which any user can put on a process of their own."""
    try:
        return (
            process.pid != os.getpid()
            and process.uids().real == owner(layout.var)
            and process.environ().get(STACK_VARIABLE) == str(layout.var)
        )
    except psutil.Error:
        return False


def children(layout: Layout, pid: int, *, recursive: bool) -> list[psutil.Process]:
    """A process of the stack and its children, or all its descendants; empty when it is gone, or is none of ours.

    psutil remembers when each was started, and signals none that has got the number of another since.
    """
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=recursive)] if _is_of_stack(process, layout) else []
    except psutil.NoSuchProcess:
        return []


def is_watchdog(process: psutil.Process) -> bool:
    """What ends a bot at the end of its lease, as the kernel of a real host would end with the host."""
    with contextlib.suppress(psutil.Error):
        return any(word.endswith("/process/watchdog.py") for word in process.cmdline()[:5])
    return False


def send(processes: Iterable[psutil.Process], number: signal.Signals) -> int:
    """Sends a signal to each process that is still there; returns to how many."""
    count = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
            count += 1
    return count


def end(processes: list[psutil.Process], grace: float) -> None:
    """Ends processes: wakes the frozen, asks with SIGTERM, and kills what is left after `grace` seconds."""
    send(processes, signal.SIGCONT)
    send(processes, signal.SIGTERM)
    _, alive = psutil.wait_procs(processes, timeout=grace)
    send(alive, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=2)
