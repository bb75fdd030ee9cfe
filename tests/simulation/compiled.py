"""The simulator as machine code: three times as many schedules, from the very sources that production and tests run.

mypyc, which comes with mypy, compiles the protocol, the model of the store and the simulator into a folder of its own,
under the names that they have here. Whoever has that folder first on `sys.path` runs the compiled modules; everybody
else, production above all, runs plain Python. The folder is named after what is in it, and made once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".mypyc_cache"
PURE = ("budget", "commands", "config", "events", "messages", "protocol", "record", "rules", "scribe", "view")
SIMULATOR = ("dice", "judge", "schedule", "server", "site", "world")
COMPILED = (
    "src/foundation/errors.py",
    "src/rectbot/errors.py",
    *(f"src/rectbot/failover/{name}.py" for name in PURE),
    *(f"tests/simulation/{name}.py" for name in SIMULATOR),
)
AS_THEY_ARE = (
    "src/foundation/__init__.py",
    "src/rectbot/__init__.py",
    "src/rectbot/failover/__init__.py",
    "tests/simulation/__init__.py",
    "tests/simulation/chaos.py",
    "tests/simulation/compiled.py",
)


class CannotCompileError(Exception):
    """Says why in one line."""


def modules(say: Callable[[str], None] = print) -> Path:
    """The folder for `sys.path`. The first time it takes half a minute. Raises CannotCompileError."""
    folder = CACHE / _key()
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # others may want the same, at the same time
        if not folder.exists():
            say("compiling the simulator, which takes half a minute")
            for old in CACHE.glob("*-*"):
                shutil.rmtree(old)
            with tempfile.TemporaryDirectory(dir=CACHE, prefix="new-") as name:
                _compile(Path(name))
                shutil.copytree(name, folder.with_suffix(".new"), ignore=shutil.ignore_patterns("build", ".*", "*.c"))
            folder.with_suffix(".new").rename(folder)
    return folder


def _key() -> str:
    found = hashlib.sha256(f"{sys.version} {version('mypy')}".encode())
    for name in (*COMPILED, *AS_THEY_ARE):
        found.update((ROOT / name).read_bytes())
    return f"{sys.implementation.cache_tag}-{found.hexdigest()[:16]}"


def _compile(folder: Path) -> None:
    for name in (*COMPILED, *AS_THEY_ARE):
        copy = folder / _inside(name)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy)
    command = [sys.executable, "-m", "mypyc", "--config-file=", *map(_inside, COMPILED)]
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")}
    # More optimisation makes it no faster, as nearly all of the time is spent in Python's own objects.
    done = subprocess.run(
        command, cwd=folder, env=env | {"MYPYC_OPT_LEVEL": "1"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()
        raise CannotCompileError(f"mypyc failed: {said[-1]}")


def _inside(name: str) -> str:
    return name.partition("/")[2]
