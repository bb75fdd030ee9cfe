"""What the store and its server allow. Where Loki has a limit of the kind, the default is Loki's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, times in seconds; 0 for a retention means: for ever."""

    retention_seconds: float = 0
    retention_bytes: int = 4 << 30
    body_bytes: int = 16 << 20  # of a push, unpacked
    pending_bytes: int = 24 << 20  # of pushes that are being worked on, unpacked: beyond it the answer is 429
    body_seconds: float = 30  # that a client may take to send it
    client_bytes_per_second: float = 1 << 20  # that a client may push in the long run; 0: as fast as it can
    client_burst_bytes: float = 256 << 20  # at once, after a long silence
    connections: int = 256
    idle_seconds: float = 60  # that a connection may let us wait
    line_bytes: int = 256 << 10
    label_names: int = 15
    label_name_length: int = 1024
    label_value_length: int = 2048
    streams: int = 5000
    label_bytes: int = 4 << 20  # of all streams' labels, which are held in memory
    ahead_seconds: float = 600  # how far in the future a line's time may be
    query_entries: int = 5000
    query_bytes: int = 20 << 30
    query_series: int = 500
    query_seconds: float = 60
    query_length_seconds: float = 721 * 3600
    query_steps: int = 11_000
    query_samples: int = 1_000_000  # values that functions such as quantile_over_time need at once
    query_memory: int = 56 << 20  # of all that run, beside what their process needs anyway
    answer_bytes: int = 8 << 20
    answers_bytes: int = 20 << 20  # of all answers that clients have not read yet
    form_bytes: int = 512 << 10  # of a query's form
    queries: int = 4  # at a time
    waiting_queries: int = 64
    tails: int = 10

    @classmethod
    def from_fields(cls, fields: Mapping[str, int | float]) -> Limits:
        """From what `dataclasses.asdict` made of them."""
        return cls(**fields)  # type: ignore[arg-type]
