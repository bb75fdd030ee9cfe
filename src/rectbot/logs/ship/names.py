"""Which names rotated files have.

Everybody who rotates has names of his own: bot.log.1, bot.log-20261127.gz, bot.log.2026-11-27_13-42-05, bot.1.log,
2026-11-27-bot.log, bot.log.old. In common they have that the log's own name is in them, in order, and that what is
added is numbers and a few words. A file with another word, such as bot-error.log, is another log.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(r"[^\W\d_]+|\d+")
_PACKED = re.compile(r"\.(?:gz|bz2|xz)$")
_MULTILOG = re.compile(r"@[0-9a-f]{24}\.[stu](?:\.gz)?")  # daemontools, runit and s6 rotate a file named `current`
_DATE_DIGITS = 6
_DATE = re.compile(r"(?<!\d)(?:(?:19|20)\d\d\D?(?:0[1-9]|1[0-2])\D?[0-3]\d|\d{10,19}(?!\d))")
_ADDED = re.compile(
    "[tzw]|utc|gmt|[ap]m|gz|bz|xz|old|bak|backup|prev|previous|last|orig|saved?|copy|archived?|rotated"
    "|mon|tue|wed|thu|fri|sat|sun|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec",
    re.IGNORECASE,
)


def is_rotated(name: str, live: str) -> bool:
    """Whether a file of this name may be what the log `live` was before a rotation."""
    if live == "current" and _MULTILOG.fullmatch(name):
        return True
    wanted = _TOKEN.findall(live)
    own_end = -1  # where the last token of the log's own name ended
    for match in _TOKEN.finditer(name):
        token = match[0]
        if wanted and token == wanted[0]:
            del wanted[0]
            own_end = match.end()
        elif not token.isdigit():
            if not _ADDED.fullmatch(token):
                return False
        elif match.start() == own_end and len(token) < _DATE_DIGITS and (wanted or "." not in live):
            return False  # bot2.log is another bot's
    return not wanted and name != live and (name.startswith(live) or _TOKEN.findall(name) != _TOKEN.findall(live))


def is_sibling(name: str, target: str) -> bool:
    """Whether names differ in their numbers only, as of files to which a link points one after the other."""
    return name != target and _shape(name) == _shape(target)


def unpacked(name: str) -> str:
    """The name that a compressed file had before; other names as they are."""
    return _PACKED.sub("", name)


def date_in(name: str) -> tuple[int, ...]:
    """The numbers of a name that has a date, year first, or seconds since 1970; none of another name.

    They sort as the dates do.
    """
    found = _DATE.search(unpacked(name))
    return tuple(int(number) for number in re.findall(r"\d+", unpacked(name)[found.start() :])) if found else ()


def serial(name: str) -> int:
    """The last number in a name: the higher, the older, where whoever rotates renames all files each time."""
    numbers = re.findall(r"\d+", unpacked(name))
    return int(numbers[-1]) if numbers else 0


def _shape(name: str) -> str:
    return re.sub(r"\d+", "0", unpacked(name))
