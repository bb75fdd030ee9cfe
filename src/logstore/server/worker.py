"""The process that answers queries: whatever they do to it, pushes and /ready go on in the server.

Started by `workers`, with a socket as its only argument's file descriptor. It has bounds on its memory from the system,
ends its queries at their deadlines by itself where it can, and is killed where it cannot.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import resource
import signal
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from foundation import logline
from logstore.logql.errors import QueryError
from logstore.logql.parse import warm_up
from logstore.querier.context import Context
from logstore.querier.scan import SEARCHING
from logstore.server import frames
from logstore.server.answers import ANSWERS, TAILS, asked
from logstore.server.frugal import frugal, give_back
from logstore.store.database import Readable
from logstore.store.index import ChunkRef
from logstore.store.limits import Limits
from logstore.store.reader import Reader

log = logging.getLogger(__name__)
_LONG = 0.2  # seconds of a query that may have left much free memory behind
_STACK = 2 << 20  # bytes of a thread's stack
_PR_SET_PDEATHSIG = 1


class _Reader(Reader):
    """Leaves it to the server to say and to count what is damaged."""

    def __init__(self, database: Readable, limits: Limits, tell: Callable[[frames.Lost], None]) -> None:
        super().__init__(database, limits)
        self._tell = tell

    def lost(self, key: str, ref: ChunkRef, error: str) -> None:
        if self.index.replace(key, [ref], []):
            self._tell(frames.Lost(key, ref, error))


class Worker:
    """Reads jobs from the server, and answers each in a thread."""

    def __init__(self, link: socket.socket) -> None:
        self._link, self._sending = link, threading.Lock()
        self._running: dict[int, Context] = {}
        self._spent = False
        start = frames.to_worker(self._read()[0])
        assert isinstance(start, frames.Start)
        self.limits = Limits.from_fields(start.limits)
        self.reader = _Reader(Readable(Path(start.folder)), self.limits, self._send)
        self._queries = ThreadPoolExecutor(self.limits.queries, "query")
        self._tails = ThreadPoolExecutor(1, "tail")  # short, so that they need not wait for queries
        for pool, threads in ((self._queries, self.limits.queries), (self._tails, 1), SEARCHING):
            _start_threads(pool, threads)

    def _read(self) -> tuple[bytes, bytes]:
        head, body = frames.LENGTHS.unpack(self._exactly(frames.LENGTHS.size))
        return self._exactly(head), self._exactly(body) if body else b""

    def _exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = self._link.recv(min(size - len(parts), 1 << 20))
            if not part:
                raise EOFError
            parts += part
        return bytes(parts)

    def _send(self, header: frames.FromWorker, body: bytes = b"") -> None:
        with self._sending:
            self._link.sendall(frames.frame(header, len(body)))
            if body:
                self._link.sendall(body)

    def serve(self) -> None:
        """Works until the server closes the socket."""
        self._send(frames.Pong())
        while True:
            head, body = self._read()
            match frames.to_worker(head):
                case frames.Changes(changes):
                    for change in changes:
                        self.reader.index.apply(change)
                case frames.Job() as job:
                    context = self._running[job.number] = Context(self.limits, seconds=job.seconds)
                    (self._tails if job.kind in TAILS else self._queries).submit(self._work, job, body, context)
                case frames.Cancel(number):
                    if (running := self._running.get(number)) is not None:
                        running.cancelled.set()
                case frames.Ping():
                    self._send(frames.Pong())

    def _work(self, job: frames.Job, form: bytes, context: Context) -> None:
        status, body = self._answer(job, form, context)
        if status == 200 and len(body) > self.limits.answer_bytes:
            status, body = 400, context.too_large().encode()
        del self._running[job.number]
        with contextlib.suppress(OSError):  # the server has gone; so will this process
            self._send(frames.Done(job.number, status, context.used, context.skip), body)
        if not self._running and time.monotonic() - context.started > _LONG:
            give_back()
        if self._spent and not self._running:
            os._exit(3)  # what else the query has left behind, nobody knows; a new process costs little

    def _answer(self, job: frames.Job, form: bytes, context: Context) -> tuple[int, bytes]:
        """Status and body; whatever goes wrong is a status and a sentence, as in Loki."""
        try:
            context.check()
            return 200, (ANSWERS | TAILS)[job.kind](self.reader, asked(job, form), context)
        except QueryError as error:
            return error.status, str(error).encode(errors="replace")
        except MemoryError:
            self._spent = True
            return 400, f"the query needs more memory than it may ({self.limits.query_memory >> 20} MB)".encode()
        except RecursionError:
            return 400, b"the query is nested too deeply"
        except sqlite3.Error as error:
            log.exception("a query failed")
            return 500, f"the log store cannot be read: {error}".encode()
        except Exception:
            log.exception("a query failed")
            return 500, b"internal server error"


def _start_threads(pool: ThreadPoolExecutor, count: int) -> None:
    """All threads of a pool, before memory has a bound: later the system may have no room for their stacks."""
    together = threading.Barrier(count)
    for begun in [pool.submit(together.wait) for _ in range(count)]:
        begun.result()


def _bound_memory(limits: Limits) -> None:
    """From now on at most so many bytes more; what wants more is told MemoryError, or ends."""
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[5])  # data and stack
        limit = pages * resource.getpagesize() + limits.query_memory
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def main() -> None:
    """Runs until the server goes away."""
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the whole group: the server decides
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    frugal()
    logline.set_up()
    threading.stack_size(_STACK)
    worker = Worker(socket.socket(fileno=int(sys.argv[1])))
    warm_up()
    _bound_memory(worker.limits)
    try:
        worker.serve()
    except (EOFError, OSError):
        os._exit(0)  # without waiting for queries that nobody waits for
    except BaseException:
        log.exception("the worker ends")
        os._exit(1)


if __name__ == "__main__":
    main()
