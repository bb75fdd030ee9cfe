"""What a log search looks for: in its address, and as LogQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logstore.logql.parse import parse
from rectbot.console import tails
from rectbot.console.log_page import is_of_lines, moment_of
from rectbot.console.log_query import LogQuery, stream_selector, text_filter
from rectbot.console.log_search import around, search
from rectbot.console.widgets import log_lines
from rectbot.logs.client.query import Entry
from rectbot.logs.client.target import Target

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=","), min_size=1, max_size=8)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
QUERIES = st.builds(
    LogQuery,
    site=st.lists(WORDS, max_size=3, unique=True).map(tuple),
    job=st.lists(WORDS, max_size=2, unique=True).map(tuple),
    text=TEXT,
    case=st.booleans(),
)


@settings(deadline=None)
@given(QUERIES)
def test_an_address_holds_all_of_it(query: LogQuery) -> None:
    assert LogQuery.read(parse_qs(urlencode(list(query.address())), keep_blank_values=True)) == query


@settings(deadline=None)
@given(QUERIES)
def test_whatever_is_looked_for_is_a_query(query: LogQuery) -> None:
    parse(query.logql)


@pytest.mark.parametrize(
    ("text", "options", "logql"),
    [
        ("", {}, ""),
        ("took (", {}, ' |~ "(?i)took \\\\("'),
        ("took (", {"case": True}, ' |= "took ("'),
        ("took (", {"case": True, "regex": False}, ' |= "took ("'),
        ("12.5", {}, ' |= "12.5"'),
        ("a.b", {"regex": True}, ' |~ "(?i)a.b"'),
        ("a.b", {"regex": True, "case": True}, ' |~ "a.b"'),
        ('say "x" \\', {"case": True}, ' |= "say \\"x\\" \\\\"'),
    ],
)
def test_text_is_taken_as_it_stands_unless_it_is_an_expression(text: str, options: dict[str, bool], logql: str) -> None:
    assert text_filter(text, **options) == logql


def test_an_expression_that_is_none_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match="no regular expression"):
        _ = LogQuery(text="took (", regex=True).logql


def test_a_query_written_by_hand_is_asked_as_it_is() -> None:
    query = LogQuery.read({"query": ['sum(rate({job="bot"} |= "}" [1m]))'], "site": ["oci"], "text": ["x"]})
    assert query.logql == 'sum(rate({job="bot"} |= "}" [1m]))'
    assert dict(query.address()) == {"query": query.logql}
    assert query.selector == '{job="bot"}'


@pytest.mark.parametrize(
    ("query", "lines"),
    [
        ('{job="x"} |= "sum("', True),
        (' {job="x"}', True),
        ('# why\n{job="x"}', True),
        ('sum(rate({job="x"} [1m]))', False),
        ('count_over_time({job="x"} [1m]) > 3', False),
        ("", False),
    ],
)
def test_whether_a_query_brings_lines(query: str, lines: bool) -> None:
    assert is_of_lines(query) == lines


def test_a_line_leads_to_its_stream_whatever_its_labels_hold() -> None:
    labels = {"job": 'a"b', "site": "oci", "level": "error", "request": "7"}
    assert stream_selector(labels) == '{job="a\\"b", site="oci"}'
    parse(stream_selector({"odd": "\\"}))
    (line,) = log_lines([Entry(1_500_000_000, labels, '{"msg": "hello", "took": 3}')], links=True)
    assert (line["text"], line["raw"], line["time"]) == ("hello", '{"msg": "hello", "took": 3}', 1_500)
    assert line["stream"] == stream_selector(labels)


class Store:
    """Lines at certain seconds; it notes what it was asked."""

    def __init__(self, moments: list[float]) -> None:
        self._moments = sorted(moments, reverse=True)
        self.asked: list[tuple[float, float]] = []

    async def log(
        self, _: str, start: float, end: float, limit: int, seconds: float = 0, *, forward: bool = False
    ) -> list[Entry]:
        self.asked.append((start, end))
        found = [moment for moment in self._moments if start <= moment < end]
        found = found[::-1] if forward else found
        return [Entry(round(moment * 1e9), {}, "") for moment in found[:limit]]


async def _found(store: Any, start: float, end: float, limit: int) -> tuple[list[float], bool]:
    lines: list[float] = []
    more = False
    async for found in search(store, "{}", start, end, limit):
        lines += [entry.time / 1e9 for entry in found.lines]
        more = found.more
    return lines, more


async def test_a_search_looks_at_the_newest_first_and_stops_when_it_has_enough() -> None:
    store = Store([float(second) for second in range(0, 86_400, 100)])
    lines, more = await _found(store, 0, 86_400, 20)
    assert lines == [86_300.0 - 100 * number for number in range(20)]
    assert more
    assert store.asked[0] == (86_100.0, 86_400)
    assert min(start for start, _ in store.asked) > 80_000, "what is older is not looked at"


async def test_a_line_stands_in_the_middle_of_what_was_logged_around_it() -> None:
    store: Any = Store([float(second) for second in range(1_000)])
    found = await around(store, "{}", (0, 1_000), 500.0, 10)
    assert [entry.time / 1e9 for entry in found.lines] == [float(second) for second in range(504, 494, -1)]
    assert (found.more, found.back_to) == (True, 495.0)
    assert [moment_of(key) for key in ("1500000000-ab", "x", "", "9" * 99)] == [1.5, None, None, None]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 9_999), unique=True, max_size=40), st.integers(1, 12))
def test_slices_leave_nothing_out_and_say_whether_there_is_more(seconds: list[int], limit: int) -> None:
    expected = sorted(map(float, seconds), reverse=True)
    lines, more = asyncio.run(_found(Store(list(map(float, seconds))), 0, 10_000, limit))
    assert lines == expected[:limit]
    assert more == (len(expected) > limit)


async def test_a_tail_counts_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def flood(_: Target, __: str, ___: int, say: Callable[[str], None], again: Callable[[], None]) -> Any:
        again()
        for number in range(tails.BURST + 70):
            yield Entry(number, {}, "")
        say("the connection broke; it is made again")
        await asyncio.Event().wait()

    monkeypatch.setattr(tails, "follow", flood)
    found: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
    said: list[str] = []
    followed = tails.Tails(Target("http://127.0.0.1:1"))
    stop = followed.follow("{}", lambda lines, left_out: found.put_nowait((len(lines), left_out)), said.append)
    assert await asyncio.wait_for(found.get(), 30) == (tails.BURST, 70)
    assert said == ["", "the connection broke; it is made again"]
    stop()
    await followed.close()
