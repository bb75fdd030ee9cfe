"""A query or a link with the variables' values: https://grafana.com/docs/grafana/latest/dashboards/variables/variable-syntax/"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from rectbot.dashboards.variables import ALL, Variable

Values = Mapping[str, Sequence[str] | None]
"""The chosen values of each variable by its name; None: all."""
_PLACE = re.compile(
    r"\$\{(?P<braced>\w+)(?::(?P<format>[\w:]+))?\}|\$(?P<bare>\w+)|\[\[(?P<old>\w+)(?::(?P<old_format>\w+))?\]\]"
)


@dataclass(frozen=True, slots=True)
class Window:
    """The time that is looked at, as Unix times; the step of its samples and the scrape interval, in seconds."""

    start: float
    end: float
    step: float = 15
    scrape: float = 15


def interpolate(text: str, source: str, known: Sequence[Variable], values: Values, window: Window) -> str:
    """A query or a link with the variables' values in place of `$name`, `${name:format}` and `[[name]]`.

    `source` is where it goes: "prometheus" and "loki" get values as regular expressions, quoted for the string that
    they stand in; "" gets them as they are. What is not known stays as it is.
    """
    by_name = {variable.name: variable for variable in known}
    built_in = _built_in(window)

    def put(found: re.Match[str]) -> str:
        name = found["braced"] or found["bare"] or found["old"]
        style = found["format"] or found["old_format"] or ""
        if name in built_in:
            return _moment(built_in[name], style) if style else built_in[name]
        if name == "__all_variables":
            return "&".join(_written(each, values.get(each.name), "queryparam", window) for each in known)
        if name not in by_name:
            return found[0]
        return _written(by_name[name], values.get(name), style or source, window)

    return _PLACE.sub(put, text)


def _built_in(window: Window) -> dict[str, str]:
    length = max(1, round(window.end - window.start))
    rate = max(window.step + window.scrape, 4 * window.scrape)
    start, end = str(round(window.start * 1000)), str(round(window.end * 1000))
    return {
        "__interval": _duration(window.step),
        "__auto": _duration(window.step),
        "__interval_ms": str(round(window.step * 1000)),
        "__rate_interval": _duration(rate),
        "__rate_interval_ms": str(round(rate * 1000)),
        "__range": f"{length}s",
        "__range_s": str(length),
        "__range_ms": str(length * 1000),
        "__from": start,
        "__to": end,
        "__url_time_range": f"from={start}&to={end}",
    }


def _duration(amount: float) -> str:
    return f"{amount:.0f}s" if amount == int(amount) else f"{amount * 1000:.0f}ms"


def _moment(text: str, style: str) -> str:
    """`${__from:date:iso}`, `${__from:date:seconds}`."""
    if not style.startswith("date") or not text.isdigit():
        return text
    if style.endswith("seconds"):
        return str(int(text) // 1000)
    return datetime.fromtimestamp(int(text) / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _written(variable: Variable, chosen: Sequence[str] | None, style: str, window: Window) -> str:
    if style == "queryparam":
        everything = variable.all_value is not None or variable.include_all
        words = chosen if chosen is not None else [ALL] if everything else []
        return "&".join(f"var-{variable.name}={quote(word, safe='$')}" for word in words)
    if variable.kind == "interval" and list(chosen or ()) == ["auto"]:
        return _duration(max(window.step, 1))
    if chosen is None:
        return variable.all_value or (".*" if variable.include_all else "")
    if style in ("prometheus", "loki"):
        return chosen_pattern(chosen) if variable.multi or variable.include_all else ",".join(chosen)
    return _FORMATS.get(style, ",".join)(chosen)


def _each(put: Callable[[str], str], joint: str = ",") -> Callable[[Sequence[str]], str]:
    return lambda words: joint.join(map(put, words))


def _alternatives(words: Sequence[str]) -> str:
    escaped = [_escaped(word).replace("`", r"\x60") for word in words]  # which would end a raw string
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


_FORMATS: dict[str, Callable[[Sequence[str]], str]] = {
    "pipe": "|".join,
    "regex": _alternatives,
    "json": lambda words: json.dumps(list(words) if len(words) != 1 else words[0], ensure_ascii=False),
    "percentencode": lambda words: quote(",".join(words), safe=""),
    "uriencode": lambda words: quote(",".join(words), safe=":/?#[]@!$&'()*+,;="),
    "glob": lambda words: words[0] if len(words) == 1 else "{" + ",".join(words) + "}",
    "doublequote": _each(lambda word: '"' + word.replace('"', '\\"') + '"'),
    "singlequote": _each(lambda word: "'" + word.replace("'", "\\'") + "'"),
    "sqlstring": _each(lambda word: "'" + word.replace("'", "''") + "'"),
}


def _escaped(word: str) -> str:
    return re.sub(r"[\\^$.*+?()\[\]{}|]", r"\\\g<0>", word)


def chosen_pattern(words: Sequence[str]) -> str:
    """A regular expression that matches these words and no other, as it stands between quotes."""
    escaped = [quoted_inside(_escaped(word)) for word in words]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def quoted_inside(text: str) -> str:
    """As it stands between the quotes of a string in PromQL or LogQL."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
