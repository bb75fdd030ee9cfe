"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "event",
        sa.Column("id", _number, primary_key=True),
        sa.Column("digest", sa.String(40), nullable=False, unique=True),
        sa.Column("time_ms", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("site", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("last_renewal_ms", sa.BigInteger),
    )
    op.create_index("event_time", "event", ["time_ms"])
    op.create_index("event_kind", "event", ["kind", "time_ms"])
    op.create_table(
        "leadership",
        sa.Column("id", _number, primary_key=True),
        sa.Column("site", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("began_ms", sa.BigInteger, nullable=False),
        sa.Column("ready_ms", sa.BigInteger),
        sa.Column("ended_ms", sa.BigInteger),
        sa.Column("began_why", sa.Text, nullable=False),
        sa.Column("end_kind", sa.Text, nullable=False),
        sa.Column("end_why", sa.Text, nullable=False),
    )
    op.create_index("leadership_began", "leadership", ["began_ms"])
    op.create_table(
        "switch",
        sa.Column("id", _number, primary_key=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("from_site", sa.Text, nullable=False),
        sa.Column("to_site", sa.Text, nullable=False),
        sa.Column("planned", sa.Boolean, nullable=False),
        sa.Column("gap_ms", sa.BigInteger),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
    )
    op.create_index("switch_at", "switch", ["at_ms"])
    op.create_table(
        "alert",
        sa.Column("id", _number, primary_key=True),
        sa.Column("digest", sa.String(40), nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("fired_ms", sa.BigInteger, nullable=False),
        sa.Column("resolved_ms", sa.BigInteger),
    )
    op.create_index("alert_fired", "alert", ["fired_ms"])
    op.create_table(
        "site",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("place", sa.Integer, nullable=False),
    )
    op.create_table(
        "note",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
