"""What stands in an .env file, and writing into one without touching what stands around it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rectbot.settings import Settings

Values = Mapping[str, str | None]  # as an env file holds them

_BARE = re.compile(r"[A-Za-z0-9_@%+=:,./?&~-]*")  # what means itself to python-dotenv, docker compose and a shell
_SECRET_BYTES = 24  # 192 bits: nothing that guesses gets there
_PRIORITY = "xserver,oci"


def new_password() -> str:
    """A new password, with letters of both cases, a digit and a sign: Metabase may ask for that."""
    while True:
        word = secrets.token_urlsafe(_SECRET_BYTES)
        if all(re.search(each, word) for each in (r"[A-Z].*[A-Z]", r"[a-z].*[a-z]", r"[0-9]", r"[-_]")):
            return word


def sites_of(values: Values) -> list[str]:
    """The sites in FAILOVER_PRIORITY."""
    names = (name.strip() for name in (values.get("FAILOVER_PRIORITY") or _PRIORITY).split(","))
    return [name for name in names if name]


def value_of(settings: Settings, name: str) -> str:
    """A setting that is not None, as an env file holds it."""
    value = getattr(settings, name.lower())
    return as_written(value.get_secret_value() if hasattr(value, "get_secret_value") else value)


def as_written(value: object) -> str:
    """The value of a setting as people write it."""
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def values_of(settings: Settings, names: Iterable[str]) -> dict[str, str | None]:
    """These settings as an env file holds them."""
    return {name: None if getattr(settings, name.lower()) is None else value_of(settings, name) for name in names}


def assign(text: str, values: Mapping[str, str]) -> str:
    """Sets these values in an env file's text, in place where the line exists, else at the end.

    A value of several lines that stands there must be on one line first: only its first line would be replaced.
    """
    for name, value in values.items():
        text = _assigned(text, name, value)
    return text


def _assigned(text: str, name: str, value: str) -> str:
    line = f"{name}={value if _BARE.fullmatch(value) else single_quoted(value)}"
    new, count = re.subn(rf"^(?:export )?{name}=.*$", lambda _: line, text, count=1, flags=re.MULTILINE)
    return new if count else f"{text.rstrip()}\n{line}\n".lstrip("\n")


def single_quoted(value: str) -> str:
    """A word as an .env file holds it: nothing is expanded inside single quotes."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
