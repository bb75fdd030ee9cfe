"""What command lines share: times as options, and text that is safe to show."""

from __future__ import annotations

import sys
from typing import Any

import click

from foundation.durations import DurationError, parse_seconds
from foundation.errors import OperatorError
from foundation.terminal import lines


class Duration(click.ParamType):  # type: ignore[type-arg] # generic in newer clicks only
    """A length of time in seconds: 90s, 1h30m, 2d, or a number of seconds; with `least` 0 also 0."""

    name = "TIME"

    def __init__(self, least: float = 0.01) -> None:
        self.least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        try:
            seconds = parse_seconds(value, bare=True, zero=self.least == 0)
        except DurationError as error:
            self.fail(str(error), param, ctx)
        if seconds < self.least:
            self.fail(f"{value!r} is less than {self.least:g} s", param, ctx)
        return seconds


def say(text: str, *, err: bool = False) -> None:
    """Prints a line or several: without secrets, and without what a terminal would obey."""
    click.echo(lines(text), err=err)


def run(name: str, command: click.Command) -> None:
    """`python -m NAME`: runs a command; what its user can mend, or must install, is one line and an exit code."""
    try:
        command(prog_name=f"python -m {name}", max_content_width=110)
    except OperatorError as error:
        say(f"{name}: {error}", err=True)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        say(f"{name}: the package {error.name} is missing; README.md of {name} says what to install", err=True)
        sys.exit(2)
