"""Servers that several files of tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from servers_postgres import Postgres, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL; each test makes a database of its own in it."""
    with postgres_server() as server:
        yield server
