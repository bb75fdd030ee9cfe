"""One running stack for the tests that play on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that runs in the background, started as a person would."""
    stack = Stack.prepare(tmp_path_factory.mktemp("home"))
    stack.run("init")
    try:
        stack.run("up", "--detach")
        yield stack
        print(stack.run("down").stdout)
        assert stack.leftovers() == []
    finally:
        stack.destroy()
