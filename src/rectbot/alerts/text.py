"""Texts made fit for Discord: long ones cut into messages, and those of others without what Discord would act on."""

from __future__ import annotations

import re
import unicodedata

# https://discord.com/developers/docs/resources/webhook#execute-webhook
MESSAGE_LENGTH = 2000
# A webhook may send five messages in two seconds; more than that nobody reads on a phone.
MOST_MESSAGES = 5


_MARKUP = re.compile(r"[\\\\*_~`|<>\[\]#]")
_ACTING = re.compile(r"@|:/|discord(?:app)?\.com|\.gg", re.IGNORECASE)  # mentions, links, invitations
_APART = "\u200b"  # a space of no width: what it stands in is text


def plain(text: str, limit: int) -> str:
    """A text of somebody else's as one line that Discord only shows: no markup, link or mention; at most `limit` of it.

    The template of Alertmanager's messages does the same.
    """
    line = "".join(" " if unicodedata.category(character)[0] in "CZ" else character for character in text)
    marked = _MARKUP.sub(lambda match: f"\\{match[0]}", " ".join(line.split())[:limit])
    return _ACTING.sub(lambda match: match[0] + _APART, marked)


def messages(text: str) -> list[str]:
    """`text` as messages of at most 2,000 characters, split at line ends where it can be; blank ones are left out.

    What does not fit into five messages is cut off, and the last one says how much that was.
    """
    rest = text.encode(errors="replace").decode().strip()  # bytes that were not UTF-8 come as lone surrogates
    parts: list[str] = []
    while rest and len(parts) < MOST_MESSAGES:
        part = _head(rest, MESSAGE_LENGTH)
        if len(parts) == MOST_MESSAGES - 1 and len(part) < len(rest):
            part = _head(rest, MESSAGE_LENGTH - 60)
            cut = len(rest) - len(part)
            parts.append(f"{part.rstrip()}\n… (cut: {cut:,} more characters)")
            break
        if part.strip():
            parts.append(part.rstrip())
        rest = rest[len(part) :].lstrip("\n")
    return parts


def _head(text: str, limit: int) -> str:
    """The beginning of `text` that fits into `limit`, up to a line's end if there is one in its second half.

    Counted in UTF-16 code units, which is never less than Discord counts: it does not say how it counts emoji.
    """
    fitting = text.encode("utf-16-le")[: 2 * limit].decode("utf-16-le", errors="ignore")
    if len(fitting) == len(text):
        return text
    end = fitting.rfind("\n")
    return fitting[:end] if end > len(fitting) // 2 else fitting
