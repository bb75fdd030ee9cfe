"""One method per request of Loki's API. Pushes are worked on in threads, queries in another process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Executor
from typing import Any

import msgspec
from aiohttp import web

from foundation.source import source
from logstore import LOKI_VERSION
from logstore.logql.errors import QueryError
from logstore.server import bodies, deletions, frames, wire
from logstore.server.bodies import BodyError
from logstore.server.budget import Budget, Rates, Share, SpentError
from logstore.server.connections import Connections
from logstore.server.ingest import Ingest, RejectedError
from logstore.server.workers import Workers
from logstore.store.store import FullError, Store

log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_BIG = 1 << 20  # bytes of a push
_FORM = "application/x-www-form-urlencoded"
QUERIES = (
    *("labels", "label", "label/{name}/values", "series", "query", "query_range", "format_query", "patterns"),
    *("index/stats", "index/volume", "index/volume_range"),
    *("detected_labels", "detected_fields", "detected_field/{name}/values"),
)
"""The paths behind /loki/api/v1/ that the worker answers."""


def _json(data: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(data), status=status, content_type="application/json")


def _text(message: str, status: int, **headers: str) -> web.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(text=message, status=status, headers=named)


class Handlers:
    """Answers requests on one store."""

    def __init__(self, store: Store, pushes: Executor, workers: Workers, connections: Connections) -> None:
        self.store, self.limits = store, store.limits
        self.ingest = Ingest(store)
        self.workers, self.connections = workers, connections
        self.pushed, self.answered = Budget(self.limits.pending_bytes), Budget(self.limits.answers_bytes)
        self.rates = Rates(self.limits.client_bytes_per_second, self.limits.client_burst_bytes)
        self._pushes, self._alone = pushes, threading.Lock()
        self.waiting = self.refused = self.queries = 0
        self.closing = False

    @web.middleware
    async def busy(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Tells apart who waits for whom, so that clients who let us wait can be told to go."""
        with self.connections.working(request):
            return await handler(request)

    @web.middleware
    async def errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:  # noqa: PLR0911
        """Turns whatever goes wrong into Loki's kind of answer: a status and a plain sentence, never a traceback."""
        try:
            return await handler(request)
        except (QueryError, RejectedError) as error:
            return _text(str(error), error.status)
        except (BodyError, wire.WireError) as error:
            return _text(f"{error}\n", error.status)
        except SpentError as error:
            return _text(f"too much is being asked at once: {error}\n", 503, Retry_After="1")
        except FullError as error:
            return _text(f"the log store cannot write: {error}\n", 500)
        except web.HTTPNotFound:
            return _text("404 page not found\n", 404)
        except web.HTTPException as error:
            return _text(f"{error.reason}\n", error.status)
        except UnicodeError:
            return _text("the request is not UTF-8\n", 400)
        except sqlite3.Error as error:
            log.exception("%s %s failed", request.method, request.path)
            return _text(f"the log store cannot be read: {error}\n", 500)
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            return _text("internal server error\n", 500)

    # Writing

    async def push(self, request: web.Request) -> web.Response:
        """Takes lines; 204 when they are on the disk."""
        client = source(request.remote or "")
        if (seconds := self.rates.wait(client)) > 0:
            limit = f"{self.limits.client_bytes_per_second:g} bytes/s"
            return self._refuse(f"limit: {limit}", f"more for {seconds:.0f} s", math.ceil(min(seconds, 60)))
        with self.pushed.share() as share:
            try:
                with self.connections.waiting(request):
                    body = await bodies.read(request, self.limits.body_bytes, share, self.limits.body_seconds)
                encoding, kind = request.headers.get("Content-Encoding", ""), request.content_type
                loop = asyncio.get_running_loop()
                work = loop.run_in_executor(self._pushes, self._push, body, encoding, kind, share)
                del body
                write, complaint = await work
                if isinstance(complaint, SpentError | BodyError | wire.WireError):
                    raise complaint
            except SpentError:
                limit = f"{self.limits.pending_bytes} bytes being written"
                return self._refuse(f"limit: {limit}", f"{request.content_length or 'more'} bytes", 1)
            finally:
                self.rates.spend(client, share.held)
            if write is not None:
                await asyncio.wrap_future(write)
        if complaint is not None:
            return _text(f"{complaint}\n", complaint.status)
        return web.Response(status=204)

    def _refuse(self, limit: str, what: str, seconds: int) -> web.Response:
        self.refused += 1
        message = (
            f"Ingestion rate limit exceeded for user fake ({limit}) "
            f"while attempting to ingest {what}, reduce log volume or try again\n"
        )
        return _text(message, 429, Retry_After=str(seconds))

    def _push(self, body: bytes, encoding: str, kind: str, share: Share) -> tuple[Any, Any]:
        """The write that goes on, and a complaint: an error is returned, since one that is raised holds the body."""
        try:
            # One after the other where they are big, or may be: decoded they are several times as big.
            with self._alone if encoding or len(body) >= _BIG else contextlib.nullcontext():
                pushed = self._unpacked(body, encoding, kind, share)
                del body
                batches, complaint = self.ingest.batches(pushed)
            return (self.store.append(batches) if batches else None), complaint
        except (SpentError, BodyError, wire.WireError, RejectedError) as error:
            error.__context__ = error.__cause__ = None
            return None, error.with_traceback(None)

    def _unpacked(self, body: bytes, encoding: str, kind: str, share: Share) -> Iterable[wire.Pushed]:
        most = self.limits.body_bytes
        body = bodies.unpack(body, encoding, most, share)
        if kind == "application/x-protobuf":
            return wire.from_protobuf(wire.unpacked(body, most, share))
        if kind in ("application/json", "application/octet-stream", "text/plain"):
            return wire.from_json(body)
        raise RejectedError(f"unsupported Content-Type: {kind}")

    async def flush(self, _: web.Request) -> web.Response:
        """Everything is on the disk before a push is answered; there is nothing to do."""
        return web.Response(status=204)

    # Reading

    async def form(self, request: web.Request, share: Share) -> bytes:
        """A form's body; other kinds of body are not looked at, as in Loki."""
        if request.method not in ("POST", "PUT") or not request.can_read_body:
            return b""
        with self.connections.waiting(request):
            body = await bodies.read(request, self.limits.form_bytes, share, self.limits.body_seconds)
        if request.content_type.startswith("multipart/"):
            raise BodyError(f"a form must be sent as {_FORM}")
        if request.content_type != _FORM:
            return b""
        encoding = request.headers.get("Content-Encoding", "")
        return bodies.unpack(body, encoding, self.limits.form_bytes, share)

    def query(self, kind: str) -> Handler:
        """The handler of a path that the worker answers."""

        async def handler(request: web.Request) -> web.StreamResponse:
            with self.answered.share() as share:
                form = await self.form(request, share)
                job = frames.Job(0, kind, request.rel_url.raw_query_string, request.match_info.get("name", ""))
                body = await self._ask(job, form)
                share.grow(2 * len(body))  # once more on its way to the socket
                return await self._send(request, web.Response(body=body, content_type="application/json"))

        return handler

    async def _ask(self, job: frames.Job, form: bytes) -> bytes:
        """Has the worker answer; ends it when the client goes away. Raises QueryError."""
        if self.waiting >= self.limits.waiting_queries or self.closing:
            error = QueryError("too many outstanding requests")
            error.status = 429
            raise error
        job.seconds = self.limits.query_seconds
        self.waiting += 1
        self.queries += 1
        try:
            return (await self.workers.ask(job, form))[1]
        finally:
            self.waiting -= 1

    async def _send(self, request: web.Request, response: web.Response) -> web.Response:
        """Sends an answer, which is held until it has been read."""
        with self.connections.waiting(request):
            await response.prepare(request)
            await response.write_eof()
        return response

    # Deletions

    async def delete(self, request: web.Request) -> web.Response:
        with self.answered.share() as share:
            form = await self.form(request, share)
            await asyncio.to_thread(deletions.ask, self.store, request.rel_url.raw_query_string, form)
        return web.Response(status=204)

    async def deletions(self, _: web.Request) -> web.Response:
        return _json(await asyncio.to_thread(deletions.all_, self.store))

    async def cancel_deletion(self, request: web.Request) -> web.Response:
        number = request.query.get("request_id", "")
        await asyncio.to_thread(deletions.cancel, self.store, number)
        return web.Response(status=204)

    # State

    async def ready(self, _: web.Request) -> web.Response:
        return _text("shutting down\n", 503) if self.closing else _text("ready\n", 200)

    async def buildinfo(self, _: web.Request) -> web.Response:
        info = {"version": LOKI_VERSION, "revision": "rectbot", "branch": "rectbot", "buildUser": "", "buildDate": ""}
        return _json({**info, "goVersion": ""})
