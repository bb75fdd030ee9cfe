"""Functions over the samples of one window, as Loki computes them (pkg/logql/range_vector.go).

Each takes times (nanoseconds, ascending), values, the window's end and length, and the query's parameter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Function = Callable[[Sequence[int], Sequence[float], int, int, float], float]


def _average(values: Sequence[float]) -> float:
    mean = count = 0.0
    for value in values:
        count += 1
        if math.isinf(mean) and ((math.isinf(value) and (mean > 0) == (value > 0)) or math.isfinite(value)):
            continue
        mean += value / count - mean / count
    return mean


def variance(values: Sequence[float]) -> float:
    """Of the whole population, by Welford's method."""
    mean = squares = 0.0
    for count, value in enumerate(values, start=1):
        delta = value - mean
        mean += delta / count
        squares += delta * (value - mean)
    return squares / len(values)


def quantile(q: float, values: Sequence[float]) -> float:
    """Between two samples, in proportion; infinite for a q outside 0..1."""
    if q < 0 or q > 1:
        return math.copysign(math.inf, q - 0.5)
    ordered = sorted(value for value in values if not math.isnan(value))
    if len(ordered) < len(values):  # what is no number comes first
        ordered = [math.nan] * (len(values) - len(ordered)) + ordered
    rank = q * (len(ordered) - 1)
    low = math.floor(rank)
    high = min(len(ordered) - 1, low + 1)
    weight = rank - low
    return ordered[low] * (1 - weight) + ordered[high] * weight


def _counter_rate(times: Sequence[int], values: Sequence[float], _: int, length: int, __: float) -> float:
    """Per second, resets counted, extended before the first sample as Prometheus' rate does it.

    Loki takes its nanoseconds for milliseconds, but not those of the window, and lets it end at the last sample.
    """
    if len(values) < 2:
        return 0.0
    result = values[-1] - values[0]
    last = 0.0
    for value in values:
        if value < last:
            result += last
        last = value
    to_start, sampled = length / 1e9, (times[-1] - times[0]) / 1e3
    if not sampled:
        return math.nan
    between = sampled / (len(values) - 1)
    if result > 0 and values[0] >= 0:
        to_start = min(to_start, sampled * (values[0] / result))
    extended = sampled + (to_start if to_start < between * 1.1 else between / 2)
    return result * (extended / sampled) / (length / 1e9)


def _extreme(choose: Callable[[Sequence[float]], float]) -> Function:
    def extreme(_: Sequence[int], values: Sequence[float], __: int, ___: int, ____: float) -> float:
        numbers = [value for value in values if not math.isnan(value)]
        return choose(numbers) if numbers else math.nan

    return extreme


FUNCTIONS: dict[str, Function] = {
    "avg_over_time": lambda _, values, *__: _average(values),
    "max_over_time": _extreme(max),
    "min_over_time": _extreme(min),
    "stdvar_over_time": lambda _, values, *__: variance(values),
    "stddev_over_time": lambda _, values, *__: math.sqrt(variance(values)),
    "quantile_over_time": lambda _, values, __, ___, q: quantile(q, values),
    "first_over_time": lambda _, values, *__: values[0],
    "last_over_time": lambda _, values, *__: values[-1],
    "rate_counter": _counter_rate,
}
