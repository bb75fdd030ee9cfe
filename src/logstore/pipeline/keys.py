"""Names of labels out of keys: apart from the parsers, since pushes need no more of those than this."""

from __future__ import annotations

import re
from functools import lru_cache

_BAD = re.compile(r"[^a-zA-Z0-9_]")


def underscored(text: str) -> str:
    """Text with an underscore for each character that a name may not hold."""
    return _BAD.sub("_", text)


@lru_cache(maxsize=4096)
def sanitize(key: str) -> str:
    """A key as a label name: what a name may not hold becomes an underscore."""
    key = key.strip()
    if key[:1].isascii() and key[:1].isdigit():
        key = "_" + key
    return underscored(key)
