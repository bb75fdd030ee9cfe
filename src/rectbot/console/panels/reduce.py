"""One value of many: Grafana's calculations.

https://grafana.com/docs/grafana/latest/panels-visualizations/query-transform-data/calculation-types/
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from rectbot.console.panels.frames import Cell

Values = Sequence[Cell]
Numbers = Sequence[float]


def reduced(calculation: str, values: Values) -> Any:
    """The value, None where there is none. Raises KeyError for a calculation that is not known."""
    calculation = ALIASES.get(calculation, calculation)
    if calculation in _OF_ALL:
        return _OF_ALL[calculation](values)
    numbers = [value for value in values if isinstance(value, float | int)]
    return _OF_NUMBERS[calculation](numbers) if numbers else _OF_NONE.get(calculation)


def title(calculation: str) -> str:
    """Its name in Grafana, which is the name of a column that it makes."""
    return TITLES.get(calculation, calculation)


def _present(values: Values) -> list[Cell]:
    return [value for value in values if value is not None]


def _changes(values: Values) -> float:
    return float(sum(one != other for one, other in pairwise(values)))


def _delta(numbers: Numbers) -> float:
    """The increase of a counter; what follows a reset counts from the next value on."""
    total, rising = 0.0, True
    for one, other in pairwise(numbers):
        if one > other:
            rising = False
        else:
            total += other - one if rising else 0
            rising = True
    return total


def _step(numbers: Numbers) -> float | None:
    return min((other - one for one, other in pairwise(numbers)), default=None)


def _percentile(share: float) -> Callable[[Numbers], float]:
    return lambda numbers: sorted(numbers)[math.floor((len(numbers) - 1) * share + 0.5)]


def _difference_percent(numbers: Numbers) -> float | None:
    return (numbers[-1] - numbers[0]) / numbers[0] * 100 if numbers[0] else None


_OF_ALL: dict[str, Callable[[Values], Any]] = {
    "last": lambda values: values[-1] if values else None,
    "first": lambda values: values[0] if values else None,
    "lastNotNull": lambda values: next(iter(_present(values)[::-1]), None),
    "firstNotNull": lambda values: next(iter(_present(values)), None),
    "count": lambda values: float(len(values)),
    "countAll": lambda values: float(len(values)),
    "changeCount": _changes,
    "distinctCount": lambda values: float(len(set(values))),
    "allIsNull": lambda values: not _present(values),
    "allValues": lambda values: ", ".join(map(_text, values)),
    "uniqueValues": lambda values: ", ".join(map(_text, dict.fromkeys(values))),
}
_OF_NUMBERS: dict[str, Callable[[Numbers], Any]] = {
    "sum": math.fsum,
    "mean": statistics.fmean,
    "min": min,
    "max": max,
    "logmin": lambda numbers: min((value for value in numbers if value > 0), default=None),
    "median": statistics.median,
    "variance": statistics.pvariance,
    "stdDev": statistics.pstdev,
    "range": lambda numbers: max(numbers) - min(numbers),
    "diff": lambda numbers: numbers[-1] - numbers[0],
    "diffperc": _difference_percent,
    "delta": _delta,
    "step": _step,
    "allIsZero": lambda numbers: not any(numbers),
    **{f"p{percent}": _percentile(percent / 100) for percent in range(1, 100)},
}
_OF_NONE = {"sum": 0.0, "delta": 0.0, "allIsZero": False, "variance": 0.0, "stdDev": 0.0}
ALIASES = {"avg": "mean", "total": "sum", "current": "lastNotNull"}
CALCULATIONS = frozenset({*_OF_ALL, *_OF_NUMBERS, *ALIASES})
TITLES = {
    **dict.fromkeys(("lastNotNull", "current"), "Last *"),
    "last": "Last",
    "firstNotNull": "First *",
    "first": "First",
    "min": "Min",
    "max": "Max",
    **dict.fromkeys(("mean", "avg"), "Mean"),
    "median": "Median",
    "variance": "Variance",
    "stdDev": "StdDev",
    **dict.fromkeys(("sum", "total"), "Total"),
    "count": "Count",
    "countAll": "Count all",
    "range": "Range",
    "delta": "Delta",
    "step": "Step",
    "diff": "Difference",
    "logmin": "Min (above zero)",
    "allIsZero": "All Zeros",
    "allIsNull": "All Nulls",
    "changeCount": "Change Count",
    "distinctCount": "Distinct Count",
    "diffperc": "Difference percent",
    "allValues": "All values",
    "uniqueValues": "All unique values",
    **{f"p{n}": f"{n}{'th' if 3 < n < 21 else {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th')} %" for n in range(1, 100)},
}


def _text(value: Cell) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
