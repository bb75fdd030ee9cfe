"""Objects that a test drops as kill -9 does would keep their files open for as long as the tests run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def closed(kind: type[Any]) -> Iterator[None]:
    """Closes in the end whatever was made of a class."""
    made: list[Any] = []
    begin = kind.__init__

    def noted(self: Any, *given: Any, **named: Any) -> None:
        begin(self, *given, **named)
        made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "__init__", noted)
        yield
    for each in made:
        each.close()
