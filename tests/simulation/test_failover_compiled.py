"""The compiled simulator tells the very stories of plain Python; and where it cannot be had, that runs instead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from . import compiled
from .chaos import timeline

SEEDS = 300
TELL = f"""
import json
from simulation.chaos import is_compiled, timeline
assert is_compiled()
json.dump([timeline(seed) for seed in range({SEEDS})], open(1, "w"))
"""


@pytest.mark.timeout(900)
def test_compiled_modules_tell_the_same_stories() -> None:
    folder = compiled.modules()
    told = subprocess.run(
        [sys.executable, "-c", TELL],
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    for seed, story in enumerate(json.loads(told.stdout)):
        assert story == timeline(seed)


@pytest.mark.timeout(900)
def test_without_a_compiler_plain_python_runs(tmp_path: Path) -> None:
    """`make chaos` says so, in one line, and goes on."""
    for name in (*compiled.COMPILED, *compiled.AS_THEY_ARE):
        copy = tmp_path / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((compiled.ROOT / name).read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "simulation.chaos", "--seconds", "0", "--workers", "1", "--first", "0"],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}/tests", "PATH": "", "CC": "no-such-compiler"},
        capture_output=True,
        text=True,
        check=True,
    )
    said = done.stdout.splitlines()
    assert said[1].startswith("plain Python, at a third of the speed: ")
    assert "1 workers, plain Python" in said[2]
    assert said[-1].startswith("1,000 schedules, ")
