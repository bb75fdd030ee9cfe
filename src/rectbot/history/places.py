"""Where the history has its files. Without SQLAlchemy: the hub, which is small, asks, too."""

from __future__ import annotations

from pathlib import Path

from rectbot.settings import Settings
from rectbot.stack.layout import Layout


def folder(settings: Settings) -> Path:
    """The first stack's history is in var/ itself, that of another one in its own folder."""
    layout = Layout.of(settings)
    return layout.var if settings.rectbot_port_offset else layout.home / "var"


def database(settings: Settings) -> Path:
    """SQLite's file, where nothing else is configured."""
    return folder(settings) / "history.db"


def alerts(settings: Settings) -> Path:
    """Where the hub puts what Alertmanager tells, until it is recorded."""
    return folder(settings) / "history-alerts.jsonl"
