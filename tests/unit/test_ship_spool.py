"""The spool against a model: random batches, failures, restarts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from left_open import closed
from rectbot.errors import ConfigError
from rectbot.logs.ship.backoff import LONGEST_OBEYED_SECONDS, LONGEST_SECONDS, Backoff
from rectbot.logs.ship.spool import Spool


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    with closed(Spool):
        yield


@pytest.mark.parametrize("seed", range(12))
def test_it_keeps_the_newest_in_order_and_counts_the_rest(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    spool = Spool(tmp_path / "spool", 1000)
    added: list[bytes] = []
    taken: list[bytes] = []
    for number in range(80):
        match chance.randrange(4):
            case 0 | 1:
                added.append(b"%03d" % number + bytes(chance.randrange(0, 300)))
                spool.add(added[-1], 1)
            case 2 if found := spool.oldest():
                batch, body = found
                keep = chance.random() < 0.3
                if chance.random() < 0.5:  # others come while it is on its way
                    added.append(b"%03d" % number + bytes(chance.randrange(0, 300)))
                    spool.add(added[-1], 1)
                spool.finish(batch, keep=keep)
                taken += [] if keep else [body]
            case 3:
                spool.close()
                spool = Spool(tmp_path / "spool", 1000)
        assert sum(path.stat().st_size for path in tmp_path.glob("spool/*.gz")) <= 1300, "one may be on its way"
    while found := spool.oldest():
        taken.append(found[1])
        spool.finish(found[0], keep=False)
    assert taken == [body for body in added if body in taken], "in order, once"
    assert len(taken) + spool.ledger.dropped == len(added)
    assert not list(tmp_path.glob("spool/*.gz"))


def test_the_oldest_go_first_but_not_the_one_on_its_way(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1000)
    bodies = [bytes([number]) * 300 for number in range(10)]
    spool.add(bodies[0], 5)
    assert spool.oldest() is not None
    for body in bodies[1:]:
        spool.add(body, 5)
    assert sorted(path.read_bytes() for path in tmp_path.glob("*.gz")) == [bodies[0], *bodies[8:]]
    assert spool.ledger.dropped == 7 * 5


def test_files_of_others_are_let_be(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "dropped").write_text("nonsense")
    spool = Spool(tmp_path, 1000)
    assert (spool.waiting, spool.ledger.dropped) == (0, 0)
    assert (tmp_path / "notes.txt").exists()


def test_a_batch_that_somebody_removed_is_counted(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1000)
    spool.add(b"one", 3)
    spool.add(b"two", 1)
    next(iter(sorted(tmp_path.glob("*.gz")))).unlink()
    found = spool.oldest()
    assert found is not None
    assert found[1] == b"two"
    assert spool.ledger.dropped == 3


def test_an_unusable_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot hold the log spool"):
        Spool(tmp_path / "file", 1000)


def test_backoff_doubles_up_to_a_bound_and_obeys_the_server() -> None:
    backoff = Backoff()
    waits = [backoff.failed(None) for _ in range(20)]
    assert waits[0] <= 0.5
    assert LONGEST_SECONDS / 2 <= waits[-1] <= LONGEST_SECONDS
    assert backoff.failed(100) == 100
    assert backoff.failed(1e9) == LONGEST_OBEYED_SECONDS
    backoff.succeeded()
    assert backoff.failed(0) <= 0.5
