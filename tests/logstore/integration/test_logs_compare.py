"""Every answer that Grafana Loki 3.4.6 gave, our store gives too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from logs_server import log_server

ROOT = Path(__file__).parents[3]
SETS = (ROOT.parent / "shared" / "loki", ROOT / "tests" / "data" / "loki")


def test_all_recorded_answers_agree(tmp_path: Path) -> None:
    folder = next(folder for folder in SETS if (folder / "compare.py").exists())
    count = len(json.loads((folder / "answers.json").read_text()))
    with log_server(tmp_path / "logs") as server:
        command = [sys.executable, str(folder / "compare.py"), server.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr
        assert f"{count} of {count} agree" in done.stdout


def test_odd_lines_and_queries_are_answered_as_by_loki(tmp_path: Path) -> None:
    """Answers that we have measured ourselves, of what the recorded ones do not show."""
    data = ROOT / "tests" / "data" / "loki_parity"
    count = len(json.loads((data / "answers.json").read_text()))
    with log_server(tmp_path / "logs") as server:
        for stream in json.loads((data / "push.json").read_text())["streams"]:
            assert server.push(stream["stream"], stream["values"])[0] == 204
        compare = ROOT / "tests" / "data" / "loki" / "compare.py"
        command = [sys.executable, str(compare), server.url, "--no-push", "--answers", str(data / "answers.json")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr
        assert f"{count} of {count} agree" in done.stdout


def test_they_agree_after_a_restart_and_after_compaction(tmp_path: Path) -> None:
    """The same lines in many small pushes, out of order, some twice; then the server is killed and started again."""
    folder = next(folder for folder in SETS if (folder / "compare.py").exists())
    with log_server(tmp_path / "logs") as server:
        for stream in json.loads((folder / "push.json").read_text())["streams"]:
            values = stream["values"]
            parts = [values[start : start + 90] for start in range(0, len(values), 90)]
            for part in [*parts[1::2], *parts[::2], values[40:140]]:
                status, body = server.push(stream["stream"], part[::-1])
                assert status == 204, body
        server.kill()
        server.start()
        command = [sys.executable, str(folder / "compare.py"), server.url, "--no-push"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr
