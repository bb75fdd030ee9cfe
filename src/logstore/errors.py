"""Errors of whoever runs the store."""

from foundation.errors import OperatorError


class StoreError(OperatorError):
    """The store cannot be opened or served."""
