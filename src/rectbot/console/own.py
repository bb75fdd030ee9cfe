"""The console's own style and script, under names that change with what is in them: a browser loads each once."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import Response

_FOLDER = Path(__file__).with_name("static")
_TYPES = {"css": "text/css", "js": "text/javascript"}
_TEXTS = {f"console.{kind}": (_FOLDER / f"console.{kind}").read_bytes() for kind in _TYPES}


def _named(name: str) -> str:
    stem, _, kind = name.partition(".")
    return f"/{stem}-{zlib.crc32(_TEXTS[name]):08x}.{kind}"


STYLE, SCRIPT = _named("console.css"), _named("console.js")


def add_routes(app: FastAPI) -> None:
    """Serves both; before a login too, as the login page has the same style."""
    for address, name in ((STYLE, "console.css"), (SCRIPT, "console.js")):
        app.add_api_route(address, _answering(_TEXTS[name], _TYPES[address.rpartition(".")[2]]))


def _answering(text: bytes, kind: str) -> Callable[[], Awaitable[Response]]:
    async def serve() -> Response:
        return Response(text, media_type=kind, headers={"Cache-Control": "public, max-age=31536000, immutable"})

    return serve
