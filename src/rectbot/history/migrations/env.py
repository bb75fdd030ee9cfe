"""Alembic's way in: it gets the connection of database.py, which holds the lock, and its transaction."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
