"""Which lines a request to delete means. It is asked for in the server itself, so it may hold nothing but what is
surely quick: a selector and line filters, whose expressions are matched in linear time.
"""

from __future__ import annotations

from logstore.logql import ast
from logstore.logql.errors import QueryError
from logstore.logql.parse import parse
from logstore.pipeline.labels import stream_test
from logstore.pipeline.lines import line_filter

_LONGEST = 8192  # characters
_MOST = 50  # texts and expressions


class Doomed:
    """The lines that a query selects. Raises QueryError for what a deletion may not hold."""

    def __init__(self, query: str) -> None:
        if len(query) > _LONGEST:
            raise QueryError(f"the query of a deletion may have {_LONGEST} characters")
        tree = parse(query)
        filters = tree.stages if isinstance(tree, ast.Logs) else ()
        if not isinstance(tree, ast.Logs) or not all(isinstance(stage, ast.LineFilter) for stage in filters):
            raise QueryError("unsupported query type: only a selector and line filters can tell what to delete")
        lines = [stage for stage in filters if isinstance(stage, ast.LineFilter)]
        if len(tree.matchers) + sum(len(stage.alternatives) for stage in lines) > _MOST:
            raise QueryError(f"a deletion may have {_MOST} matchers and line filters")
        self.stream = stream_test(tree.matchers)
        self._filters = [line_filter(stage) for stage in lines]

    def line(self, line: bytes) -> bool:
        return all(matches(line) for matches in self._filters)
