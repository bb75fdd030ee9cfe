"""The judge: sessions and overlaps of a journal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localdiscord.errors import CannotServeError, LocalDiscordError
from localdiscord.journal import Entry, Journal, Moment, fetch, overlaps, sessions
from servers import free_port


def opened(at: float, connection: int, site: str = "xserver", shard: list[int] | None = None) -> Entry:
    return {
        "time": 1000 + at,
        "mono": at,
        "event": "session_open",
        "site": site,
        "session": f"s{connection}",
        "connection": connection,
        "how": "identify",
        "shard": shard or [0, 1],
    }


def closed(at: float, connection: int, site: str = "xserver", shard: list[int] | None = None) -> Entry:
    return {**opened(at, connection, site, shard), "event": "session_close", "code": 1000}


def test_one_after_the_other_does_not_overlap() -> None:
    journal = [opened(1, 1), closed(2, 1), opened(2, 2, "oci"), closed(3, 2, "oci"), opened(4, 3)]
    assert overlaps(journal) == []
    assert [(s.site, s.opened, s.closed, s.close_code) for s in sessions(journal)] == [
        ("xserver", 1, 2, 1000),
        ("oci", 2, 3, 1000),
        ("xserver", 4, None, None),
    ]


def test_a_session_that_is_still_open_overlaps_with_a_later_one() -> None:
    found = overlaps([opened(1, 1), opened(5, 2, "oci")])
    assert [(first.site, second.site) for first, second in found] == [("xserver", "oci")]


def test_two_logins_of_one_site_overlap_but_its_shards_do_not() -> None:
    assert overlaps([opened(1, 1), opened(2, 2)])
    assert not overlaps([opened(1, 1, shard=[0, 2]), opened(2, 2, shard=[1, 2])])
    assert overlaps([opened(1, 1, shard=[0, 2]), opened(2, 2, "oci", shard=[1, 2])])


def test_a_resume_over_a_second_socket_is_no_second_login() -> None:
    again = {**opened(2, 2), "session": "s1"}
    assert not overlaps([opened(1, 1), again, closed(2.1, 1)])
    assert overlaps([opened(1, 1), {**again, "site": "oci"}, closed(2.1, 1)])


def test_a_dropped_opening_never_acquits() -> None:
    dropped = {"time": 1001, "mono": 1, "event": "journal_dropped", "session": None, "site": None, "count": 7}
    found = overlaps([dropped, opened(2, 2, "oci"), closed(3, 1)])
    assert len(found) == 1


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 5), st.booleans()), max_size=6))
def test_overlaps_agree_with_counting_the_live_sessions(lives: list[tuple[int, int, bool]]) -> None:
    """An independent judge: at some whole or half second, two sessions are live."""
    journal: list[Entry] = []
    for number, (start, length, ends) in enumerate(lives):
        journal.append(opened(start, number, f"site{number}"))
        if ends:
            journal.append(closed(start + length, number, f"site{number}"))
    journal.sort(key=lambda entry: (entry["mono"], entry["event"] == "session_open"))
    spans = [(start, start + length if ends else 10**6) for start, length, ends in lives]
    most = max((sum(a <= at / 2 < b for a, b in spans) for at in range(60)), default=0)
    assert bool(overlaps(journal)) == (most > 1)


def test_the_ring_says_what_it_dropped() -> None:
    journal = Journal(capacity=3)
    for number in range(5):
        journal.add("rest", number=number)
    kept = list(journal.read())
    assert kept[0]["event"] == "journal_dropped"
    assert kept[0]["count"] == 2
    assert [entry["number"] for entry in kept[1:]] == [2, 3, 4]


def test_entries_are_filtered_and_in_order_of_time() -> None:
    journal = Journal()
    late, early = Moment(20.0, 20.0), Moment(10.0, 10.0)
    journal.add("rest", at=late, number=2)
    journal.add("rest", at=early, number=1)
    journal.add("webhook", at=late)
    assert [entry["number"] for entry in journal.read({"rest"})] == [1, 2]
    assert [entry["number"] for entry in journal.read({"rest"}, since=15)] == [2]


def test_the_file_gets_every_entry_though_memory_forgets(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    journal = Journal(file, capacity=2)
    for number in range(5):
        journal.add("rest", number=number)
    journal.close()
    assert [json.loads(line)["number"] for line in file.read_text().splitlines()] == [0, 1, 2, 3, 4]


def test_a_journal_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotServeError, match=r"nowhere/journal\.jsonl: the journal cannot be written"):
        Journal(tmp_path / "nowhere" / "journal.jsonl")


def test_fetch_says_that_nobody_answers() -> None:
    with pytest.raises(LocalDiscordError, match="no local Discord answers"):
        fetch(f"http://127.0.0.1:{free_port()}")
