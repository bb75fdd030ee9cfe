"""One grammar for lengths of time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from foundation.command import Duration
from foundation.durations import DurationError, parse_seconds
from rectbot import cli
from rectbot.errors import ConfigError
from rectbot.settings import Settings, load_settings

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
    except DurationError as error:
        assert "is not a duration: write for example 90s" in str(error)  # noqa: PT017


@pytest.mark.parametrize("text", ["5", "1h30", "h", "1 h", "-1s", "1e3s", "s1", "0s", "9" * 30 + "d", "\u0661s"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(DurationError):
        parse_seconds(text)


def _options(command: click.Command, *words: str) -> Iterator[tuple[tuple[str, ...], click.Option]]:
    """Every option of every command, with the words that lead to it."""
    for option in command.params:
        if isinstance(option, click.Option):
            yield words, option
    for name, each in getattr(command, "commands", {}).items():
        yield from _options(each, *words, name)


# What an option that takes a time must have before it.
TIMES = {
    (*words, option.opts[0]): [*words, *(["x"] if words[-1] == "switch" else [])]
    for words, option in _options(cli.main)
    if isinstance(option.type, Duration)
}


@pytest.mark.parametrize("value", ["x", "-3", "1y", "nan", "inf", "3 weeks", "1e99d", ""])
@pytest.mark.parametrize("option", TIMES, ids=" ".join)
def test_every_option_refuses_in_the_same_words(option: tuple[str, ...], value: str) -> None:
    done = CliRunner().invoke(cli.main, [*TIMES[option], option[-1], value])
    assert done.exit_code == 2
    assert re.search("is not a duration|is less than", done.output)


def test_every_option_for_a_time_is_known() -> None:
    """An option whose value is called TIME reads it with the one grammar; those of `logs query` also know dates."""
    for words, option in _options(cli.main):
        if option.metavar == "TIME" and words != ("logs", "query"):
            assert isinstance(option.type, Duration), (words, option.opts)
    assert {" ".join(option) for option in TIMES} >= {
        "init --ttl",
        "push --every",
        "failover run --ready-timeout",
        "failover switch --wait",
        "failover hold --for",
        "logs query --step",
        "logs serve --retention",
        "logs serve --query-timeout",
    }


def test_nothing_else_of_ours_reads_units_of_time() -> None:
    """But LogQL, whose grammar is Loki's, and the dashboards, which read the alert rules."""
    source = Path(cli.__file__).parents[2]
    other = {"foundation/durations.py", "logstore/logql", "logstore/pipeline", "rectbot/dashboards/model.py"}
    for path in source.rglob("*.py"):
        inside = path.relative_to(source).as_posix()
        if not inside.startswith(tuple(other)):
            assert not re.search(r"\[[smhdw]{3,}\]|FloatRange", path.read_text()), inside


LENGTHS = {
    name: field
    for name, field in Settings.model_fields.items()
    if name.endswith(("_ms", "_sec", "_minutes", "_hours", "_days"))
}
UNIT_SECONDS = {"ms": 0.001, "sec": 1, "minutes": 60, "hours": 3600, "days": 86_400}


@pytest.mark.parametrize("text", ["1s", "10s", "1m30s", "1.5m", "20000ms", "90s", "1min"])
@pytest.mark.parametrize("name", LENGTHS)
def test_every_setting_for_a_time_takes_units(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name.upper(), text)
    unit = UNIT_SECONDS[name.rpartition("_")[2]]
    assert getattr(load_settings(rectbot_home=tmp_path), name) == pytest.approx(parse_seconds(text) / unit)


@pytest.mark.parametrize("text", ["7", " 7 ", "7.0"])
@pytest.mark.parametrize("name", LENGTHS)
def test_a_number_alone_is_in_the_unit_of_the_name(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name.upper(), text)
    assert getattr(load_settings(rectbot_home=tmp_path), name) == 7


@pytest.mark.parametrize("text", ["soon", "10 s", "1h30", "s", "-5s", "1y", "inf", "nan", "-inf", "1e400", "9" * 40])
@pytest.mark.parametrize("name", LENGTHS)
def test_every_setting_for_a_time_refuses_in_one_helpful_line(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(f"{name.upper()}={text}\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(rectbot_home=tmp_path)
    line = str(caught.value)
    assert line.startswith(f"{tmp_path}/.env:1: {name.upper()}='{text}' is wrong: write a")
    assert "or a duration like 10s or 1m30s; see .env.example" in line
    assert "\n" not in line


def test_no_time_at_all_is_one_where_a_setting_may_be_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILBACK_DELAY_SEC", "0s")
    assert load_settings(rectbot_home=tmp_path).failback_delay_sec == 0
    monkeypatch.setenv("HB_TTL_SEC", "0s")
    with pytest.raises(ConfigError, match="HB_TTL_SEC='0' is wrong: it must be more than 0"):
        load_settings(rectbot_home=tmp_path)


def test_a_part_of_a_millisecond_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCK_TTL_MS", "10000.5ms")
    with pytest.raises(ConfigError, match="write a whole number"):
        load_settings(rectbot_home=tmp_path)
