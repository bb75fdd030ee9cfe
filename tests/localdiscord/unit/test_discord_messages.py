"""The limits of messages, each at its edge. https://discord.com/developers/docs/resources/message#embed-limits"""

from __future__ import annotations

from typing import Any

import pytest

from localdiscord.errors import ApiError
from localdiscord.messages import check_message


def field(name: str = "n", value: str = "v") -> dict[str, str]:
    return {"name": name, "value": value}


FITS: list[dict[str, Any]] = [
    {"content": "x" * 2000},
    {"content": f"  {'x' * 2000}  "},  # surrounding blanks do not count
    {"embeds": [{"title": "t"}] * 10},
    {"embeds": [{"title": "x" * 256, "description": "x" * 4096}]},
    {"embeds": [{"fields": [field()] * 25}]},
    {"embeds": [{"fields": [field("x" * 256, "x" * 1024)]}]},
    {"embeds": [{"footer": {"text": "x" * 2048}, "author": {"name": "x" * 256}}]},
    {"embeds": [{"description": "x" * 3000}, {"description": "x" * 3000}]},
    {"embeds": [{"title": "t", "url": "https://example.org", "color": 0xFFFFFF}]},
    {"content": "x", "username": "x" * 80},
]

TOO_MUCH: list[tuple[dict[str, Any], str, str]] = [
    ({"content": "x" * 2001}, "content", "BASE_TYPE_MAX_LENGTH"),
    ({"embeds": [{"title": "t"}] * 11}, "embeds", "BASE_TYPE_MAX_LENGTH"),
    ({"embeds": [{"title": "x" * 257}]}, "embeds.0.title", "BASE_TYPE_MAX_LENGTH"),
    ({"embeds": [{"description": "x" * 4097}]}, "embeds.0.description", "BASE_TYPE_MAX_LENGTH"),
    ({"embeds": [{"fields": [field()] * 26}]}, "embeds.0.fields", "BASE_TYPE_MAX_LENGTH"),
    ({"embeds": [{"fields": [field("x" * 257)]}]}, "embeds.0.fields.0.name", "BASE_TYPE_MAX_LENGTH"),
    ({"embeds": [{"fields": [field("n", "x" * 1025)]}]}, "embeds.0.fields.0.value", "BASE_TYPE_MAX_LENGTH"),
    ({"embeds": [{"fields": [field(value=" ")]}]}, "embeds.0.fields.0.value", "BASE_TYPE_REQUIRED"),
    ({"embeds": [{"footer": {"text": "x" * 2049}}]}, "embeds.0.footer.text", "BASE_TYPE_MAX_LENGTH"),
    ({"embeds": [{"author": {"name": "x" * 257}}]}, "embeds.0.author.name", "BASE_TYPE_MAX_LENGTH"),
    ({"embeds": [{"description": "x" * 3000}, {"description": "x" * 3001}]}, "embeds", "MAX_EMBED_SIZE_EXCEEDED"),
    ({"embeds": [{"title": "t", "url": "javascript:x"}]}, "embeds.0.url", "URL_TYPE_INVALID_SCHEME"),
    ({"embeds": [{"title": "t", "color": 0x1000000}]}, "embeds.0.color", "NUMBER_TYPE_MAX"),
    ({"content": "x", "username": "x" * 81}, "username", "BASE_TYPE_BAD_LENGTH"),
    ({"content": "x", "username": "Discord alerts"}, "username", "USERNAME_INVALID_CONTAINS"),
    ({"content": ["x"]}, "content", "STRING_TYPE_CONVERT"),
    ({"embeds": {"title": "t"}}, "embeds", "LIST_TYPE_CONVERT"),
    ({"embeds": ["t"]}, "embeds.0", "MODEL_TYPE_CONVERT"),
    ({"embeds": [{"title": "t", "fields": [1]}]}, "embeds.0.fields.0", "MODEL_TYPE_CONVERT"),
    ({"embeds": [{"title": "t", "fields": 1}]}, "embeds.0.fields", "LIST_TYPE_CONVERT"),
]


@pytest.mark.parametrize("message", FITS)
def test_what_fits_is_taken(message: dict[str, Any]) -> None:
    check_message(message)


@pytest.mark.parametrize(("message", "path", "code"), TOO_MUCH)
def test_what_does_not_fit_is_refused_where_it_does_not(message: dict[str, Any], path: str, code: str) -> None:
    with pytest.raises(ApiError) as caught:
        check_message(message)
    assert caught.value.status == 400
    assert caught.value.body["code"] == 50035
    node = caught.value.body["errors"]
    for part in path.split("."):
        node = node[part]
    assert code in [error["code"] for error in node["_errors"]]


@pytest.mark.parametrize("message", [{}, {"content": ""}, {"content": "   "}, {"embeds": []}])
def test_an_empty_message_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        check_message(message)
    assert caught.value.body["code"] == 50006


@pytest.mark.parametrize("body", [None, [], "text", 1])
def test_what_is_not_an_object_is_refused(body: object) -> None:
    with pytest.raises(ApiError) as caught:
        check_message(body)
    assert caught.value.body["code"] == 50035
