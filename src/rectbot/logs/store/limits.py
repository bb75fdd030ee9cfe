"""What the store and its server allow. Where Loki has a limit of the kind, the default is Loki's."""

from __future__ import annotations

from dataclasses import dataclass

from rectbot.errors import ConfigError
from rectbot.logs.logql.units import parse_duration


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, times in seconds; 0 for a retention means: for ever."""

    retention_seconds: float = 0
    retention_bytes: int = 4 << 30
    body_bytes: int = 16 << 20  # of a push, unpacked
    pending_bytes: int = 24 << 20  # of pushes that are being worked on: beyond it the answer is 429
    line_bytes: int = 256 << 10
    label_names: int = 15
    label_name_length: int = 1024
    label_value_length: int = 2048
    streams: int = 5000
    ahead_seconds: float = 600  # how far in the future a line's time may be
    query_entries: int = 5000
    query_bytes: int = 20 << 30
    query_series: int = 500
    query_seconds: float = 60
    query_length_seconds: float = 721 * 3600
    query_steps: int = 11_000
    query_samples: int = 2_000_000  # values that functions such as quantile_over_time need at once
    queries: int = 4  # at a time
    waiting_queries: int = 64
    tails: int = 10


def seconds(text: str) -> float:
    """The seconds of a time such as `14d`. Raises ConfigError."""
    try:
        value = parse_duration(text, calendar=True) / 1e9
    except ValueError:
        value = -1
    if value < 0:
        raise ConfigError(f"{text!r} is no length of time: write for example 14d, 36h, or 0 for no end")
    return value
