"""The alert rules' limits, which the dashboards draw: read from the rules, so that no second number can drift."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from rectbot.errors import RectbotError

_NUMBER = r"\d+(?:\.\d+)?"
_LIMIT = re.compile(rf"[<>]=?\s*({_NUMBER}(?:\s*[*^]\s*{_NUMBER})*)")


class Limits:
    """What each alert compares with."""

    def __init__(self, expressions: Mapping[str, str]) -> None:
        self._expressions = expressions

    @classmethod
    def read(cls, folder: Path) -> Limits:
        """The rules of every *.yml in a folder. Raises RectbotError when one cannot be read."""
        expressions: dict[str, str] = {}
        for path in sorted(folder.glob("*.yml")):
            try:
                groups = yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
                expressions |= {
                    rule["alert"]: rule["expr"] for group in groups for rule in group["rules"] if "record" not in rule
                }
            except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
                raise RectbotError(
                    f"{path}: cannot be read as alert rules ({error}); try promtool check rules"
                ) from None
        return cls(expressions)

    def of(self, alert: str) -> float:
        """The first number that an alert's expression compares with. Raises RectbotError when there is none."""
        found = _LIMIT.search(self._expressions.get(alert, ""))
        if found is None:
            raise RectbotError(f"the alert {alert} is gone or compares with no number; the dashboards draw its limit")
        factors = (factor.split("^") for factor in found[1].split("*"))
        return math.prod(float(base) ** math.prod(map(float, exponents)) for base, *exponents in factors)
