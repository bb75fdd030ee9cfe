"""The toolkit's pages in this process: whose each is, and how many there may be.

A page takes some hundred kilobytes from its request on, and is kept for a minute for a browser that may never come back
with its WebSocket. So there is room for a number of them, and whoever has the most gives way.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

from nicegui import core
from nicegui.client import Client

from rectbot.console.auth import Auth, Session

MOST_PAGES = 48
SOCKET = "rectbot.socket"  # under which a socket's scope has what ends it
_LEAVE_SECONDS = 1.0  # for a browser to go where it is told


def owner(client: Client, auth: Auth) -> Session | None:
    """The session that a page was asked for with, if it still is one."""
    return auth.session(client.request.scope.get("session", {}))


def make_room(auth: Auth) -> None:
    """Called for a new page, which counts already: one too many ends another, of the session that has the most."""
    while len(Client.instances) > MOST_PAGES:
        owners = {client: _name(owner(client, auth)) for client in Client.instances.values()}
        most, _ = Counter(owners.values()).most_common(1)[0]
        candidates = [client for client in owners if owners[client] == most][:-1] or list(owners)[:1]
        # One that never had a browser goes first; the toolkit keeps them in the order in which they came.
        end(min(candidates, key=lambda client: client._pinned_tab_id is not None))


def end(client: Client) -> None:
    """Takes a page away at once, and cuts its sockets."""
    for sid in list(client._socket_to_document_id):
        if (environ := core.sio.get_environ(sid)) is not None:
            environ["asgi.scope"][SOCKET].end()
    if not client.is_deleted:
        client.delete()


def dismiss(session: Session, auth: Auth) -> None:
    """Sends all pages of a session that is about to end to the login, and ends them."""
    for client in list(_of(session, auth)):
        client.open("/login")
        asyncio.get_running_loop().call_later(_LEAVE_SECONDS, end, client)


def _of(session: Session, auth: Auth) -> Iterator[Client]:
    for client in list(Client.instances.values()):
        if (found := owner(client, auth)) is not None and found.id == session.id:
            yield client


def _name(session: Session | None) -> str | None:
    return session.id if session is not None else None
