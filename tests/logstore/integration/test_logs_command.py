"""`python -m logstore`, for whoever wants nothing but that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from logs_server import log_server

COMMAND = [sys.executable, "-m", "logstore"]


def test_what_a_person_can_mend_is_one_line(tmp_path: Path) -> None:
    with log_server(tmp_path / "data") as running:
        command = [*COMMAND, "--data", str(running.folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"logstore: {running.folder}: another log store has this folder, in use by pid ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--data"),
        (["--data", "x", "--retention", "soon"], "'soon' is not a duration"),
        (["--data", "x", "--client-rate", "-1"], "--client-rate"),
    ],
)
def test_a_wrong_option_is_told(words: list[str], said: str, tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
