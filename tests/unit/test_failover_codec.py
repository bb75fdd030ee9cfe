"""The record as JSON: what is written is read again, and anything else is refused with a reason, whatever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rectbot.failover.codec import decode, decode_event, encode, encode_event
from rectbot.failover.events import Event
from rectbot.failover.record import Beat, Lock, Losses, Operator, Record, Suspension, Twin
from rectbot.failover.stores.base import Entry

texts, numbers, ttls = st.text(max_size=8), st.integers(-(2**53), 2**53), st.integers(1, 86_400_000)
trips = st.none() | st.fixed_dictionaries(
    {"counts": st.lists(numbers, max_size=3), "total_ms": numbers, "failed": numbers}
)
beats = st.builds(
    Beat, texts, numbers, numbers, ttls, numbers, st.booleans(), numbers, numbers, texts, numbers,
    st.none() | st.booleans(), trips, numbers,
)  # fmt: skip
events = st.builds(Event, numbers.map(str), st.floats(0, 1e10), texts, texts, texts, numbers, texts)
operators = st.builds(
    Operator, numbers, texts, texts, texts, numbers, texts, texts, st.dictionaries(texts, texts, max_size=2)
)
records = st.builds(
    Record,
    seq=numbers,
    owner=texts,
    n=numbers,
    server=texts,
    lineage=texts,
    t=numbers,
    wall=numbers,
    epoch=numbers,
    lock=st.none() | st.builds(Lock, texts, texts, numbers, numbers, ttls, numbers, numbers, numbers),
    suspended=st.none() | st.builds(Suspension, texts, numbers, ttls, numbers),
    reserved=texts,
    reserved_until=numbers,
    order=st.lists(texts, max_size=3).map(tuple),
    beats=st.dictionaries(texts, beats, max_size=2),
    twins=st.dictionaries(texts, st.builds(Twin, texts, numbers), max_size=2),
    owed_until=numbers,
    losses=st.dictionaries(texts, st.builds(Losses, numbers, numbers), max_size=2),
    operator=operators,
    counts=st.dictionaries(texts, numbers, max_size=2),
    number=numbers,
    outbox=st.lists(events, max_size=2).map(tuple),
)
anything = st.recursive(
    st.none() | st.booleans() | numbers | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(records)
def test_what_is_written_is_read_again(record: Record) -> None:
    text = encode(record)
    assert decode(text) == record
    assert b"\n" not in text


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(records, st.data())
def test_a_part_that_is_anything_else_is_refused_or_read_and_never_fatal(record: Record, data: st.DataObject) -> None:
    words: Any = json.loads(encode(record))
    part, path = words, []
    while isinstance(part, dict) and part:
        name = data.draw(st.sampled_from(sorted(part)))
        path.append(name)
        if not isinstance(part[name], dict) or data.draw(st.booleans()):
            break
        part = part[name]
    if isinstance(part, dict) and path and path[-1] in part:
        part[path[-1]] = data.draw(anything)
    try:
        read = decode(json.dumps(words).encode())
    except ValueError:
        return
    assert decode(encode(read)) == read


@given(st.binary(max_size=40) | anything.map(lambda found: json.dumps(found).encode()))
def test_what_is_no_record_says_why(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(it |\w)"):
        decode(text)
    assert decode_event(Entry(1, text)) is None


@given(events)
def test_an_event_is_read_again(event: Event) -> None:
    entry = encode_event(event)
    assert entry.number == int(event.id)
    assert decode_event(entry) == event
