"""One grammar for lengths of time."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from rectbot import cli
from rectbot.durations import parse_seconds
from rectbot.errors import ConfigError

UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}


@given(st.dictionaries(st.sampled_from(list(UNITS)), st.integers(1, 9), min_size=1))
def test_parts_add_up(parts: dict[str, int]) -> None:
    text = "".join(f"{number}{unit}" for unit, number in parts.items())
    assert parse_seconds(text) == sum(number * UNITS[unit] for unit, number in parts.items())
    assert parse_seconds(f" {text} ", bare=True) == parse_seconds(text)


@given(st.text(max_size=60))
def test_any_text_is_a_time_or_a_clear_refusal(text: str) -> None:
    try:
        assert 0.001 <= parse_seconds(text, bare=True) <= 10 * 365 * 86_400
    except ConfigError as error:
        assert "is not a duration: write for example 90s" in str(error)  # noqa: PT017


@pytest.mark.parametrize("text", ["5", "1h30", "h", "1 h", "-1s", "1e3s", "s1", "0s", "9" * 30 + "d", "\u0661s"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_seconds(text)


@pytest.mark.parametrize("command", [["push", "--every"], ["failover", "switch", "a", "--wait"]])
@pytest.mark.parametrize("value", ["x", "0", "-3", "1y", "nan", "inf"])
def test_every_option_refuses_in_the_same_words(command: list[str], value: str) -> None:
    done = CliRunner().invoke(cli.main, [*command, value])
    assert done.exit_code == 2
    assert re.search("is not a duration|is less than", done.output)


def test_no_option_reads_a_time_by_itself() -> None:
    source = "".join(path.read_text() for path in Path(cli.__file__).parent.glob("*.py"))
    assert "FloatRange" not in source
