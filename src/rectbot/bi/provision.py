"""Brings Metabase in line with what rectbot wants of it: a database, a collection, questions, a dashboard of them.

Run again it makes nothing twice. What was made is found by its number, which is remembered in the history; else by its
name in the collection, as after a run that was cut short. Ours are the connection, the questions' SQL and how the
answer is drawn: each run brings them back. The operator's are names, descriptions, places, and what lies in the trash.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from foundation.terminal import one_line
from rectbot.bi.client import Metabase, MetabaseError
from rectbot.bi.questions import (
    COLLECTION,
    COLLECTION_TEXT,
    DASHBOARD,
    DASHBOARD_TEXT,
    DATABASE,
    QUESTIONS,
    Question,
)

_OF_A_CARD = (  # what an update of a dashboard says of a card that stays; all else in the answer is about it
    *("id", "size_x", "size_y", "row", "col", "card_id", "action_id", "dashboard_tab_id"),
    *("parameter_mappings", "visualization_settings", "inline_parameters"),
)


@dataclass
class Made:
    """The numbers of what was made in one Metabase, which `site` tells from all others."""

    site: str = ""
    database: int = 0
    collection: int = 0
    dashboard: int = 0
    questions: dict[str, int] = field(default_factory=dict)
    placed: list[str] = field(default_factory=list)  # questions that were put on the dashboard once

    @classmethod
    def read(cls, text: str) -> Made:
        """What was remembered; nothing, where that is not to be read."""
        try:
            found = json.loads(text or "{}")
            return cls(**{name: found[name] for name in cls.__dataclass_fields__ if name in found})
        except (ValueError, TypeError):
            return cls()

    def text(self) -> str:
        """To be remembered."""
        return json.dumps(asdict(self))


_UNKNOWN = "Metabase's answers are not as rectbot knows them: take the image that the compose file pins"
Remember = Callable[[Made], None]


def provision(metabase: Metabase, made: Made, connection: dict[str, Any], remember: Remember) -> Iterator[str]:
    """Does it all, and yields a line for each thing that was made or that stays as the operator has it.

    `metabase` is logged in; `connection` is what Metabase wants to know of the database. `made` is what was remembered;
    what is to be remembered now is given to `remember` at each step. Raises MetabaseError.
    """
    properties = metabase.ask("GET", "/api/session/properties")
    site = str(properties.get("site-uuid") or "") if isinstance(properties, dict) else ""
    work = _Work(
        metabase, made if made.site == site else Made(site), remember
    )  # in another one the numbers mean nothing
    try:
        yield from work.connect(connection)
        yield from work.collect()
        yield from work.put_questions()
        yield from work.put_dashboard()
    except (KeyError, TypeError, AttributeError):
        raise MetabaseError(_UNKNOWN) from None


@dataclass
class _Work:
    metabase: Metabase
    made: Made
    save: Remember
    trash: set[str] = field(default_factory=set)  # questions that the operator has put away

    def connect(self, details: dict[str, Any]) -> Iterator[str]:
        """The history as a database of Metabase's."""
        found = self._known("database", self.made.database) or self._database_by_name()
        if found is not None:
            self.made.database = _number(found)
            self.metabase.ask("PUT", f"/api/database/{self.made.database}", {"details": details})
        else:
            body = {"name": DATABASE, "engine": "postgres", "details": details, "is_full_sync": True}
            self.made.database = _number(self.metabase.ask("POST", "/api/database", body))
            yield f"connected the history as database {DATABASE!r}"
        self.save(self.made)

    def collect(self) -> Iterator[str]:
        """The collection of all the rest."""
        found = self._known("collection", self.made.collection) or self._collection_by_name()
        if found is not None and found.get("archived"):
            raise MetabaseError(
                f"the collection {one_line(found.get('name'))!r} is in Metabase's trash: restore it there, or delete it"
                " for good to have it made anew; then run this again"
            )
        if found is not None:
            self.made.collection = _number(found)
        else:
            body = {"name": COLLECTION, "description": COLLECTION_TEXT}
            self.made.collection = _number(self.metabase.ask("POST", "/api/collection", body))
            yield f"made the collection {COLLECTION!r}"
        self.save(self.made)

    def put_questions(self) -> Iterator[str]:
        """Each question, anew or brought up to date."""
        names = self._named("card")
        for question in QUESTIONS:
            found = self._known("card", self.made.questions.get(question.key, names.get(question.name, 0)))
            if found is not None and found.get("archived"):
                self.trash.add(question.key)
                yield f"the question {one_line(found.get('name'))!r} is in Metabase's trash, and stays there"
            elif found is not None:
                self.metabase.ask("PUT", f"/api/card/{_number(found)}", self._drawn(question))
            else:
                self._forget(question)
                whose = {"name": question.name, "description": question.text, "collection_id": self.made.collection}
                found = self.metabase.ask("POST", "/api/card", self._drawn(question) | whose)
                yield f"made the question {question.name!r}"
            self.made.questions[question.key] = _number(found)
            self.save(self.made)

    def _forget(self, question: Question) -> None:
        """What is made anew is put on the dashboard anew."""
        self.made.questions.pop(question.key, None)
        self.made.placed = [key for key in self.made.placed if key != question.key]
        self.save(self.made)

    def _drawn(self, question: Question) -> dict[str, Any]:
        query = {"type": "native", "native": {"query": question.sql}, "database": self.made.database}
        return {"dataset_query": query, "display": question.display, "visualization_settings": question.looks}

    def put_dashboard(self) -> Iterator[str]:
        """The dashboard, with those questions on it that have never been."""
        names = self._named("dashboard")
        found = self._known("dashboard", self.made.dashboard or names.get(DASHBOARD, 0))
        if found is not None and found.get("archived"):
            yield f"the dashboard {one_line(found.get('name'))!r} is in Metabase's trash, and stays there"
            return
        if found is None:
            body = {"name": DASHBOARD, "description": DASHBOARD_TEXT, "collection_id": self.made.collection}
            found = self.metabase.ask("POST", "/api/dashboard", body)
            self.made.placed = []
            yield f"made the dashboard {DASHBOARD!r}"
        self.made.dashboard = _number(found)
        self.save(self.made)
        cards, tabs = found.get("dashcards") or [], found.get("tabs") or []
        there = {card.get("card_id") for card in cards}
        missing = [
            question
            for question in QUESTIONS
            if question.key not in (*self.made.placed, *self.trash) and self.made.questions[question.key] not in there
        ]
        if missing:
            body = {"dashcards": [*map(_kept, cards), *self._placed(missing, cards, tabs)]}
            if tabs:  # those that are left out would be removed
                body["tabs"] = [{"id": tab["id"], "name": tab["name"]} for tab in tabs]
            self.metabase.ask("PUT", f"/api/dashboard/{self.made.dashboard}", body)
            yield f"put {len(missing)} questions on the dashboard"
        self.made.placed = [question.key for question in QUESTIONS if question.key not in self.trash]
        self.save(self.made)

    def _placed(
        self, missing: list[Question], cards: list[dict[str, Any]], tabs: list[dict[str, Any]]
    ) -> Iterator[dict[str, Any]]:
        """Where they belong; on a dashboard with something on it, below that."""
        below = max((card["row"] + card["size_y"] for card in cards), default=0)
        top = min(question.place.row for question in missing) if cards else 0
        for number, question in enumerate(missing, 1):
            place = question.place
            card = {"id": -number, "card_id": self.made.questions[question.key]}
            card |= place._asdict() | {"row": below + place.row - top}
            yield card | ({"dashboard_tab_id": tabs[0]["id"]} if tabs else {})

    def _known(self, kind: str, number: int) -> dict[str, Any] | None:
        return self.metabase.find(f"/api/{kind}/{number}") if number else None

    def _database_by_name(self) -> dict[str, Any] | None:
        found = self.metabase.ask("GET", "/api/database")
        rows = found.get("data", []) if isinstance(found, dict) else found
        return next((row for row in rows if row.get("name") == DATABASE and row.get("engine") == "postgres"), None)

    def _collection_by_name(self) -> dict[str, Any] | None:
        found = self.metabase.ask("GET", "/api/collection")
        mine = (row for row in found if row.get("name") == COLLECTION and row.get("location") == "/")
        return next(mine, None)

    def _named(self, kind: str) -> dict[str, int]:
        """The numbers of the collection's things of this kind, by name."""
        found = self.metabase.ask("GET", f"/api/collection/{self.made.collection}/items?models={kind}")
        return {row["name"]: row["id"] for row in found.get("data", [])} if isinstance(found, dict) else {}


def _kept(card: dict[str, Any]) -> dict[str, Any]:
    """A card of the dashboard as an update has it, so that nothing of it changes."""
    series = [{"id": each["id"]} for each in card.get("series") or []]
    return {name: card[name] for name in _OF_A_CARD if name in card} | ({"series": series} if series else {})


def _number(found: Any) -> int:
    number = found.get("id") if isinstance(found, dict) else None
    if not isinstance(number, int):
        raise MetabaseError(_UNKNOWN)
    return number
