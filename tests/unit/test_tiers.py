"""A test that no command runs is worse than none."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _run_by(*targets: str) -> set[Path]:
    """The test files that make gives to pytest."""
    said = subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    words = [word for line in said.splitlines() if "pytest" in line for word in shlex.split(line)]
    places = [place for word in words if word.startswith("tests/") for place in ROOT.glob(word)]
    return {file for place in places for file in (place.rglob("test_*.py") if place.is_dir() else [place])}


def test_every_test_is_run_by_make_test_or_by_make_test_compose() -> None:
    missing = set((ROOT / "tests").rglob("test_*.py")) - _run_by("test", "test-compose")
    assert not missing, sorted(path.relative_to(ROOT).as_posix() for path in missing)


def test_make_test_leaves_out_only_what_takes_an_engine_of_its_own() -> None:
    left = _run_by("test-compose") - _run_by("test")
    assert {path.parent for path in left} == {ROOT / "tests/compose"}
