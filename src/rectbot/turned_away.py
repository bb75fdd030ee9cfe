"""Whether a connection was ended before TLS had begun, which is how a proxy refuses an address."""

from __future__ import annotations

import http.client
import ssl

from urllib3.exceptions import HTTPError, ProtocolError, SSLError


def turned_away(error: HTTPError) -> bool:
    """True of urllib3's error for an https:// request when the server closed the connection in place of a handshake."""
    cause = error.args[0] if error.args else None
    if isinstance(error, SSLError):
        return isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    reset = error.args[1] if isinstance(error, ProtocolError) and len(error.args) > 1 else None
    # RemoteDisconnected comes later: the request was sent, and no answer came.
    return isinstance(reset, ConnectionResetError) and not isinstance(reset, http.client.RemoteDisconnected)
