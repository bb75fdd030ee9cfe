"""What comes from outside commands no terminal."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.terminal import as_json, cleaned, lines, one_line, uncoloured

HOSTILE = [
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[H",
    "\x9b2J",
    "\x1b]52;c;ZWNobw==\x1b\\",
    "a\rb",
    "a\x08b",
    "\x7f",
    "\u202egnp.exe",
    "\u2066x\u2069",
    "\u200b\ufeff",
    "\u2028\u2029\x85",
    "\U000e0041",
    "\x00",
]


def _is_harmless(text: str, kept: str = "") -> bool:
    return all(
        unicodedata.category(each) not in ("Cc", "Cf", "Cs", "Zl", "Zp") or each in kept + "\u200c\u200d"
        for each in text
    )


@given(st.text(st.characters(codec=None), max_size=200))
def test_any_text_is_harmless(text: str) -> None:
    assert _is_harmless(one_line(text))
    assert _is_harmless(lines(text), "\n\t")
    assert _is_harmless(uncoloured(text), "\n\t")


@given(st.recursive(st.text(max_size=20) | st.integers() | st.none(), lambda each: st.lists(each, max_size=3)))
def test_json_says_the_same_and_is_harmless(value: object) -> None:
    text = as_json({"value": value})
    assert _is_harmless(text)
    assert json.loads(text) == {"value": value}


@pytest.mark.parametrize("text", HOSTILE)
def test_the_known_ones_are_shown_as_what_they_are(text: str) -> None:
    shown = one_line(f"before {text} after")
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert "\\" in shown
    assert cleaned({text: [text]}) == {one_line(text): [one_line(text)]}


@pytest.mark.parametrize("text", ["日本語　です", "👩‍👩‍👧", "café", "a b", "naïve"])
def test_what_can_be_read_stays(text: str) -> None:
    assert one_line(text) == text


def test_colours_of_a_program_s_log_are_left_out() -> None:
    assert uncoloured("\x1b[31;1mERROR\x1b[0m x\x1b[2J\r\n") == "ERROR x\\x1b[2J\n"
