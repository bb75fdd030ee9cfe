"""Messages: the limits that Discord checks, and the message objects that it answers with.

https://discord.com/developers/docs/resources/message#embed-object-embed-limits
https://discord.com/developers/docs/resources/webhook#execute-webhook
"""

from __future__ import annotations

import json
import math
from typing import Any

from aiohttp import web
from multidict import MultiDictProxy

from localdiscord.errors import ApiError, Form
from localdiscord.world import CHANNEL_ID, Json, snowflake, timestamp

MAX_CONTENT = 2000
MAX_EMBEDS = 10
MAX_EMBEDS_TOTAL = 6000
MAX_FIELDS = 25
TEXT_LIMITS = {"title": 256, "description": 4096, "footer.text": 2048, "author.name": 256}
FIELD_LIMITS = {"name": 256, "value": 1024}
EPHEMERAL = 1 << 6
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


async def read_body(request: web.Request) -> Any:
    """The JSON of a request, or of the `payload_json` of a form; the form's files show up as `_files`.

    A form without `payload_json` is the object itself. Raises ApiError 400 for anything else.
    """
    try:
        if request.content_type in FORMS:
            return _from_form(await request.post())
        if request.content_type != "application/json":
            raise ApiError(400, 50035, "Invalid Form Body", {"_errors": [_content_type_error(request.content_type)]})
        return _parse(await request.text())
    except (web.HTTPException, ApiError):
        raise
    except Exception:  # a body that is not what its headers say fails in aiohttp in many ways
        raise ApiError(400, 50109, "The request body cannot be decoded; send JSON or a form.") from None


def _from_form(form: MultiDictProxy[Any]) -> Any:
    files = [field for field in form.values() if isinstance(field, web.FileField)]
    fields = {name: value for name, value in form.items() if isinstance(value, str)}
    body = _parse(fields["payload_json"]) if "payload_json" in fields else dict(fields)
    if isinstance(body, dict):
        body["_files"] = [{"filename": file.filename, "content_type": file.content_type} for file in files]
    return body


def _parse(text: str) -> Any:
    """JSON, and no more: no NaN, no number that is too large to be written again, nothing nested too deeply."""
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        raise ApiError(400, 50109, "The request body contains invalid JSON.") from None


def _refuse(text: str) -> Any:
    raise ValueError(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _content_type_error(found: str) -> Json:
    expected = "('application/json', 'application/x-www-form-urlencoded', 'multipart/form-data')"
    return {
        "code": "CONTENT_TYPE_INVALID",
        "message": f'Expected "Content-Type" header to be one of {expected}, not {found}.',
    }


async def read_message(request: web.Request) -> Json:
    """The message that a request wants to send. Raises ApiError 400 where Discord would refuse it."""
    return check_message(await read_body(request))


def check_message(body: Any) -> Json:
    """Checks a message against Discord's limits."""
    if not isinstance(body, dict):
        raise ApiError(
            400,
            50035,
            "Invalid Form Body",
            {"_errors": [{"code": "DICT_TYPE_CONVERT", "message": "Only dictionaries may be used in a DictType"}]},
        )
    form = Form()
    content = body.get("content")
    if content is not None and not isinstance(content, str | int | float):
        form.reject("content", "STRING_TYPE_CONVERT", "Could not interpret value as string.")
    elif content is not None:
        body["content"] = str(content).strip()
        _check_length(form, "content", body["content"], MAX_CONTENT)
    flags = body.get("flags") or 0
    if not isinstance(flags, int) or not 0 <= flags < 1 << 53:
        form.reject("flags", "NUMBER_TYPE_COERCE", "Value is not int.")
    if not isinstance(body.get("components") or [], list):
        form.reject("components", "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
    _check_username(form, body.get("username"))
    _check_embeds(form, body.get("embeds"))
    form.finish()
    if not any(body.get(key) for key in ("content", "embeds", "components", "_files", "poll", "sticker_ids")):
        raise ApiError(400, 50006, "Cannot send an empty message")
    return body


def _check_length(form: Form, path: str, text: str, limit: int) -> None:
    if len(text) > limit:
        form.reject(path, "BASE_TYPE_MAX_LENGTH", f"Must be {limit} or fewer in length.")


def _check_username(form: Form, name: Any) -> None:
    if name is None:
        return
    if not 1 <= len(str(name).strip()) <= 80:
        form.reject("username", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 80 in length.")
    for word in ("clyde", "discord"):
        if word in str(name).lower():
            form.reject("username", "USERNAME_INVALID_CONTAINS", f'Username cannot contain "{word}"')


def _check_embeds(form: Form, embeds: Any) -> None:
    if embeds is None:
        return
    if not isinstance(embeds, list):
        form.reject("embeds", "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
        return
    if len(embeds) > MAX_EMBEDS:
        form.reject("embeds", "BASE_TYPE_MAX_LENGTH", f"Must be {MAX_EMBEDS} or fewer in length.")
    total = sum(_check_embed(form, f"embeds.{number}", embed) for number, embed in enumerate(embeds))
    if total > MAX_EMBEDS_TOTAL:
        form.reject("embeds", "MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum size of {MAX_EMBEDS_TOTAL}")


def _check_embed(form: Form, path: str, embed: Any) -> int:
    """Checks one embed; returns how many characters it adds to the message's total."""
    if not isinstance(embed, dict):
        form.reject(path, "MODEL_TYPE_CONVERT", "Only dictionaries may be used in a ModelType")
        return 0
    total = sum(_check_text(form, path, embed, key, limit) for key, limit in TEXT_LIMITS.items())
    for key in ("url", "image.url", "thumbnail.url"):
        _check_url(form, f"{path}.{key}", _dig(embed, key))
    color = embed.get("color")
    if color is not None and not (isinstance(color, int) and 0 <= color <= 0xFFFFFF):
        form.reject(f"{path}.color", "NUMBER_TYPE_MAX", "int value should be between 0 and 16777215.")
    return total + _check_fields(form, f"{path}.fields", embed.get("fields"))


def _check_fields(form: Form, path: str, fields: Any) -> int:
    if fields is None:
        return 0
    if not isinstance(fields, list):
        form.reject(path, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
        return 0
    if len(fields) > MAX_FIELDS:
        form.reject(path, "BASE_TYPE_MAX_LENGTH", f"Must be {MAX_FIELDS} or fewer in length.")
    total = 0
    for number, field in enumerate(fields):
        if not isinstance(field, dict):
            form.reject(f"{path}.{number}", "MODEL_TYPE_CONVERT", "Only dictionaries may be used in a ModelType")
            continue
        for key, limit in FIELD_LIMITS.items():
            size = _check_text(form, f"{path}.{number}", field, key, limit)
            if not size:
                form.reject(f"{path}.{number}.{key}", "BASE_TYPE_REQUIRED", "This field is required")
            total += size
    return total


def _dig(node: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        node = node.get(key) if isinstance(node, dict) else None
    return node


def _check_text(form: Form, path: str, node: Any, key: str, limit: int) -> int:
    text = _dig(node, key)
    if text is None:
        return 0
    trimmed = str(text).strip()
    _check_length(form, f"{path}.{key}", trimmed, limit)
    return len(trimmed)


def _check_url(form: Form, path: str, url: Any) -> None:
    schemes = (
        ("http", "https", "attachment")
        if path.endswith(("image.url", "thumbnail.url"))
        else ("http", "https", "discord")
    )
    if url and str(url).split("://")[0].lower() not in schemes:
        message = f'Scheme "{str(url).split(":")[0]}" is not supported. Scheme must be one of {schemes}.'
        form.reject(path, "URL_TYPE_INVALID_SCHEME", message)


def build_message(body: Json, author: Json, channel_id: str = CHANNEL_ID, **extra: Any) -> Json:
    """The message object that Discord makes of a checked message."""
    files = body.get("_files", [])
    attachments = [
        {"id": snowflake(), "size": 0, "url": f"https://cdn.invalid/{file['filename']}", "proxy_url": "", **file}
        for file in files
    ]
    return {
        "id": snowflake(),
        "type": 0,
        "channel_id": channel_id,
        "author": author,
        "content": body.get("content") or "",
        "timestamp": timestamp(),
        "edited_timestamp": None,
        "tts": bool(body.get("tts")),
        "mention_everyone": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": attachments,
        "embeds": [{"type": "rich", **embed} for embed in body.get("embeds") or []],
        "components": body.get("components") or [],
        "pinned": False,
        "flags": int(body.get("flags") or 0),
        "nonce": body.get("nonce"),
        **extra,
    }


def edit_message(message: Json, body: Json) -> Json:
    """Changes a message in place, as PATCH does."""
    for key in ("content", "embeds", "components", "flags"):
        if key in body:
            message[key] = body[key] if body[key] is not None else ("" if key == "content" else [])
    message["edited_timestamp"] = timestamp()
    return message
