"""Which period a report is about."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rectbot.errors import ConfigError
from rectbot.history.period import days, month_before, month_span, period
from rectbot.history.story import Span


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


NOW = _ms("2026-11-27T19:30")


@pytest.mark.parametrize(
    ("month", "since", "until", "start", "end"),
    [
        ("2026-11", None, None, "2026-11-01", "2026-12-01"),
        ("2024-02", None, None, "2024-02-01", "2024-03-01"),
        ("2026-12", None, None, "2026-12-01", "2027-01-01"),
        (None, None, None, "2026-11-01", "2026-11-27T19:30"),
        (None, "2026-10-05", None, "2026-10-05", "2026-11-27T19:30"),
        (None, "2026-10-05T06:00:00+09:00", "2026-10-06", "2026-10-04T21:00", "2026-10-06"),
        (None, "30d", None, "2026-10-28T19:30", "2026-11-27T19:30"),
        (None, "2d", "24h", "2026-11-25T19:30", "2026-11-26T19:30"),
        (None, None, "2026-10-11", "2026-10-01", "2026-10-11"),
    ],
)
def test_a_period(month: str | None, since: str | None, until: str | None, start: str, end: str) -> None:
    assert period(month, since, until, NOW) == Span(_ms(start), _ms(end))


@pytest.mark.parametrize(
    ("month", "since", "until"),
    [
        ("2026-13", None, None),
        ("2026-00", None, None),
        ("26-11", None, None),
        ("2026-11-01", None, None),
        ("1969-11", None, None),
        ("9999-12", None, None),
        ("٢٠٢٦-11", None, None),
        ("2026-11", "2026-11-02", None),
        (None, "2026-11-02", "2026-11-02"),
        (None, "2026-11-03", "2026-11-02"),
        (None, "yesterday", None),
        (None, None, "2026-11-31"),
        (None, "2027-01-01", None),
    ],
)
def test_no_period(month: str | None, since: str | None, until: str | None) -> None:
    with pytest.raises(ConfigError):
        period(month, since, until, NOW)


def test_days_are_utc_s_and_cut_at_the_ends() -> None:
    span = Span(_ms("2026-03-28T12:00"), _ms("2026-03-31T00:00"))  # the clocks of Europe go forward within
    assert [(each.end - each.start) / 3_600_000 for each in days(span)] == [12, 24, 24]
    assert len(days(month_span("2024-02"))) == 29


def test_the_month_before() -> None:
    assert month_before(_ms("2026-11-01")) == "2026-10"
    assert month_before(_ms("2026-01-31")) == "2025-12"
