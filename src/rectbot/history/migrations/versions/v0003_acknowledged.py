"""When somebody took notice of an alert, who that was, and what he said."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("alert", sa.Column("acknowledged_ms", sa.BigInteger))
    op.add_column("alert", sa.Column("acknowledged_by", sa.Text))
    op.add_column("alert", sa.Column("acknowledged_why", sa.Text))
    op.execute("""
        CREATE VIEW alert_answer AS SELECT name, severity, fired_ms, acknowledged_ms, acknowledged_by, acknowledged_why,
            (acknowledged_ms - fired_ms) / 1000.0 AS answered_after_s FROM alert WHERE acknowledged_ms IS NOT NULL""")
