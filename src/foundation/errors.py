"""Errors that a person reads: one sentence that says what, where, and how to mend it."""


class OperatorError(Exception):
    """Something went wrong that whoever runs the program can understand and mend: printed as one line, no traceback."""

    exit_code = 1
