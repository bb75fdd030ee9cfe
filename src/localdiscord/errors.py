"""Errors of whoever runs the local Discord, and the refusals of Discord's API: status, code, message, wrong fields.

https://discord.com/developers/docs/reference#error-messages and .../topics/opcodes-and-status-codes#json
"""

from __future__ import annotations

from typing import Any

from foundation.errors import OperatorError


class LocalDiscordError(OperatorError):
    """What was asked of the local Discord cannot be done now; the text says why, and what to do."""


class CannotServeError(LocalDiscordError):
    """The port is taken, or the journal's file cannot be written: nothing was started."""

    exit_code = 2


class ApiError(Exception):
    """A request that Discord refuses; becomes its JSON answer."""

    def __init__(self, status: int, code: int, message: str, errors: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {"message": message, "code": code}
        if errors:
            self.body["errors"] = errors


def unauthorized() -> ApiError:
    return ApiError(401, 0, "401: Unauthorized")


def not_found() -> ApiError:
    return ApiError(404, 0, "404: Not Found")


def unknown(what: str) -> ApiError:
    """404 with the code of the kind of thing that is unknown."""
    codes = {"Channel": 10003, "Guild": 10004, "Member": 10007, "Message": 10008, "User": 10013, "Webhook": 10015}
    codes |= {"Interaction": 10062, "application command": 10063, "Application": 10002, "Emoji": 10014}
    return ApiError(404, codes[what], f"Unknown {what}")


class Form:
    """Gathers the errors of a form body, field by field, and refuses the body if there is any."""

    def __init__(self) -> None:
        self.errors: dict[str, Any] = {}

    def reject(self, path: str, code: str, message: str) -> None:
        """Notes an error at a dotted path such as `embeds.0.title`."""
        node = self.errors
        for part in path.split("."):
            node = node.setdefault(part, {})
        node.setdefault("_errors", []).append({"code": code, "message": message})

    def finish(self) -> None:
        """Raises the 400 that lists all the errors, if there are any."""
        if self.errors:
            raise ApiError(400, 50035, "Invalid Form Body", self.errors)
