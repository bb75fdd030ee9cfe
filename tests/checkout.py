"""What is in the checkout, without what `rectbot init` and `make up` have made there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def committed(*paths: str) -> list[str]:
    """The files below these paths (all) that git knows, or would take."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def lay_out(home: Path, *paths: str) -> None:
    """Copies them to a home, as a clone would have them there; without paths what `rectbot init` wants to find."""
    for name in committed(*(paths or (".env.example", "docker"))):
        target = home / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
