"""Push bodies as JSON: columns come out of them, by the fast way and by the slow one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from logstore.server.wire import WireError, from_json


def read(values: list[Any]) -> tuple[list[int], list[str], dict[int, dict[str, str]]]:
    body = json.dumps({"streams": [{"stream": {"job": "bot"}, "values": values}]}).encode()
    [(labels, times, lines, metadata)] = from_json(body)
    assert labels == {"job": "bot"}
    return list(times), list(lines), metadata


def test_pairs_and_structured_metadata_come_apart_into_columns() -> None:
    assert read([]) == ([], [], {})
    assert read([["1", "a"], ["2", "b\n\u2028"]]) == ([1, 2], ["a", "b\n\u2028"], {})
    assert read([["1", "a"], ["2", "b", {"k": "v"}], ["3", "c", {}]]) == ([1, 2, 3], ["a", "b", "c"], {1: {"k": "v"}})


@pytest.mark.parametrize(("text", "number"), [("-5", -5), ("007", 7), ("1764099000000000001", 1764099000000000001)])
def test_times_are_whole_numbers(text: str, number: int) -> None:
    assert read([[text, "a"], ["8", "b"]])[0] == [number, 8]


@pytest.mark.parametrize("text", ["", "1,2", "1],[2", "1.5", "1e3", "null", "x", "0x1", "[1]"])
@pytest.mark.parametrize("rest", [[], [{"k": "v"}]])
def test_what_is_no_time_is_refused(text: str, rest: list[Any]) -> None:
    for values in ([[text, "a", *rest]], [[text, "a", *rest], ["1", "b"]], [["1", "b"], [text, "a", *rest]]):
        with pytest.raises(WireError, match="nanoseconds since 1970"):
            read(values)


@pytest.mark.parametrize(
    "values",
    [[[1, "a"]], [["1", 5]], [["1"]], [["1", "a", "b"]], [["1", "a", 1]], [["1", "a", {}, {}]], ["1"], [5]],
)
def test_what_is_no_entry_is_refused(values: list[Any]) -> None:
    with pytest.raises(WireError):
        read(values)


@pytest.mark.parametrize(
    ("raw", "text"),
    [("0", "0"), ("-1.50", "-1.50"), ("1e400", "1e400"), ("true", "true"), ("null", "null"), ('"\\u0041\\n"', "A\n"),
     ("[1, 2]", "[1, 2]"), ("9" * 5000, "9" * 5000)],
)  # fmt: skip
def test_values_of_labels_that_are_no_text_are_taken_as_they_are_written(raw: str, text: str) -> None:
    for stream, entry in ((f'{{"a":{raw}}}', '["1","x"]'), ('{"a":"b"}', f'["1","x",{{"k":{raw}}}]')):
        body = f'{{"streams":[{{"stream":{{"j":"k"}},"values":[["1","y"]]}},{{"stream":{stream},"values":[{entry}]}}]}}'
        first, (labels, _, _, metadata) = from_json(body.encode())
        assert (first[0], list(first[2])) == ({"j": "k"}, ["y"]), "the others of the batch come, too"
        assert (labels, metadata) in [({"a": text}, {}), ({"a": "b"}, {0: {"k": text}})]
    body = f'{{"streams":[{{"stream":{{"a":{{"b":{raw}}}}},"values":null}}]}}'
    assert [(labels, times) for labels, times, _, _ in from_json(body.encode())] == [({"a": f'{{"b":{raw}}}'}, [])]


@pytest.mark.parametrize("entry", ['["1","a"]', '["1","a",{"k":"v"}]'])
def test_a_body_that_is_nested_too_deeply_is_refused(entry: str) -> None:
    with pytest.raises(WireError):
        list(from_json(f'{{"streams":[{{"stream":{{"a":"b"}},"values":[{entry}],"x":{"[" * 100_000}'.encode()))


@pytest.mark.parametrize("value", [b'"\\ud800"', b'"\\q"', b'"\xff"', b'"\\u12"'])
def test_a_value_that_is_no_text_is_refused(value: bytes) -> None:
    for stream, entry in ((b'{"a":%b,"n":1}' % value, b'["1","x"]'), (b'{"a":"b"}', b'["1","x",{"k":%b}]' % value)):
        try:
            list(from_json(b'{"streams":[{"stream":%b,"values":[%b]}]}' % (stream, entry)))
        except WireError:
            continue
