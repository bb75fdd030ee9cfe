"""Loki's HTTP API in front of the store."""

from rectbot.logs.server.app import serve

__all__ = ["serve"]
