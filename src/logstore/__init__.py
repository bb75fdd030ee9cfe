"""A log store in one process and one SQLite file, with Loki's HTTP API: pushes, LogQL, tails, deletions.

`python -m logstore` serves it. Each package rests on the ones before: `logql` (the language), `pipeline` (what a query
does to one line), `store` (chunks on disk), `querier` (runs queries on the store), `server` (HTTP).
"""

LOKI_VERSION = "3.7.6"
"""Whose API and answers these are: the Loki of docker-compose.monitoring.yml. Grafana decides by it what to offer."""
