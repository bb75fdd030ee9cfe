"""Planted faults: one line of production's source gone wrong, of which a test of ours has to notice.

A fault is made from the very source that runs. If its line is not there any more, its test fails: it would prove
nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import rectbot

TESTS = Path(__file__).parent
_SOURCE = Path(rectbot.__file__).parent


@dataclass(frozen=True)
class Fault:
    """One fault, and the test that finds it."""

    name: str
    file: str  # below src/rectbot
    line: str
    instead: str
    found_by: str

    @property
    def path(self) -> Path:
        return _SOURCE / self.file

    def planted(self) -> str:
        return changed(self.path, self.line, self.instead)


def changed(file: Path, line: str, instead: str) -> str:
    """The source with the fault."""
    source = file.read_text()
    assert source.count(line) == 1, f"the line {line!r} is not in {file.name} any more, or not alone"
    return source.replace(line, instead)


def load(file: Path, line: str, instead: str) -> ModuleType:
    """A module with the fault, beside the one without. Others may import from it, as `planted_...`."""
    made = ModuleType(f"planted_{file.stem}")
    made.__file__ = str(file)
    sys.modules[made.__name__] = made  # dataclasses look their module up
    exec(compile(changed(file, line, instead), f"<{made.__name__}>", "exec"), made.__dict__)
    return made


def run_with(fault: Fault, folder: Path) -> subprocess.CompletedProcess[str]:
    """Its test, in a process whose rectbot, and that of all its children, has the fault."""
    shutil.copytree(_SOURCE, folder / "rectbot", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "rectbot" / fault.file).write_text(fault.planted())
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", f"{TESTS}/{fault.found_by}"]
    env = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, env=env, cwd=TESTS.parent, capture_output=True, text=True, check=False)
