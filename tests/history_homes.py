"""A home with a history, and the command line on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from rectbot.cli import main


@dataclass
class Home:
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "RECTBOT_HOME": str(self.folder)} | self.settings

    def run(self, *arguments: str, given: str | None = None, code: int = 0) -> str:
        """`rectbot ARGUMENTS` in this process; returns its output, or of what failed as it should its errors."""
        done = CliRunner().invoke(main, arguments, input=given, env=self.environment, catch_exceptions=False)
        assert done.exit_code == code, f"{done.exit_code}: {done.stdout}{done.stderr}"
        return done.stderr if code else done.stdout

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """As a program."""
        command = [sys.executable, "-m", "rectbot", *arguments]
        return subprocess.Popen(command, env=self.environment, stderr=subprocess.PIPE)

    def report(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("report", "--format", "json", *arguments))
        return found

    def export(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run("history", "export").splitlines()]
