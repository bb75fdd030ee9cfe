"""One method per request of Loki's API. Work is done in threads; the event loop only moves bytes."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Any

import msgspec
from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import ContentEncodingError

from rectbot.logs.engine.context import Context
from rectbot.logs.logql import ast
from rectbot.logs.logql.errors import QueryError
from rectbot.logs.logql.parse import parse
from rectbot.logs.server import deletions, exposition, metadata, query, wire
from rectbot.logs.server.ingest import Ingest, RejectedError
from rectbot.logs.server.params import Params
from rectbot.logs.store.store import FullError, Store

log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_VERSION = "3.4.6"  # of the API that we speak: Grafana decides by it what to offer


def _json(data: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(data), status=status, content_type="application/json")


def _text(message: str, status: int) -> web.Response:
    return web.Response(text=message, status=status)


class Handlers:
    """Answers requests on one store."""

    def __init__(self, store: Store, pushes: Executor, queries: Executor) -> None:
        self.store, self.limits = store, store.limits
        self.ingest = Ingest(store)
        self._pushes, self._queries = pushes, queries
        self.pending = self.waiting = self.refused = self.queries = 0
        self.closing = False

    @web.middleware
    async def errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:  # noqa: PLR0911
        """Turns whatever goes wrong into Loki's kind of answer: a status and a plain sentence, never a traceback."""
        try:
            return await handler(request)
        except (QueryError, RejectedError) as error:
            return _text(str(error), error.status)
        except wire.WireError as error:
            return _text(f"{error}\n", 400)
        except FullError as error:
            return _text(f"the log store cannot write: {error}\n", 500)
        except web.HTTPRequestEntityTooLarge:
            return _text(f"request body too large: more than {self.limits.body_bytes} bytes\n", 413)
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
        size = request.content_length or 1 << 16
        if self.pending + size > self.limits.pending_bytes:
            self.refused += 1
            message = (
                f"Ingestion rate limit exceeded for user fake (limit: {self.limits.pending_bytes} bytes being written) "
                f"while attempting to ingest {size} bytes, reduce log volume or try again\n"
            )
            return web.Response(text=message, status=429, headers={"Retry-After": "1"})
        self.pending += size
        try:
            try:
                body = await request.read()
            except (ValueError, ClientPayloadError, ContentEncodingError):
                return _text("the body cannot be unpacked\n", 400)
            kind = request.content_type
            loop = asyncio.get_running_loop()
            write, complaint = await loop.run_in_executor(self._pushes, self._push, body, kind)
            if write is not None:
                await asyncio.wrap_future(write)
        finally:
            self.pending -= size
        if complaint is not None:
            return _text(f"{complaint}\n", complaint.status)
        return web.Response(status=204)

    def _push(self, body: bytes, kind: str) -> tuple[Any, RejectedError | None]:
        if kind == "application/x-protobuf":
            pushed = wire.from_protobuf(body, self.limits.body_bytes)
        elif kind in ("application/json", "application/octet-stream", "text/plain"):
            pushed = wire.from_json(body)
        else:
            raise RejectedError(f"unsupported Content-Type: {kind}")
        batches, complaint = self.ingest.batches(pushed)
        return (self.store.append(batches) if batches else None), complaint

    async def flush(self, _: web.Request) -> web.Response:
        """Everything is on the disk before a push is answered; there is nothing to do."""
        return web.Response(status=204)

    # Reading

    def readers(self) -> dict[str, Handler]:
        """The queries, by path."""
        plain: dict[str, Callable[..., Any]] = {
            "labels": metadata.labels,
            "label": metadata.labels,
            "index/stats": metadata.stats,
            "index/volume": metadata.volume,
            "index/volume_range": metadata.volume_range,
            "detected_labels": metadata.detected_labels,
        }
        found = {path: self._answering(path, run) for path, run in plain.items()}
        return found | {
            "query": self._querying(query.instant),
            "query_range": self._querying(query.ranged),
            "series": self._series,
            "label/{name}/values": self._label_values,
            "detected_fields": self._detected_fields,
            "detected_field/{name}/values": self._detected_fields,
            "format_query": self._format,
            "patterns": self._patterns,
        }

    async def _params(self, request: web.Request) -> dict[str, str]:
        params = dict(request.query)
        if request.method == "POST":
            form = await request.post()
            params |= {name: value for name, value in form.items() if isinstance(value, str)}
        return params

    async def _run(self, work: Callable[[Context], Any]) -> Any:
        """Runs a query in a thread; ends it when the client goes away. Raises QueryError."""
        if self.waiting >= self.limits.waiting_queries or self.closing:
            error = QueryError("too many outstanding requests")
            error.status = 429
            raise error
        context = Context(self.limits)
        self.waiting += 1
        self.queries += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._queries, work, context)
        finally:
            self.waiting -= 1
            context.cancelled.set()

    def _querying(self, run: Callable[[Store, Params, Context], Any]) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            params = await self._params(request)
            body = await self._run(lambda context: query.body(self.store, run, params, context))
            return web.Response(body=body, content_type="application/json")

        return handler

    def _answering(self, path: str, run: Callable[[Store, Params, Context], Any]) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            params = await self._params(request)
            data = await self._run(lambda context: run(self.store, params, context))
            if path == "index/stats":
                return _json(data)
            if path == "detected_labels":
                return _json({"detectedLabels": data})
            return _json({"status": "success", "data": data})

        return handler

    async def _series(self, request: web.Request) -> web.Response:
        params = await self._params(request)
        matches = [*request.query.getall("match[]", []), *request.query.getall("match", [])]
        if request.method == "POST":
            form = await request.post()
            matches += [str(match) for name in ("match[]", "match") for match in form.getall(name, [])]
        data = await self._run(lambda context: metadata.series(self.store, params, context, matches))
        return _json({"status": "success", "data": data})

    async def _label_values(self, request: web.Request) -> web.Response:
        params, run = await self._params(request), metadata.label_values(request.match_info["name"])
        return _json({"status": "success", "data": await self._run(lambda context: run(self.store, params, context))})

    async def _detected_fields(self, request: web.Request) -> web.Response:
        params, only = await self._params(request), request.match_info.get("name")
        data = await self._run(
            lambda context: query.again(lambda: metadata.detected_fields(self.store, params, context, only))
        )
        return _json({"fields" if only is None else "values": data, "limit": int(params.get("limit") or 1000)})

    async def _format(self, request: web.Request) -> web.Response:
        text = (await self._params(request)).get("query", "")
        await self._run(lambda _: parse(text))
        return _json({"status": "success", "data": text.strip()})

    async def _patterns(self, request: web.Request) -> web.Response:
        text = (await self._params(request)).get("query", "")
        tree = await self._run(lambda _: parse(text))
        if not isinstance(tree, ast.Logs):
            raise QueryError("only log selector is supported")
        if tree.stages:
            raise QueryError("only label matchers are supported")
        return _json({"status": "success", "data": []})  # Loki's answer, too, when its pattern ingester is off

    # Deletions

    async def delete(self, request: web.Request) -> web.Response:
        params = await self._params(request)
        await self._run(lambda _: deletions.ask(self.store, params))
        return web.Response(status=204)

    async def deletions(self, _: web.Request) -> web.Response:
        return _json(await self._run(lambda _: deletions.all_(self.store)))

    async def cancel_deletion(self, request: web.Request) -> web.Response:
        number = request.query.get("request_id", "")
        await self._run(lambda _: deletions.cancel(self.store, number))
        return web.Response(status=204)

    # State

    async def ready(self, _: web.Request) -> web.Response:
        return _text("shutting down\n", 503) if self.closing else _text("ready\n", 200)

    async def buildinfo(self, _: web.Request) -> web.Response:
        info = {"version": _VERSION, "revision": "rectbot", "branch": "rectbot", "buildUser": "", "buildDate": ""}
        return _json({**info, "goVersion": ""})

    async def metrics(self, _: web.Request) -> web.Response:
        body, kind = exposition.render(self)
        return web.Response(body=body, headers={"Content-Type": kind})
