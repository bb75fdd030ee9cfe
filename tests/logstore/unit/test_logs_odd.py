"""Lines and expressions that Loki reads in its own way: broken JSON and logfmt, and label filters by expression."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.logql.units import parse_float, parse_range, rounded_size
from logstore.pipeline import jsonscan
from logstore.pipeline.labelregex import label_test
from logstore.pipeline.logfmt import logfmt_pairs


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("warn|error", ["warn", "error"], ["warning", "", "an error"]),
        ("ready.*", ["ready", "not ready yet"], ["rea", ""]),
        ("err|error", ["error", "an err"], ["warn"]),
        ("(?i)ERROR", ["Error"], ["errors"]),
        ("4..", ["403"], ["4030", "x403"]),
        ("", ["", "anything"], []),
        (".+", ["x"], [""]),
    ],
)
def test_label_filters_by_expression(pattern: str, matching: list[str], other: list[str]) -> None:
    test = label_test(pattern)
    assert all(map(test, matching))
    assert not any(map(test, other))


@given(st.lists(st.text("abc.*", min_size=1, max_size=4).map(re.escape), min_size=1, max_size=4), st.text("abc.*"))
def test_what_matches_as_a_whole_also_passes_the_simplified_expression(texts: list[str], value: str) -> None:
    pattern = "|".join(texts)
    if re.fullmatch(pattern, value):
        assert label_test(pattern)(value)


@given(st.binary())
def test_any_bytes_are_read_to_their_end(line: bytes) -> None:
    list(logfmt_pairs(line))
    with contextlib.suppress(jsonscan.JsonError):
        list(jsonscan.pairs(line))


def test_what_stands_before_a_fault_is_read() -> None:
    found = jsonscan.pairs(b'{"a": 1, "b": "x", "c": tru}')
    assert [next(found), next(found)] == [("a", b"1"), ("b", b'"x"')]
    with pytest.raises(jsonscan.JsonError, match="Unknown value type"):
        next(found)
    assert list(logfmt_pairs(b'a=1 b"x=2 c="3"')) == [
        ("a", "1"),
        "logfmt syntax error at pos 6 : unexpected '\"'",
        ("c", "3"),
    ]


def test_sizes_in_queries_keep_two_digits() -> None:
    assert list(map(rounded_size, (5, 512, 1024, 4640, 12_345, 1_500_000))) == [5, 512, 1000, 4600, 12_000, 1_500_000]


def test_ranges_are_whole_numbers_in_order() -> None:
    assert parse_range("1h30m") == 5400 * 10**9
    for text in ("0.5h", " 5m", "5m1h", "5"):
        with pytest.raises(ValueError, match="duration"):
            parse_range(text)
    with pytest.raises(ValueError, match="out of range"):
        parse_float("1e999")
