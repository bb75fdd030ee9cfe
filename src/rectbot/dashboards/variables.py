"""A dashboard's variables: https://grafana.com/docs/grafana/latest/dashboards/variables/"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import re2

Json = Mapping[str, Any]
ALL = "$__all"  # Grafana's word for all
_LABEL_VALUES = re.compile(r"\s*label_values\((?:(?P<metric>.+),)?\s*(?P<label>\w+)\s*\)\s*", re.DOTALL)
_QUERY_RESULT = re.compile(r"\s*query_result\((?P<query>.+)\)\s*", re.DOTALL)
_METRICS = re.compile(r"\s*metrics\((?P<pattern>.*)\)\s*", re.DOTALL)
_KINDS = ("query", "custom", "textbox", "datasource", "interval", "constant")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Variable:
    """A dashboard's variable.

    `kind` is query, custom, textbox, datasource, interval or constant. The values of a query variable are those of
    `of_label`, in Prometheus of the series that match `metric`; or the series of `query`. `choices` are what else may
    be chosen, and `texts` how choices are shown. `all_value` stands for all; "" with `include_all`: all choices are
    written out. `default` is chosen at first; None: all, or the first choice. `lack` says why it has no values.
    """

    name: str
    label: str
    kind: str
    source: str = ""
    metric: str = ""
    of_label: str = ""
    multi: bool = False
    all_value: str | None = None
    choices: tuple[str, ...] = ()
    include_all: bool = False
    default: tuple[str, ...] | None = None
    query: str = ""
    regex: str = ""
    sort: int = 1
    hidden: bool = False
    texts: tuple[tuple[str, str], ...] = ()
    lack: str = ""

    @property
    def decided(self) -> bool:
        """Whether its value is known before its choices are."""
        if self.kind != "query" or self.default is not None:
            return True
        return self.include_all and bool(self.all_value)

    def kept(self, found: Iterable[str]) -> list[str]:
        """Of values that a server has, what the variable's regular expression leaves, in its order."""
        values = list(dict.fromkeys(text for value in found if (text := self._cut(str(value)))))
        match self.sort:
            case 0:
                return values
            case 3 | 4:
                values.sort(key=lambda text: float(number[0]) if (number := _NUMBER.search(text)) else -1.0)
            case 5 | 6:
                values.sort(key=str.lower)
            case 7 | 8:
                values.sort(key=_natural)
            case _:
                values.sort()
        return values[::-1] if self.sort in (2, 4, 6, 8) else values

    def _cut(self, value: str) -> str:
        if not self.regex:
            return value
        body = self.regex
        if body.startswith("/") and body.rfind("/") > 0:
            body = body[1 : body.rfind("/")]
        # JavaScript writes (?<name>...), RE2's Python binding (?P<name>...).
        found = re2.search(re.sub(r"\(\?<(?=[A-Za-z])", "(?P<", body), value)
        if found is None:
            return ""
        named = found.groupdict()
        return str(named.get("value") or (found.group(1) if found.re.groups else value) or "")


def _natural(text: str) -> list[tuple[bool, int, str]]:
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", text) if part]


def variables(dashboard: Json) -> list[Variable]:
    """The variables, in their order."""
    given = (dashboard.get("templating") or {}).get("list") or []
    return [_variable(each) for each in given if each.get("name")]


def _variable(given: Json) -> Variable:
    kind = str(given.get("type", ""))
    everything = bool(given.get("includeAll"))
    found = Variable(
        name=str(given["name"]),
        label=str(given.get("label") or given["name"]),
        kind=kind if kind in _KINDS else "constant",
        multi=bool(given.get("multi")),
        include_all=everything,
        all_value=(given.get("allValue") or "") if everything else None,
        regex=str(given.get("regex") or ""),
        sort=int(given.get("sort") or (1 if kind == "query" and "sort" not in given else 0)),
        hidden=kind == "constant" or int(given.get("hide") or 0) == 2,
        default=_default(given),
    )
    if kind not in _KINDS:
        return replace(
            found, lack=f"the variable {found.name} is of the type {kind!r}, which the console does not know"
        )
    return _READERS[kind](found, given)


def _default(given: Json) -> tuple[str, ...] | None:
    """What the file has as chosen; None for all, and where it says nothing."""
    value = (given.get("current") or {}).get("value")
    values = [str(each) for each in (value if isinstance(value, list) else [value]) if each not in (None, "")]
    return None if not values or ALL in values else tuple(values)


def _of_list(found: Variable, given: Json) -> Variable:
    """`a, b, text : value`."""
    pairs = []
    for word in _words(str(given.get("query") or "")):
        text, colon, value = word.partition(" : ")
        pairs.append((value.strip() if colon else text.strip(), text.strip()))
    choices = tuple(value for value, _ in pairs)
    default = found.default if found.default and set(found.default) <= set(choices) else None
    if default is None and not found.include_all:
        default = choices[:1] or None
    texts = tuple((value, text) for value, text in pairs if value != text)
    return replace(found, choices=choices, default=default, texts=texts, query="")


def _words(text: str) -> list[str]:
    r"""Between commas; `\,` is a comma."""
    return [word.replace("\0", ",").strip() for word in text.replace("\\,", "\0").split(",") if word.strip()]


def _of_interval(found: Variable, given: Json) -> Variable:
    choices = tuple(_words(str(given.get("query") or "1m,10m,30m,1h")))
    automatic = ("auto",) if given.get("auto") else ()
    default = found.default
    if default is not None and default[0].startswith("$__auto"):
        default = ("auto",)
    known = (*automatic, *choices)
    return replace(found, choices=known, default=default if default and default[0] in known else known[:1], multi=False)


def _of_source(found: Variable, given: Json) -> Variable:
    """Of the type that it asks for there is one: ours."""
    kind = str(given.get("query") or "prometheus")
    lack = "" if kind in ("prometheus", "loki") else f"the console has no data source of the type {kind!r}"
    return replace(found, source=kind, choices=(kind,), default=(kind,), lack=lack, multi=False, include_all=False)


def _of_text(found: Variable, given: Json) -> Variable:
    text = str(given.get("query") or "")
    return replace(found, default=found.default or ((text,) if text else None), include_all=False, all_value=None)


def _of_query(found: Variable, given: Json) -> Variable:
    asked = given.get("query", given.get("definition", ""))
    source = _kind_of_source(given.get("datasource"), asked)
    if isinstance(asked, Mapping) and "label" in asked and "stream" in asked:
        return replace(found, source="loki", of_label=str(asked["label"]), metric=str(asked["stream"]))
    text = str(asked.get("query") or "") if isinstance(asked, Mapping) else str(asked or "")
    if match := _LABEL_VALUES.fullmatch(text):
        return replace(found, source=source, metric=(match["metric"] or "").strip(), of_label=match["label"])
    if match := _QUERY_RESULT.fullmatch(text):
        return replace(found, source=source, query=match["query"].strip())
    if match := _METRICS.fullmatch(text):
        regex = match["pattern"].strip().strip("\"'")
        return replace(found, source=source, of_label="__name__", regex=found.regex or f"/^.*{regex}.*$/")
    lack = f"the variable {found.name} asks for {text!r}; only label_values, metrics and query_result are known"
    return replace(found, lack=lack, kind="constant")


def _kind_of_source(given: object, asked: object) -> str:
    kind = str((given.get("type") if isinstance(given, Mapping) else given) or "")
    loki = "loki" in kind.lower() or (isinstance(asked, Mapping) and "stream" in asked)
    return "loki" if loki else "prometheus"


_READERS = {
    "query": _of_query,
    "custom": _of_list,
    "textbox": _of_text,
    "datasource": _of_source,
    "interval": _of_interval,
    "constant": _of_text,
}
