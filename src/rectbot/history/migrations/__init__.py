"""The schema's history: Alembic runs what is missing at each start."""
