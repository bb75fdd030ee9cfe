"""Logs: shipping them to Loki, and asking for them.

`LokiHandler` ships what a Python program logs, and may be used by any bot:

    handler = LokiHandler("https://prom.example.org:9443", user="prom", password=..., job="bot", site="xserver")
    logging.getLogger().addHandler(handler)

This package is light to import: the HTTP client is loaded when a handler is made.
"""

from __future__ import annotations

from rectbot.logs.ship.handler import LokiHandler

__all__ = ["LokiHandler"]
