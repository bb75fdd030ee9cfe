"""The checker of registers' histories must itself catch what it is for."""

from __future__ import annotations

import pytest

from register_history import History


def _act(history: History, began: float, ended: float | None, found: bytes, **written: bytes) -> None:
    act = history.begin(began, **written)
    act.ended, act.found = ended, found


def test_a_history_in_order_is_linearizable() -> None:
    history = History()
    _act(history, 0, 1, b"")
    _act(history, 1, 2, b"a", seen=b"", wrote=b"a")
    _act(history, 1.5, 2.5, b"a", seen=b"", wrote=b"x")  # refused
    _act(history, 3, None, b"", seen=b"a", wrote=b"b")  # nobody knows
    _act(history, 4, 5, b"b")
    assert history.check() == 3


def test_two_successors_of_one_record_are_found() -> None:
    history = History()
    _act(history, 0, 1, b"a", seen=b"", wrote=b"a")
    _act(history, 0, 1, b"b", seen=b"", wrote=b"b")
    with pytest.raises(AssertionError, match="both took the place"):
        history.check()


def test_a_stale_read_is_found() -> None:
    history = History()
    _act(history, 0, 1, b"a", seen=b"", wrote=b"a")
    _act(history, 2, 3, b"")
    with pytest.raises(AssertionError, match="older record"):
        history.check()


def test_an_overlapping_read_may_find_either() -> None:
    history = History()
    _act(history, 0, 3, b"a", seen=b"", wrote=b"a")
    _act(history, 1, 2, b"a")
    _act(history, 0.5, 2.5, b"")
    assert history.check() == 2


def test_a_record_that_came_back_is_found() -> None:
    history = History()
    _act(history, 0, 1, b"a", seen=b"", wrote=b"a")
    _act(history, 2, 3, b"b", seen=b"a", wrote=b"b")
    _act(history, 4, 5, b"a")
    with pytest.raises(AssertionError, match="older record"):
        history.check()


def test_a_record_that_nobody_wrote_is_found() -> None:
    history = History()
    _act(history, 0, 1, b"x")
    with pytest.raises(AssertionError, match="never written"):
        history.check()
