from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rectbot.alerts.text import MESSAGE_LENGTH, MOST_MESSAGES, messages


def length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def test_a_short_text_is_one_message() -> None:
    assert messages("\n hello\nworld \n") == ["hello\nworld"]
    assert messages("x" * MESSAGE_LENGTH) == ["x" * MESSAGE_LENGTH]


@pytest.mark.parametrize("text", ["", " ", "\n\n"])
def test_blank_text_is_no_message(text: str) -> None:
    assert messages(text) == []


def test_a_long_text_is_split_at_line_ends() -> None:
    lines = [f"{number:04d} {'x' * 94}" for number in range(50)]  # 5,000 characters
    parts = messages("\n".join(lines))
    assert len(parts) == 3
    assert [line for part in parts for line in part.split("\n")] == lines


def test_a_line_that_is_too_long_is_split_where_it_must() -> None:
    parts = messages("a" * 4500)
    assert [len(part) for part in parts] == [2000, 2000, 500]


def test_what_does_not_fit_is_cut_visibly() -> None:
    parts = messages("y" * 100_000)
    assert len(parts) == MOST_MESSAGES
    shown = sum(part.count("y") for part in parts)
    assert parts[-1].endswith(f"… (cut: {100_000 - shown:,} more characters)")
    assert shown > 9_900


def test_emoji_count_as_two() -> None:
    parts = messages("😀" * 1001)
    assert [length(part) for part in parts] == [2000, 2]


def test_bytes_that_were_no_text_do_not_break_it() -> None:
    assert messages("broken \udcff byte") == ["broken ? byte"]


@settings(max_examples=50)
@given(st.text(st.characters(codec="utf-8"), max_size=60).map(lambda text: text * 400))
def test_every_message_fits_and_nothing_is_lost_before_the_cut(text: str) -> None:
    parts = messages(text)
    assert len(parts) <= MOST_MESSAGES
    assert all(part.strip() and length(part) <= MESSAGE_LENGTH for part in parts)
    cut = bool(parts) and parts[-1].endswith("more characters)")
    kept = "".join("".join(parts).rpartition("\n… (cut:")[0] if cut else "".join(parts))
    wanted = "".join(text.split())
    assert wanted.startswith("".join(kept.split()))
    assert cut or "".join(kept.split()) == wanted
