"""The store: whatever goes in comes out, in order, once; through compaction, retention and restarts."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logstore.errors import StoreError
from logstore.logql import ast
from logstore.querier.context import Context
from logstore.querier.logs import select
from logstore.server.ingest import Ingest
from logstore.store.compactor import Compactor
from logstore.store.database import ClosedError
from logstore.store.limits import Limits
from logstore.store.store import Store

ALL = ast.Logs((ast.Matcher("s", "=~", ".+"),))
_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_entry = st.tuples(st.integers(0, 60), _text, st.dictionaries(st.sampled_from(["a", "b"]), _text, max_size=2))
_pushes = st.lists(
    st.tuples(st.sampled_from("xyz"), st.lists(_entry, min_size=1, max_size=12)), min_size=1, max_size=12
)


def push(store: Store, stream: str, entries: list[tuple[int, str, dict[str, str]]]) -> None:
    metadata = {index: fields for index, (_, _, fields) in enumerate(entries) if fields}
    times, lines = [at for at, _, _ in entries], [line for _, line, _ in entries]
    batches, complaint = Ingest(store).batches([({"s": stream}, times, lines, metadata)])
    assert complaint is None
    store.append(batches).result()


def everything(store: Store, *, newest: bool = False) -> list[tuple[str, int, str]]:
    entries = select(store, ALL, 0, 1 << 60, 5000, Context(store.limits), newest=newest)
    return [(entry.labels["s"], entry.time, entry.line.decode()) for entry in entries]


@given(_pushes)
@settings(max_examples=40, deadline=None)
def test_everything_comes_out_in_order_once(pushes: list[tuple[str, list[tuple[int, str, dict[str, str]]]]]) -> None:
    expected = {(stream, at, line) for stream, entries in pushes for at, line, _ in entries}
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        for stream, entries in pushes:
            push(store, stream, entries)
        for _ in range(2):
            for newest in (False, True):
                found = everything(store, newest=newest)
                assert sorted(found) == sorted(expected), "all of it, once"
                times = [at for _, at, _ in found]
                assert times == sorted(times, reverse=newest)
            store.close()
            store = Store(Path(folder))
            Compactor(store).compact(now=True)
        store.close()


def test_compaction_merges_what_pushes_left_small(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(100):
        push(store, "x", [(number, f"line {number}", {})])
    compactor = Compactor(store)
    compactor.compact(now=True)
    assert store.index.chunks == 1
    assert [line for _, _, line in everything(store)] == [f"line {number}" for number in range(100)]
    store.close()


def test_retention_by_age_and_by_size(tmp_path: Path) -> None:
    now = time.time_ns()
    store = Store(tmp_path / "age")
    push(store, "old", [(now - 10 * 10**9, "old", {})])
    push(store, "new", [(now, "new", {})])
    store.limits = Limits(retention_seconds=5)
    assert [line for _, _, line in everything_now(store)] == ["new"], "at once, before anything is removed"
    Compactor(store).expire()
    assert store.index.lines == 1
    store.close()
    store = Store(tmp_path / "size")
    for number in range(20):
        push(store, "x", [(number, f"{number}" * 500, {})])
    store.limits = Limits(retention_bytes=store.index.stored // 2)
    Compactor(store).expire()
    kept = [at for _, at, _ in everything(store)]
    assert kept == list(range(20 - len(kept), 20)), "the newest stay"
    assert 5 <= len(kept) <= 10
    store.close()


def everything_now(store: Store) -> list[tuple[str, int, str]]:
    entries = select(store, ALL, 0, time.time_ns() + 10**9, 5000, Context(store.limits))
    return [(entry.labels["s"], entry.time, entry.line.decode()) for entry in entries]


def test_a_store_that_closes_waits_for_who_reads_and_refuses_who_comes_later(tmp_path: Path) -> None:
    store, started = Store(tmp_path), threading.Barrier(5)
    push(store, "x", [(number, "a line", {}) for number in range(5000)])
    (stream,) = store.index.streams()
    outcomes: list[BaseException] = []

    def read() -> None:
        started.wait(10)
        try:
            while True:
                assert store.read(stream, stream.chunks[0]) is not None
        except BaseException as error:
            outcomes.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    started.wait(10)
    store.close()
    for thread in threads:
        thread.join(10)
    assert [type(outcome) for outcome in outcomes] == [ClosedError] * 4
    assert store.damaged_chunks == 0


def test_a_folder_has_one_store_at_a_time(tmp_path: Path) -> None:
    store = Store(tmp_path)
    push(store, "x", [(1, "kept", {})])
    with pytest.raises(StoreError, match=f"in use by pid {os.getpid()}: stop that one, or give another folder"):
        Store(tmp_path)
    assert everything(store) == [("x", 1, "kept")]
    store.close()
    again = Store(tmp_path)
    assert everything(again) == [("x", 1, "kept")]
    again.close()
