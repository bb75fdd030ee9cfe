"""From a selector and line filters to blocks with the lines that may matter.

A block is searched as a whole, in C, before anything is split. Unpacking and searching run in two threads ahead of the
evaluation: zstd and RE2 work without Python's lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from logstore.logql import ast
from logstore.pipeline.labels import stream_test
from logstore.pipeline.lines import LineFilter, line_filter, matches_everything, matching_lines
from logstore.querier.context import Context
from logstore.store.chunk import Block, merge
from logstore.store.index import ChunkRef, Stream
from logstore.store.reader import Reader

_AHEAD = 3  # groups that are unpacked before they are needed
_MOST_AHEAD = 4 << 20  # bytes of text of those
_MOST_MERGED = 4 << 20  # bytes of chunks that overlap, merged at once
SEARCHING = (ThreadPoolExecutor(2, "log-scan"), 2)
"""Where blocks are unpacked and searched, and how many threads that has."""
Group = list[ChunkRef]


@dataclass
class Scanned:
    """A block of a stream and the indexes of the lines that passed the leading line filters and lie in the time."""

    stream: Stream
    block: Block
    indexes: Sequence[int]


def split_stages(stages: Sequence[ast.Stage]) -> tuple[list[LineFilter], Sequence[ast.Stage]]:
    """The line filters that a pipeline begins with, and the rest."""
    count = 0
    while count < len(stages) and isinstance(stages[count], ast.LineFilter):
        count += 1
    leading = [stage for stage in stages[:count] if isinstance(stage, ast.LineFilter)]
    return [line_filter(stage) for stage in leading if not matches_everything(stage)], stages[count:]


def groups(refs: Sequence[ChunkRef]) -> list[Group]:
    """Chunks by time; those that overlap belong together, because a line may be in both."""
    found: list[Group] = []
    last = size = 0
    for ref in refs:
        if found and ref.first <= last and size + ref.size <= _MOST_MERGED:
            found[-1].append(ref)
            last, size = max(last, ref.last), size + ref.size
        else:
            found.append([ref])
            last, size = ref.last, ref.size
    return found


def plan(store: Reader, matchers: Sequence[ast.Matcher], start: int, end: int) -> list[tuple[Stream, Group]]:
    """What must be read for start <= time < end, in no order."""
    start = max(start, store.oldest())
    if start >= end:
        return []
    selected = store.index.select(stream_test(matchers), start, end)
    return [(stream, group) for stream, refs in selected for group in groups(refs)]


def scan(  # noqa: PLR0917
    store: Reader, work: Sequence[tuple[Stream, Group]], filters: Sequence[LineFilter], start: int, end: int,
    context: Context,
) -> Iterator[Scanned]:  # fmt: skip
    """Yields the blocks in the order of `work`, those without a line left out."""
    start = max(start, store.oldest())
    waiting: deque[tuple[Future[Scanned | None], int]] = deque()
    position = ahead = 0
    try:
        while waiting or position < len(work):
            while position < len(work) and (not waiting or (len(waiting) < _AHEAD and ahead < _MOST_AHEAD)):
                stream, group = work[position]
                position += 1
                size = sum(ref.size for ref in group)
                context.scanned(size, sum(ref.lines for ref in group))
                waiting.append((SEARCHING[0].submit(_load, store, stream, group, filters, start, end, context), size))
                ahead += size
            future, size = waiting.popleft()
            found = future.result()
            ahead -= size
            if found is not None:
                yield found
            context.check()
    finally:
        for future, _ in waiting:
            future.cancel()


def _load(  # noqa: PLR0917
    store: Reader, stream: Stream, group: Group, filters: Sequence[LineFilter], start: int, end: int,
    context: Context,
) -> Scanned | None:  # fmt: skip
    context.check()
    if len(group) == 1:
        packed = store.text(stream, group[0])
        if packed is None or not _may_match(packed[1], filters):
            return None
        block = store.block(stream, group[0], *packed)
    else:
        block = merge([part for ref in group if (part := store.read(stream, ref)) is not None])
    if block is None or not block.count:
        return None
    inside = all(start <= ref.first and ref.last < end for ref in group)
    indexes: Sequence[int] = range(block.count) if inside else block.between(start, end)
    for filter_ in filters:
        context.check()
        indexes = _filtered(block, indexes, filter_)
        if not indexes:
            return None
    return Scanned(stream, block, indexes) if indexes else None


def _may_match(text: bytes, filters: Sequence[LineFilter]) -> bool:
    """A look at the whole text: when a filter's words are nowhere, nothing needs to be split."""
    return all(
        not filter_.positive
        or any(alternative.find is None or alternative.find(text, 0) >= 0 for alternative in filter_.alternatives)
        for filter_ in filters
    )


def _filtered(block: Block, indexes: Sequence[int], filter_: LineFilter) -> Sequence[int]:  # noqa: PLR0911
    """The indexes whose lines pass: by a search over the block when few lines should hit, else line by line."""
    whole = len(indexes) * 2 > block.count
    tiny = any(alternative.needle is not None and len(alternative.needle) < 2 for alternative in filter_.alternatives)
    if whole and not tiny:  # from hit to hit; a single letter would be hit too often
        found = matching_lines(block.text, block.starts, filter_)
        if found is not None:
            low, high = indexes[0], indexes[-1]
            if isinstance(indexes, range):
                return [index for index in found if low <= index <= high]
            kept = set(found)
            return [index for index in indexes if index in kept]
    if not whole:
        line = block.line
        return [index for index in indexes if filter_(line(index))]
    lines = block.lines()
    if len(filter_.alternatives) == 1:
        alternative, positive = filter_.alternatives[0], filter_.positive
        if alternative.needle is not None and not alternative.folded:
            needle = alternative.needle
            if positive:
                return [index for index in indexes if needle in lines[index]]
            return [index for index in indexes if needle not in lines[index]]
        test = alternative.test
        return [index for index in indexes if test(lines[index]) == positive]
    return [index for index in indexes if filter_(lines[index])]
