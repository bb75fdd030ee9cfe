"""The questions of a tail: what there was, and what of new chunks passes its pipeline. They run in the worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from logstore.logql import ast
from logstore.logql.errors import QueryError
from logstore.logql.parse import parse
from logstore.pipeline.build import build
from logstore.pipeline.entry import Entry
from logstore.pipeline.labels import stream_test
from logstore.querier.context import Context
from logstore.querier.logs import by_stream, entry_at, select
from logstore.querier.scan import Scanned
from logstore.server import params as read
from logstore.server.frames import Begun, Job, News
from logstore.server.params import Params
from logstore.server.query import again
from logstore.store.index import ChunkRef, Stream, labels_of
from logstore.store.reader import MovedError, Reader

_ENOUGH = 128 << 10  # bytes of lines for one message: what a slow client can make the server hold


def _tree(params: Params) -> ast.Logs:
    tree = parse(params.get("query", ""))
    if not isinstance(tree, ast.Logs):
        raise QueryError("unsupported query expression: tailing needs a log query")
    return tree


def begin(reader: Reader, params: Params, context: Context) -> bytes:
    """Checks the request, and answers with what there is since `start`."""
    tree = _tree(params)
    build(tree.stages, context.check)  # what is no pattern is an error even where no line is looked at
    start, _ = read.time_range(params)
    limit = read.entry_limit(params, context.limits)
    delay = read.integer(params, "delay_for", 0)
    if not 0 <= delay <= 5:
        raise QueryError("delay_for can't be greater than 5")
    entries = again(lambda: select(reader, tree, start, 1 << 62, limit, context), context)
    entries.sort(key=lambda entry: entry.time)
    return msgspec.json.encode(Begun(by_stream(entries), start, delay))


def new(reader: Reader, params: Params, job: Job, context: Context) -> bytes:
    """A message of what is new, in order of time; nothing if that is nothing. `context` says how far it came."""
    tree = _tree(params)
    matches, stages = stream_test(tree.matchers), build(tree.stages, context.check)
    context.skip = job.skip
    entries: list[Entry] = []
    held = 0
    for stream, ref in _matching(job.new, matches, context):
        for entry in _lines(reader, stream, ref, job.since, context):
            if all(stage(entry) for stage in stages):
                entries.append(entry)
                held += len(entry.line)
            context.skip += 1
            if held > _ENOUGH:
                break
        if held > _ENOUGH:
            break
        context.used, context.skip = context.used + 1, 0
    lost = [
        {"labels": labels, "timestamp": str(ref.first)} for key, ref in job.lost if matches(labels := labels_of(key))
    ]
    if not entries and not lost:
        return b""
    entries.sort(key=lambda entry: entry.time)
    return msgspec.json.encode(News(by_stream(entries), lost or None))


def _matching(
    refs: list[tuple[str, ChunkRef]], matches: Callable[[dict[str, str]], bool], context: Context
) -> Iterator[tuple[Stream, ChunkRef]]:
    """Those of the tail's streams; the others are done with."""
    for key, ref in refs:
        context.check()
        if matches(labels := labels_of(key)):
            yield Stream(key, labels), ref
        else:
            context.used += 1


def _lines(reader: Reader, stream: Stream, ref: ChunkRef, since: int, context: Context) -> Iterator[Entry]:
    """The lines of a chunk, without those that were skipped; none if it has gone."""
    try:
        block = reader.read(stream, ref)
    except MovedError:
        return
    if block is None:
        return
    found = Scanned(stream, block, block.between(since, 1 << 62))
    for number, index in enumerate(found.indexes[context.skip :]):
        if not number % 64:
            context.check()
        yield entry_at(found, index)
