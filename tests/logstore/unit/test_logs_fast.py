"""The fast ways of queries find what the plain way, line by line, finds: on lines made to mislead them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logstore.logql import ast
from logstore.logql.errors import QueryError
from logstore.logql.parse import parse
from logstore.logql.regex import compile_
from logstore.pipeline.lines import line_filter, matching_lines
from logstore.querier import byline, logs, ranges
from logstore.querier.context import Context
from logstore.querier.logs import select
from logstore.querier.metrics import Evaluator
from logstore.querier.scan import split_stages
from logstore.server.ingest import Ingest
from logstore.store.store import Store

_KEYS = [
    "level",
    "level",
    "level",
    "a_b",
    "a",
    "b",
    "x",
    " level",
    "level ",
    "a.b",
    "\\u006cevel",
    "n",
    "lev\\u0065l",
    "a-b",
    "level\\t",
]
_VALUES = st.sampled_from(
    [
        *('"info"', '"error"', '""', '"level"', '"level\\":"', '"x level"', '"a_b"', '"\\ufffd"', '"} {"', "null"),
        *("true", "1", "0", "-0", "1.0", "1.50", "5e1", "-3", '"7"', '"7s"', "[1]", '[{"level":"x"}]', "{}"),
        *('"\\u001b[31m"', '"\\u003c"', '"募集"', '"募集level"', '"�"', "12345678901234567890123"),
    ]
) | st.integers(-5, 50).map(str)
_pair = st.tuples(st.sampled_from(_KEYS), st.sampled_from([":", ": ", " :"]), _VALUES)
_flat = st.lists(_pair, max_size=4).map(lambda pairs: "{" + ",".join(f'"{k}"{c}{v}' for k, c, v in pairs) + "}")
_nested = st.tuples(_flat, _flat).map(lambda parts: f'{{"a":{parts[0]},"x":[{{}}],"b":{parts[1]}}}')
_odd = st.sampled_from(
    [
        *("", "plain level=info", "{", "{}}", "[1]", '{"a":', '{"level":"a",}', '{"level":"a\tb"}', ' {"level":"i"} '),
        *(
            '{"level":"a"}{"level":"b"}',
            '{"level":"a"} {"level":"b"}',
            '{"level":\n"a"}',
            '{"level":"a"}\n{"level":"b"}',
        ),
        *('{"a":{"b":1,"b":2},"a_b":3}', '{"a_b":3,"a":{"b":4}}', '{"level":1,"level":2}'),
    ]
)
_usual = st.sampled_from(["info", "error", "warn"]).map(lambda level: f'{{"level": "{level}", "n": 3, "a_b": 1.5}}')
_lines = st.lists(_usual | _flat | _nested | _odd, min_size=1, max_size=12)
_METRICS = [
    "sum by (level) (count_over_time({run=`%d`} %s [10s]))",
    "sum by (level, a_b) (rate({run=`%d`} %s | n > 2 [10s]))",
    "sum(count_over_time({run=`%d`} %s | level=`info` or a_b >= 1 [10s]))",
    "sum by (level) (sum_over_time({run=`%d`} %s | unwrap n [10s]))",
    "max_over_time({run=`%d`} %s | unwrap a_b [10s]) by (level)",
    "sum by (detected_level) (bytes_over_time({run=`%d`} %s [10s]))",
    "sum by (b, level) (count_over_time({run=`%d`} %s | level!=`` | b=~`.*` [10s]))",
]
_PIPELINES = ["| json", "| json | __error__=``", "|= `level` | json", "", "| json | drop __error__"]


class Runs:
    """A store, in which each run's lines have a label of their own."""

    def __init__(self, folder: Path) -> None:
        self.store, self.number = Store(folder), 0

    def fill(self, lines: list[str], metadata: dict[int, dict[str, str]]) -> int:
        self.number += 1
        for name, stream, fields in (("odd", lines, metadata), ("usual", ['{"level":"info"}'] * 20, {})):
            times = [index * 10**9 + len(name) for index in range(len(stream))]
            batches, complaint = Ingest(self.store).batches(
                [({"run": str(self.number), "kind": name}, times, stream, fields)]
            )
            assert complaint is None
            self.store.append(batches).result()
        return self.number

    def answer(self, tree: ast.Expression) -> Any:
        context = Context(self.store.limits)
        try:
            if isinstance(tree, ast.Logs):
                entries = select(self.store, tree, 0, 1 << 60, 50, context)
                return [(entry.time, entry.line, entry.labels) for entry in entries]
            return Evaluator(self.store, [10 * 10**9, 15 * 10**9, 20 * 10**9], context).evaluate(tree)
        except QueryError as error:
            return str(error).split("for series")[0]  # which of the failing lines is named is a matter of order


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    found = Runs(tmp_path_factory.mktemp("fast"))
    yield found
    found.store.close()


@given(_lines, st.sampled_from(_METRICS), st.sampled_from(_PIPELINES), st.sampled_from([{}, {0: {"level": "meta"}}]))
@example(["{}", '{"level":"a"}{"level":"b"}', '{"level":"c",', '"n":1}'], _METRICS[0], "| json", {})
@example(["", '{"level":"a"}', " ", '{"level":"b"}'], _METRICS[0], "| json | __error__=``", {})
@example(['{"level":-0}', '{"level":0}'], _METRICS[0], "| json", {})
@example(['{"level":1.50}', '{"level":1e1}'], _METRICS[0], "| json", {})
@example(['{"level":"\ufffd"}', '{"level":"\\ufffd"}'], _METRICS[0], "| json", {})
@example(['{"level":true}', '{"level":1}', '{"level":"1"}'], _METRICS[0], "| json", {})
@settings(max_examples=500, deadline=None)
def test_metrics_of_blocks_are_those_of_their_lines(
    runs: Runs, lines: list[str], metric: str, pipeline: str, metadata: dict[int, dict[str, str]]
) -> None:
    tree = parse(metric % (runs.fill(lines, metadata), pipeline))
    fast = runs.answer(tree)
    with patch.object(ranges, "by_column", lambda *_: None), patch.object(byline, "prefilter", _all_lines):
        assert fast == runs.answer(tree)


@given(_lines, st.sampled_from(["level=`info`", "n > 2", "a_b = 1.5", "level!=`info` | n <= 3", "a_b=~`1.*` or n=`3`"]))
@settings(max_examples=300, deadline=None)
def test_filters_of_blocks_are_those_of_their_lines(runs: Runs, lines: list[str], condition: str) -> None:
    tree = parse(f'{{run="{runs.fill(lines, {})}"}} | json | {condition}')
    fast = runs.answer(tree)
    with patch.object(logs, "prefilter", _all_lines):
        assert fast == runs.answer(tree)


def _all_lines(_: Any, found: Any) -> Any:
    return found.indexes


_LETTERS = st.text(st.sampled_from("akSsK\u017f\u212a(.|\\ -é"), max_size=6)


@settings(deadline=None)
@given(st.lists(_LETTERS, max_size=8), _LETTERS)
@example(["took (5 ms)", "TOOK (", "tooK (", "\u212a"], "took (")
def test_text_in_any_case_is_found_where_its_expression_finds_it(lines: list[str], text: str) -> None:
    pattern = f"(?i){re.escape(text)}".replace("\\ ", " ")
    wanted = line_filter(ast.LineFilter("|~", (("", pattern),)))
    encoded = [line.encode() for line in lines]
    starts = [0, *accumulate(len(line) + 1 for line in encoded)]
    block = b"".join(line + b"\n" for line in encoded)
    search = compile_(pattern).search
    assert matching_lines(block, starts, wanted) == [at for at, line in enumerate(encoded) if search(line) is not None]


@pytest.mark.parametrize(
    ("query", "everything"),
    [
        ('{a="b"} |= ""', True),
        ('{a="b"} |~ `(?i)`', True),
        ('{a="b"} |~ ".*"', True),
        ('{a="b"} |~ ".+"', False),
        ('{a="b"} != ""', False),
        ('{a="b"} !~ ".*"', False),
        ('{a="b"} |= "x"', False),
    ],
)
def test_a_filter_that_keeps_every_line_is_none(query: str, everything: bool) -> None:
    tree = parse(query)
    assert isinstance(tree, ast.Logs)
    filters, rest = split_stages(tree.stages)
    assert (not filters, not rest) == (everything, True)
