"""Disks that a test can fill."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def disk_of(path: Path, size: str) -> Iterator[Path]:
    """A file system of this size (`2m`) at `path`, a new folder; the test is skipped where nobody may mount one."""
    path.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], check=False)
    if made.returncode != 0:
        pytest.skip("this container may not mount a file system")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)
