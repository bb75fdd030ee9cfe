"""Errors of a query: what the client asked for cannot be parsed, run, or served within the limits."""

from __future__ import annotations


class QueryError(Exception):
    """The query is wrong; `str` is the body that the client gets, with `status` (400 unless it says otherwise)."""

    status = 400


class ParseError(QueryError):
    """The text is not LogQL. Worded as Loki words it: `parse error at line 1, col 9: ...`."""

    def __init__(self, message: str, line: int | None = None, column: int = 0) -> None:
        place = "" if line is None else f" at line {line}, col {column}"
        separator = ":" if line is not None else " :"
        super().__init__(f"parse error{place}{separator} {message}")


class RunError(QueryError):
    """The query can be read, but not be run: Loki answers so where it cannot tell whose fault it is."""

    status = 500


class LimitError(QueryError):
    """The query would cost more than the server's limits allow."""


class CancelledError(QueryError):
    """The client went away, or the query took longer than it may."""

    status = 499


class QueryTimeoutError(CancelledError):
    """The query took longer than the limit."""

    status = 504
