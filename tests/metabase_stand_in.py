"""An HTTP server that takes what Metabase takes, and refuses what it refuses, as its sources say (src/metabase).

Bodies are closed maps: a key too many is a 400, as is a missing one or one of another type. A session is needed where
Metabase needs one. A database is really connected to.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg

Json = dict[str, Any]
TRASH = 1  # the collection's number


class Refused(Exception):  # noqa: N818 (an answer)
    """An answer that is no success: a dict goes as JSON, a text as text."""

    def __init__(self, status: int, body: Json | str) -> None:
        super().__init__(status)
        self.status, self.body = status, body


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _map(value: object) -> bool:
    return isinstance(value, dict)


def _list(value: object) -> bool:
    return isinstance(value, list)


def _true_or_false(value: object) -> bool:
    return isinstance(value, bool)


def _native_query(value: object) -> bool:
    """The query language of before, which each version takes: {type, native: {query}, database}."""
    return (
        isinstance(value, dict)
        and set(value) == {"type", "native", "database"}
        and value["type"] == "native"
        and set(value["native"]) <= {"query", "template-tags"}
        and _text(value["native"].get("query"))
        and _positive(value["database"])
    )


Check = Callable[[object], bool]
_CARD: dict[str, Check] = {
    "name": _text,
    "dataset_query": _native_query,
    "display": _text,
    "visualization_settings": _map,
    "description": _text,
    "collection_id": _positive,
}
_DASHCARD: dict[str, Check] = {
    **dict.fromkeys(("id", "dashboard_tab_id"), _whole),
    **dict.fromkeys(("size_x", "size_y", "card_id", "action_id"), _positive),
    **dict.fromkeys(("row", "col"), _count),
    **dict.fromkeys(("parameter_mappings", "inline_parameters", "series"), _list),
    "visualization_settings": _map,
}


def check(body: object, required: dict[str, Check], optional: dict[str, Check] | None = None) -> Json:
    """A closed map of Malli's; null counts as left out for what is optional."""
    if not isinstance(body, dict):
        raise Refused(400, {"errors": {"_error": "Value must be a map."}})
    known = required | (optional or {})
    wrong = {name: "disallowed key" for name in body if name not in known}
    for name, fits in known.items():
        given = body.get(name)
        if (given is None and name in required) or (given is not None and not fits(given)):
            wrong[name] = f"value must be {fits.__name__.strip('_')}"
    if wrong:
        raise Refused(400, {"errors": wrong, "specific-errors": {name: [text] for name, text in wrong.items()}})
    return body


@dataclass
class StandIn:
    port: int = 0
    version: str = "v0.65.4"
    site: str = field(default_factory=lambda: str(uuid.uuid4()))
    token: str | None = field(default_factory=lambda: str(uuid.uuid4()))
    user: tuple[str, str] | None = None
    superuser: bool = True
    sessions: set[str] = field(default_factory=set)
    databases: dict[int, Json] = field(default_factory=dict)
    collections: dict[int, Json] = field(
        default_factory=lambda: {TRASH: {"id": TRASH, "name": "Trash", "type": "trash"}}
    )
    cards: dict[int, Json] = field(default_factory=dict)
    dashboards: dict[int, Json] = field(default_factory=dict)
    journal: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    starting: list[tuple[int, str, str]] = field(default_factory=list)  # (status, type, body): the first answers
    planned: dict[tuple[str, str], tuple[int, dict[str, str], str]] = field(
        default_factory=dict
    )  # instead of an answer
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(11, 10_000)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def made(self) -> list[str]:
        """The paths of all that was made, in order."""
        return [
            path for method, path in self.journal if method == "POST" and path not in ("/api/session", "/api/setup")
        ]

    def row(self, kind: str, name: str) -> Json:
        return next(row for row in getattr(self, kind).values() if row["name"] == name)

    # --- what the paths do

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: object, session: str) -> Any:
        where = path.removeprefix("/api/").split("/")
        if (method, path) == ("GET", "/api/session/properties"):
            shown: Json = {"has-user-setup": self.user is not None, "version": {"tag": self.version}}
            shown |= {"setup-token": self.token, "engines": {}}
            return shown | ({"site-uuid": self.site} if session in self.sessions else {})
        if (method, path) == ("POST", "/api/setup"):
            return self._setup(body)
        if (method, path) == ("POST", "/api/session"):
            return self._login(body)
        if session not in self.sessions:
            raise Refused(401, "Unauthenticated")
        if (method, path) == ("DELETE", "/api/session"):
            self.sessions.remove(session)
            return None
        number = int(where[1]) if len(where) > 1 and where[1].isdecimal() else 0
        if len(where) == 3 and where[2] == "items" and method == "GET":
            return self._items(number, query)
        table = {"database": "databases", "collection": "collections", "card": "cards", "dashboard": "dashboards"}
        if where[0] not in table or len(where) > 2 or (len(where) == 2 and not number):
            raise Refused(404, "API endpoint does not exist.")
        rows: dict[int, Json] = getattr(self, table[where[0]])
        if not number:
            return self._all(where[0], rows) if method == "GET" else self._make(where[0], rows, body)
        if number not in rows:
            raise Refused(404, "Not found.")
        return rows[number] if method == "GET" else self._update(where[0], rows[number], body)

    def _setup(self, body: object) -> Json:
        found = check(body, {"token": _text, "user": _map, "prefs": _map}, {"database": _map})
        if found["token"] != self.token:
            raise Refused(400, {"errors": {"token": "Token does not match the setup token."}})
        optional: dict[str, Check] = dict.fromkeys(("first_name", "last_name", "site_name", "password_confirm"), _text)
        user = check(found["user"], {"email": _text, "password": _good_password}, optional)
        check(found["prefs"], {"site_name": _text}, {"site_locale": _text, "allow_tracking": _true_or_false})
        if self.user is not None:
            text = "The /api/setup route can only be used to create the first user, however a user currently exists."
            raise Refused(403, text)
        self.user, self.token = (user["email"], user["password"]), None
        return self._session()

    def _login(self, body: object) -> Json:
        found = check(body, {"username": _text, "password": _text})
        if self.user is None or (found["username"].lower(), found["password"]) != (self.user[0].lower(), self.user[1]):
            raise Refused(401, {"errors": {"password": "did not match stored password"}})
        return self._session()

    def _session(self) -> Json:
        self.sessions.add(session := str(uuid.uuid4()))
        return {"id": session}

    def _items(self, number: int, query: dict[str, list[str]]) -> Json:
        if number not in self.collections:
            raise Refused(404, "Not found.")
        rows = []
        for model in query["models"]:
            for row in {"card": self.cards, "dashboard": self.dashboards}[model].values():
                if row["collection_id"] == number and not row["archived"]:
                    rows.append({"id": row["id"], "name": row["name"], "model": model})
        return {"total": len(rows), "data": rows, "models": query["models"], "limit": None, "offset": None}

    def _all(self, kind: str, rows: dict[int, Json]) -> Any:
        if kind == "database":
            return {"data": list(rows.values()), "total": len(rows)}
        if kind == "collection":
            shown = [row for row in rows.values() if not row.get("archived") and row["id"] != TRASH]
            return [{"id": "root", "name": "Our analytics", "can_write": True}, *shown]
        raise Refused(400, "this stand-in has no list of that")

    def _make(self, kind: str, rows: dict[int, Json], body: object) -> Json:
        row: Json = {"id": next(self.numbers), "archived": False}
        if kind == "database":
            self._only_superusers()
            found = check(body, {"name": _text, "engine": _text, "details": _map}, {"is_full_sync": _true_or_false})
            assert found["engine"] == "postgres"
            row |= found | {"details": _connected(found["details"])}
        elif kind == "collection":
            row |= check(body, {"name": _text}, {"description": _text, "parent_id": _positive})
            row |= {"location": f"/{row['parent_id']}/" if row.get("parent_id") else "/"}
        elif kind == "card":
            need = {name: _CARD[name] for name in ("name", "dataset_query", "display", "visualization_settings")}
            row |= {"collection_id": None} | check(body, need, _CARD)
            self._check_card(row)
        else:
            optional: dict[str, Check] = {"description": _text, "collection_id": _positive, "parameters": _list}
            row |= {"collection_id": None} | check(body, {"name": _text}, optional) | {"dashcards": [], "tabs": []}
        rows[row["id"]] = row
        return row

    def _update(self, kind: str, row: Json, body: object) -> Json:
        common: dict[str, Check] = {"name": _text, "archived": _true_or_false, "collection_id": _positive}
        if kind == "database":
            self._only_superusers()
            found = check(body, {}, {"name": _text, "engine": _text, "details": _map, "is_full_sync": _true_or_false})
            if "details" in found:
                found["details"] = row["details"] | _connected(row["details"] | found["details"])
        elif kind == "card":
            found = check(body, {}, _CARD | common)
            self._check_card(row | found)
        elif kind == "dashboard":
            found = dict(check(body, {}, common | {"description": _text, "dashcards": _list, "tabs": _list}))
            if "dashcards" in found:
                found |= self._dashcards(row, found["dashcards"], found.get("tabs") or [])
        else:
            found = check(body, {}, {"name": _text, "archived": _true_or_false, "parent_id": _positive})
        row |= found
        return row

    def _only_superusers(self) -> None:
        if not self.superuser:
            raise Refused(403, "You don't have permissions to do that.")

    def _check_card(self, row: Json) -> None:
        if row["dataset_query"]["database"] not in self.databases:
            raise Refused(404, "Not found.")
        if row["collection_id"] and row["collection_id"] not in self.collections:
            raise Refused(404, "Not found.")

    def _dashcards(self, row: Json, given: list[Any], tabs: list[Any]) -> Json:
        """Those with a number below zero are new; one that is left out is removed, and so is a tab."""
        if row["archived"]:
            raise Refused(404, "The object has been archived.")
        need = {name: _DASHCARD[name] for name in ("id", "size_x", "size_y", "row", "col")}
        if len({card["id"] for card in given}) != len(given):
            raise Refused(400, {"errors": {"dashcards": "value must be seq of maps in which ids are unique"}})
        for tab in tabs:
            check(tab, {"id": _whole, "name": _text})
        placed = []
        for card in given:
            check(card, need, _DASHCARD)
            for series in card.get("series") or []:
                check(series, {"id": _positive})
            if tabs and card.get("dashboard_tab_id") not in [tab["id"] for tab in tabs]:
                raise Refused(400, "This dashboard has tab, makes sure every card has a tab")
            if card.get("card_id") is not None:
                if card["card_id"] not in self.cards:
                    raise Refused(404, "Not found.")
                if card["id"] < 0 and self.cards[card["card_id"]]["archived"]:
                    raise Refused(404, "The object has been archived.")
            card_id = card["id"] if card["id"] > 0 else next(self.numbers)
            more = {"dashboard_id": row["id"], "card": self.cards.get(card.get("card_id", 0)), "entity_id": "x" * 21}
            placed.append(
                {"series": [], "parameter_mappings": [], "visualization_settings": {}} | card | more | {"id": card_id}
            )
        return {"dashcards": placed, "tabs": [tab | {"dashboard_id": row["id"], "position": 0} for tab in tabs]}


def _good_password(value: object) -> bool:
    return isinstance(value, str) and len(value) >= 6 and any(letter.isdigit() for letter in value)


def _connected(details: Json) -> Json:
    """As Metabase does before it takes a database."""
    known = {"host", "port", "dbname", "user", "password", "ssl", "ssl-mode"}
    assert set(details) <= known, "a setting that Metabase's PostgreSQL driver does not have"
    names = ("host", "port", "dbname", "user", "password")
    try:
        with psycopg.connect(**{name: details[name] for name in names}, connect_timeout=10):
            return details
    except psycopg.Error as error:
        raise Refused(400, {"message": str(error), "errors": {}}) from None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stand_in: StandIn

    def do_GET(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        self.stand_in.headers.append(dict(self.headers.items()))
        if url.path == "/api/health":
            ready = (200, "application/json", '{"status": "ok"}')
            status, kind, text = self.stand_in.starting.pop(0) if self.stand_in.starting else ready
            self._send(status, {"Content-Type": kind, "Location": "http://127.0.0.1:1/"}, text)
            return
        self.stand_in.journal.append((self.command, url.path))
        self._send(*(self.stand_in.planned.get((self.command, url.path)) or self._answer(url.path, url.query, raw)))

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def _answer(self, path: str, query: str, raw: bytes) -> tuple[int, dict[str, str], str]:
        as_json = {"Content-Type": "application/json;charset=utf-8"}
        try:
            if raw and self.headers.get("Content-Type") != "application/json":
                raise Refused(415, "Unsupported Media Type")
            session = self.headers.get("X-Metabase-Session", "")
            body = json.loads(raw) if raw else None
            found = self.stand_in.answer(self.command, path, parse_qs(query), body, session)
        except Refused as refused:
            if isinstance(refused.body, str):
                return refused.status, {"Content-Type": "text/plain;charset=utf-8"}, refused.body
            return refused.status, as_json, json.dumps(refused.body)
        return (204, {}, "") if found is None else (200, as_json, json.dumps(found))

    def _send(self, status: int, headers: dict[str, str], text: str) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def metabase_stand_in(port: int = 0) -> Iterator[StandIn]:
    stand_in = StandIn()
    handler = type("Handler", (_Handler,), {"stand_in": stand_in})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    stand_in.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
