"""docs/failover.md says what the code says."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from rectbot.failover.events import MEANINGS
from rectbot.failover.messages import Obstacle

TEXT = (Path(__file__).parents[2] / "docs" / "failover.md").read_text()


def test_every_kind_of_event_is_explained_as_the_command_line_does() -> None:
    for kind, meaning in MEANINGS.items():
        assert f"| `{kind}` | {meaning} |" in TEXT


def test_every_reason_to_wait_is_explained() -> None:
    for why in get_args(Obstacle):
        assert f"*{why}*" in TEXT


def test_the_number_of_mutants_is_what_is_planted() -> None:
    source = (Path(__file__).parents[1] / "simulation" / "test_failover_mutants.py").read_text()
    assert f"{source.count('    Mutant(')} planted bugs" in TEXT
