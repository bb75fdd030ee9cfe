"""Asking Docker, and telling it, through its own command."""

from __future__ import annotations

import subprocess

from rectbot.errors import RectbotError


def docker(*arguments: str, stdin: str = "", seconds: float = 30) -> str:
    """What `docker` prints. Raises RectbotError when it fails, or takes longer than `seconds`."""
    try:
        done = subprocess.run(
            ["docker", *arguments], input=stdin, capture_output=True, text=True, timeout=seconds, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RectbotError(f"docker {arguments[0]} failed ({error})") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise RectbotError(f"docker {arguments[0]} failed ({lines[-1] if lines else 'no reason given'})")
    return done.stdout
