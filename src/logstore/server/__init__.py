"""Loki's HTTP API in front of the store.

Two processes: `app` takes requests, pushes and deletions, and never runs anything that a client wrote; `worker` answers
queries, has bounds on its time and memory, and is killed when it does not keep them.
"""
