"""Errors that a person reads: one sentence that says what, where, and how to mend it.

The command line prints them as one line and exits with `exit_code`; no traceback is shown.
"""

from foundation.errors import OperatorError


class RectbotError(OperatorError):
    """Something went wrong that the operator can understand and mend."""


class ConfigError(RectbotError):
    """A setting, a file or an argument is wrong: nothing was started."""

    exit_code = 2
