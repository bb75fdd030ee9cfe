"""Keeps secrets out of all that is printed or logged: one function that blanks them out, in whatever form they stand.

What the settings hold is known by `know`: the value itself, the password and the token inside of a URL, and what they
become in an Authorization header. Beyond that, what looks like a secret is blanked out although nobody told us of it: a
webhook's token, a password in a URL, a bot's token, a header's credentials. Uses the standard library only, since the
agent that runs under the lease has nothing else.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from urllib.parse import unquote, urlsplit

HIDDEN = "***"
_SHORT = 6  # below so many characters a secret is blanked out only where it stands alone
_SEPARATOR = r"(?:/|%2f|\\+/|\\u002f)"
_LOOKS: tuple[tuple[re.Pattern[str], str], ...] = (
    # A webhook's URL in any writing; the ID before the token is none.
    (
        re.compile(rf"(webhooks{_SEPARATOR}+[^\s/%\\]{{1,64}}?{_SEPARATOR}+)[^\s/?#\"'<>%&\\]+", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    (
        re.compile(r"(\b[a-z][a-z0-9+.-]{0,30}:(?:\\?/){2}[^\s/:@\"']{0,256}:)[^\s/@\"']{1,1024}@", re.IGNORECASE),
        rf"\1{HIDDEN}@",
    ),
    (
        re.compile(
            r"(authorization[\"']?\s{0,4}[:=,]\s{0,4}(?:b(?=[\"']))?[\"']?(?:(?:basic|bearer|bot)\s{1,4})?+)[^\s\"',]+",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?<![\w-])[\w-]{23,32}\.[\w-]{6,7}\.[\w-]{27,64}(?![\w-])"), HIDDEN),  # a Discord bot's token
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), HIDDEN),
    (re.compile(r"(x-amz-(?:signature|credential|security-token)(?:=|%3d))[^&\s\"']+", re.IGNORECASE), rf"\1{HIDDEN}"),
)
_LETTERS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_DEEPEST = 4  # escapes of escapes of escapes
_ESCAPES = re.compile(r"[%\\&+]")
_HEX = "[0-9A-Fa-f]"
_ESCAPE = re.compile(
    rf"%(?P<percent>{_HEX}{{2}})|\\+x(?P<byte>{_HEX}{{2}})"
    rf"|\\+u(?P<high>[Dd][89ABab]{_HEX}{{2}})\\+u(?P<low>[Dd][C-Fc-f]{_HEX}{{2}})"
    rf"|\\+u(?P<unit>{_HEX}{{4}})|\\+U(?P<point>{_HEX}{{8}})|\\+(?P<letter>[nrtbf])"
    rf"|&\#[Xx](?P<hexadecimal>{_HEX}{{1,6}});|&\#(?P<decimal>[0-9]{{1,7}});|&(?P<entity>amp|lt|gt|quot|apos);"
)


class Redactor:
    """The secrets of one process."""

    def __init__(self) -> None:
        self._needles: dict[str, None] = {}  # as they are looked for, the longest first

    def know(
        self,
        secrets: Iterable[str],
        users: Iterable[str] = (),
        urls: Iterable[str] = (),
        services: Iterable[str] = (),
    ) -> None:
        """Blanks these out from now on, alone and, for an Authorization header, with each of these users.

        Of `urls` it is what is secret in them: a password, and a webhook's token; of `services`, addresses in which any
        part may be a token, whatever looks like one.
        """
        users, found = tuple(users), dict(self._needles)
        whole = chain.from_iterable(map(_pieces, secrets))
        for secret in filter(None, chain(whole, *map(_parts, urls), *map(_service_parts, services))):
            forms = (secret, _read(secret, codepoints=False)[0], _read(secret, codepoints=True)[0])
            found |= dict.fromkeys(filter(None, (*forms, *_encoded(secret, users))))
        self._needles = dict.fromkeys(sorted(found, key=len, reverse=True))

    def forget(self) -> None:
        """Knows none any more."""
        self._needles = {}

    def redact(self, text: str) -> str:
        """The text without any secret that is known, or looks like one."""
        text = self._without(text, text, None)
        if self._needles and _ESCAPES.search(text) is not None:
            for codepoints in (False, True):
                text = self._without(text, *_read(text, codepoints=codepoints))
        for look, put in _LOOKS:
            text = look.sub(put, text)
        return text

    def _without(self, text: str, read: str, places: list[tuple[int, int]] | None) -> str:
        """The text without the needles in `read`, which is the text, or what it stands for, each character's place."""
        hidden: list[tuple[int, int]] = []
        for needle in self._needles:
            at = read.find(needle)
            while at >= 0:
                end = at + len(needle)
                start, stop = (at, end) if places is None else _widened(text, places[at][0], places[end - 1][1])
                if len(needle) >= _SHORT or _stands_alone(text, start, stop):
                    hidden.append((start, stop))
                at = read.find(needle, end)
        return _blanked(text, hidden) if hidden else text


def _widened(text: str, start: int, stop: int) -> tuple[int, int]:
    """With the backslashes around it, which `_read` leaves out, but not the one that what follows is escaped with."""
    before = len(text[:start]) - len(text[:start].rstrip("\\"))
    after = len(text[stop:]) - len(text[stop:].lstrip("\\"))
    return start - before, stop + after // 2 * 2


def _stands_alone(text: str, start: int, stop: int) -> bool:
    around = text[max(0, start - 1) : start] + text[stop : stop + 1]
    return not any(character.isalnum() or character == "_" for character in around)


def _blanked(text: str, hidden: list[tuple[int, int]]) -> str:
    parts, end = [], 0
    for start, stop in sorted(hidden):
        if start >= end:
            parts += [text[end:start], HIDDEN]
        end = max(end, stop)
    return "".join([*parts, text[end:]])


def _read(text: str, *, codepoints: bool) -> tuple[str, list[tuple[int, int]]]:
    r"""What a text stands for when all its escapes are undone, also those of escapes; and where each character was.

    The characters are the bytes of UTF-8; `codepoints` says whether `\xe4` is one of those, or a character. A blank is
    a plus, as in a form, and there are no backslashes, since nobody can tell which of them are escapes.
    """
    read, places = "", []
    for place, character in enumerate(text):
        data = character.encode(errors="surrogatepass").decode("latin-1")
        read += data
        places += [(place, place + 1)] * len(data)
    for _ in range(_DEEPEST):
        if _ESCAPE.search(read) is None:
            break
        read, places = _undone(read, places, codepoints=codepoints)
    kept = [at for at, character in enumerate(read) if character != "\\"]
    return "".join(read[at] for at in kept).replace(" ", "+"), [places[at] for at in kept]


def _undone(read: str, places: list[tuple[int, int]], *, codepoints: bool) -> tuple[str, list[tuple[int, int]]]:
    """One round of it."""
    parts: list[str] = []
    moved: list[tuple[int, int]] = []
    end = 0
    for found in _ESCAPE.finditer(read):
        start, stop = found.span()
        data = _meant(found, codepoints=codepoints)
        parts += [read[end:start], data]
        moved += places[end:start] + [(places[start][0], places[stop - 1][1])] * len(data)
        end = stop
    return "".join([*parts, read[end:]]), moved + places[end:]


def _meant(found: re.Match[str], *, codepoints: bool) -> str:
    """The bytes that an escape stands for."""
    kind = found.lastgroup or ""
    value = found[kind]
    if kind in ("letter", "entity"):
        return (_LETTERS | _ENTITIES)[value]
    number = int(value, 10 if kind == "decimal" else 16)
    if kind == "percent" or (kind == "byte" and not codepoints):
        return chr(number)
    if kind == "low":
        number = 0x10000 + ((int(found["high"], 16) - 0xD800) << 10) + (number - 0xDC00)
    return chr(min(number, 0x10FFFF)).encode(errors="surrogatepass").decode("latin-1")


def _pieces(secret: str) -> Iterator[str]:
    """The secret; and where it may be several, each with a name, each of them."""
    yield secret.strip()
    named = [piece.partition(":")[2] for piece in re.split(r"[,;\s]+", secret)]
    yield from (piece for piece in named if len(piece) >= _SHORT)


def _parts(text: str) -> Iterator[str]:
    """What is secret in a URL; all of it if it is none."""
    try:
        url = urlsplit(text.strip())
        password = url.password
    except ValueError:
        yield text.strip()
        return
    if not url.netloc:
        yield text.strip()
    if password:
        yield from {password, unquote(password)}
    segments = [part for part in re.split("/|%2f", url.path, flags=re.IGNORECASE) if part]
    lower = [part.lower() for part in segments]
    if "webhooks" in lower:
        for token in segments[lower.index("webhooks") + 2 :][:1]:
            yield from {token, unquote(token)}


_TELLING = re.compile(r"pass|pwd|token|key|secret|auth", re.IGNORECASE)
_HOST = re.compile(r"(?:[\w-]+\.)+[a-z]{2,}|[\d.]+|localhost|\[.*\]", re.IGNORECASE | re.ASCII)


def _service_parts(url: str) -> Iterator[str]:
    """What may be secret in an address of a service, whose parts mean something else for each kind of them."""
    text = url.strip()
    place, *path = text.partition("://")[2].partition("?")[0].split("/")
    login, _, host = place.rpartition("@")
    user, _, password = login.partition(":")
    query = [pair.partition("=") for pair in re.split("[?&]", text)[1:]]
    sure = [text, password, *(value for name, _, value in query if _TELLING.search(name))]
    perhaps = [user, *path, *(part for part in host.split(":") if not _HOST.fullmatch(part))]
    perhaps += [value for _, _, value in query]
    for part in [*sure, *filter(_is_random, perhaps)]:
        yield from {part, unquote(part)}


def _is_random(text: str) -> bool:
    """Whether no person would have chosen this as a name."""
    kinds = [any(map(kind, text)) for kind in (str.isdigit, str.islower, str.isupper)]
    return len(text) >= 20 or (len(text) >= 8 and sum(kinds) >= 2 and not text.istitle())


def _encoded(secret: str, users: tuple[str, ...]) -> Iterator[str]:
    """In base64: alone, and as the password of each user. What fills up the end is left out: it says nothing."""
    for text in (secret, f":{secret}", *(f"{user}:{secret}" for user in users)):
        data = text.encode(errors="surrogatepass")
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(data).decode().rstrip("=")


_redactor = Redactor()
know = _redactor.know
forget = _redactor.forget
redact = _redactor.redact
