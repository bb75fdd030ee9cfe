"""Writing into an .env file, without touching what stands around it."""

from __future__ import annotations

import re

_BARE = re.compile(r"[A-Za-z0-9_@%+=:,./?&~-]*")  # what means itself to python-dotenv, docker compose and a shell


def assign(text: str, name: str, value: str) -> str:
    """Sets `name` in an env file's text, in place where the line exists, else at the end.

    A value of several lines that stands there must be on one line first: only its first line would be replaced.
    """
    line = f"{name}={value if _BARE.fullmatch(value) else single_quoted(value)}"
    new, count = re.subn(rf"^(?:export )?{name}=.*$", lambda _: line, text, count=1, flags=re.MULTILINE)
    return new if count else f"{text.rstrip()}\n{line}\n".lstrip("\n")


def single_quoted(value: str) -> str:
    """A word as an .env file holds it: nothing is expanded inside single quotes."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
