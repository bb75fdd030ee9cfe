"""Why a push failed, as an exit code that a script can act on."""

from __future__ import annotations

from enum import IntEnum

from rectbot.errors import RectbotError


class PushExit(IntEnum):
    """Exit codes of a failed push; 0 is success, 2 a wrong setting (nothing was sent)."""

    REFUSED = 3
    TLS = 4
    UNAUTHORIZED = 5
    FORBIDDEN = 6
    MALFORMED = 7
    TOO_LARGE = 8
    TIMED_OUT = 9
    NAME = 10
    OTHER = 11


EXIT_CODES: dict[PushExit, str] = {
    PushExit.REFUSED: "connection refused: nothing listens there",
    PushExit.TLS: "TLS failed: certificate untrusted, expired or for another name; or one side speaks no TLS",
    PushExit.UNAUTHORIZED: "401: wrong user or password",
    PushExit.FORBIDDEN: "this host's address is not allowed, or 403: the job is one of the stack's own",
    PushExit.MALFORMED: "400: the Pushgateway rejects the metrics",
    PushExit.TOO_LARGE: "413: the body is too large",
    PushExit.TIMED_OUT: "no answer in time",
    PushExit.NAME: "the host's name is not found",
    PushExit.OTHER: "any other answer or network failure",
}


class PushError(RectbotError):
    """The push did not arrive, or was not accepted."""

    def __init__(self, exit_code: PushExit, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code
