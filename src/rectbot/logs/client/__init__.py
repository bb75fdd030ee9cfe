"""Loki's HTTP API, from a client's side: pushing, asking, following.

The server may be Grafana Loki, rectbot's own log store, or (for pushes only) the push proxy in front of either:
https://grafana.com/docs/loki/latest/reference/loki-http-api/
"""
