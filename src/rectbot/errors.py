"""Errors that a person reads: one sentence that says what, where, and how to mend it.

The command line prints them as one line and exits with `exit_code`; no traceback is shown.
"""


class RectbotError(Exception):
    """Something went wrong that the operator can understand and mend."""

    exit_code = 1


class ConfigError(RectbotError):
    """A setting, a file or an argument is wrong: nothing was started."""

    exit_code = 2
