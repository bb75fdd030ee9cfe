"""The tables, as SQLAlchemy knows them; migrations/versions makes them. Times are ms since 1970, in UTC."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()
_Number = BigInteger().with_variant(Integer, "sqlite")  # the only one that counts up by itself there

event = Table(
    "event",
    metadata,
    Column("id", _Number, primary_key=True),
    Column("digest", String(40), nullable=False, unique=True),  # of all that it says: the same event is kept once
    Column("time_ms", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("site", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("why", Text, nullable=False),
    Column("last_renewal_ms", BigInteger),
    Index("event_time", "time_ms"),
    Index("event_kind", "kind", "time_ms"),
)

# What follows from the events is made anew with each change of them: story.py.

leadership = Table(
    "leadership",
    metadata,
    Column("id", _Number, primary_key=True),
    Column("site", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("began_ms", BigInteger, nullable=False),
    Column("ready_ms", BigInteger),
    Column("ended_ms", BigInteger),
    Column("began_why", Text, nullable=False),  # the kind of end of the one before
    Column("end_kind", Text, nullable=False),
    Column("end_why", Text, nullable=False),
    Index("leadership_began", "began_ms"),
)

switch = Table(
    "switch",
    metadata,
    Column("id", _Number, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("from_site", Text, nullable=False),
    Column("to_site", Text, nullable=False),
    Column("planned", Boolean, nullable=False),
    Column("gap_ms", BigInteger),
    Column("who", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("why", Text, nullable=False),
    Index("switch_at", "at_ms"),
)

alert = Table(
    "alert",
    metadata,
    Column("id", _Number, primary_key=True),
    Column("digest", String(40), nullable=False, unique=True),  # of its labels and of when it fired
    Column("name", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("labels", Text, nullable=False),  # JSON
    Column("summary", Text, nullable=False),
    Column("fired_ms", BigInteger, nullable=False),
    Column("resolved_ms", BigInteger),
    Column("acknowledged_ms", BigInteger),
    Column("acknowledged_by", Text),
    Column("acknowledged_why", Text),
    Index("alert_fired", "fired_ms"),
)

site = Table(
    "site",
    metadata,
    Column("name", Text, primary_key=True),
    Column("place", Integer, nullable=False),  # 0 is the most preferred
)

# What is remembered beside the events: up to when they were pruned, which report was posted.
note = Table(
    "note",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
