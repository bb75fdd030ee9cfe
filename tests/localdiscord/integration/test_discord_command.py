"""`python -m localdiscord`, for whoever wants nothing but that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from servers import free_port
from servers_monitoring import answers, until

COMMAND = [sys.executable, "-m", "localdiscord"]


@pytest.mark.parametrize("words", [[], ["serve"]])
def test_it_serves_with_and_without_the_word(words: list[str], tmp_path: Path) -> None:
    port, book = free_port(), tmp_path / "journal.jsonl"
    command = [*COMMAND, *words, "--port", str(port), "--journal", str(book)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: answers(f"http://127.0.0.1:{port}/healthz"), "the local Discord serves", 60)
            answers(f"http://127.0.0.1:{port}/api/v10/gateway")
            asked = [*COMMAND, "journal", "--url", f"http://127.0.0.1:{port}", "--event", "rest"]
            done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60)
        finally:
            process.terminate()
    (call,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert call["path"] == "/api/v10/gateway"
    assert book.read_text() == json.dumps(call) + "\n"


def test_what_a_person_can_mend_is_one_line() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    done = subprocess.run(
        [*COMMAND, "journal", "--url", nowhere], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"localdiscord: no local Discord answers at {nowhere}; is it running?\n"
