"""The log store: compressed chunks of lines in one SQLite file (WAL mode).

Why SQLite: it is in Python's standard library, one file, crash-safe for decades, and needs next to no memory. What it
would do slowly, searching text, it does not do: a chunk is a compressed block that is searched as a whole in C.
"""
