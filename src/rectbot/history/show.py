"""A report as text, CSV and JSON. What came from outside is shown without what a terminal or a spreadsheet obeys."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache

from foundation.terminal import cleaned, one_line
from rectbot.alerts.text import plain
from rectbot.failover.events import iso
from rectbot.history.figures import Report

_MOST = 100  # outages in the text; all of them are in the other forms
_POSTED = 5
_BARS = " ▁▂▃▄▅▆▇█"


def summary(report: Report) -> str:
    """In the form that people quote."""
    if report.availability is None:
        return "nothing is known of this time"
    failovers = f"{report.unplanned} failover{'' if report.unplanned == 1 else 's'}"
    planned = f", {report.planned} planned move{'' if report.planned == 1 else 's'}" if report.planned else ""
    longest = f"longest gap {length(report.longest_gap)}" if report.outages else "no gap"
    return f"{percent(report.availability)}, {failovers}{planned}, {longest}"


def percent(share: float) -> str:
    """Never rounded up to 100 %: that is what was without a gap."""
    for digits in range(2, 8):
        shown = f"{share * 100:.{digits}f}"
        if share == 1 or not shown.startswith("100"):
            return f"{shown} %"
    return "more than 99.9999999 %"


def length(ms: float) -> str:
    """6.2 s, 4 min 10 s, 3 h 20 min, 2 d 4 h"""
    whole = round(ms / 1000)
    for unit, of, part, by in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if whole >= of:
            rest = whole % of // by
            return f"{whole // of} {unit} {rest} {part}" if rest else f"{whole // of} {unit}"
    return f"{ms / 1000:.1f} s"


def title(report: Report) -> str:
    """The period, by the operator's clock."""
    return f"{local(report.span.start)} to {local(report.span.end)}"


def local(ms: int, seconds: bool = False) -> str:
    """By the clock of this machine."""
    form = "%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M"
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone().strftime(f"{form} %Z")


def as_text(report: Report) -> Iterator[str]:
    """A line each."""
    yield title(report)
    yield summary(report)
    if report.availability is None:
        first = "there is no event at all" if report.first is None else f"the first event is of {local(report.first)}"
        yield f"{first}: 'rectbot history import' brings in what another history knows"
        return
    recover = f", {length(report.down / len(report.outages))} each on average" if report.outages else ""
    yield f"down      {length(report.down)} in {len(report.outages)} outages{recover}"
    if report.unknown:
        yield f"unknown   {length(report.unknown)} that nobody recorded, and that count neither way"
    yield f"logins    {report.logins}"
    for site, ms in sorted(report.leads.items()):
        yield f"{one_line(site):<10}led for {length(ms)} ({percent(ms / report.counted)} of the time)"
    for name, count in report.alerts.items():
        yield f"alert     {one_line(name)}: {count}"
    yield f"days      {''.join(_bar(day.availability) for day in report.days)}  (UTC; each from 99 % to 100 %)"
    for outage in report.outages[:_MOST]:
        yield f"{local(outage.span.start, True)}  {length(outage.seconds * 1000):>10}  {_line(outage.cause)}"
    if len(report.outages) > _MOST:
        yield f"... and {len(report.outages) - _MOST} more; --format csv has them all"


def _bar(share: float | None) -> str:
    if share is None:
        return "·"
    if share == 1:
        return _BARS[-1]
    return _BARS[1 + max(0, min(6, int((share - 0.99) * 700)))]


def as_json(report: Report) -> str:
    """One object; its times are in UTC."""
    found = report.as_dict()
    for outage in found["outages"]:
        outage["cause"] = _line(outage["cause"])
    for name in ("by_site", "alerts"):
        found[name] = cleaned(found[name])
    # A line for each figure: what indents everything is slow for a year of outages.
    return "{\n" + ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in found.items()) + "\n}"


def as_csv(report: Report) -> str:
    """The outages, a row each."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(("from", "until", "seconds", "cause"))
    for each in report.outages:
        rows.writerow((iso(each.span.start), iso(each.span.end), each.seconds, cell(each.cause)))
    return out.getvalue().rstrip("\n")


@lru_cache(maxsize=1024)  # most outages have one of a few causes
def _line(text: str) -> str:
    return one_line(text)


def cell(text: str) -> str:
    """A text that a spreadsheet takes for no formula."""
    shown = _line(text)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown


def as_message(report: Report) -> str:
    """For Discord: nothing in it mentions or links."""
    start, end = report.span
    lines = [f"**rectbot** {iso(start)[:10]} to {iso(end - 1)[:10]}: {summary(report)}"]
    worst = sorted(report.outages, key=lambda each: each.seconds, reverse=True)[:_POSTED]
    lines += [
        f"- {iso(each.span.start)[:16]}Z, {length(each.seconds * 1000)}: {plain(each.cause, 200)}" for each in worst
    ]
    if len(report.outages) > len(worst):
        lines.append(f"- and {len(report.outages) - len(worst)} shorter ones")
    return "\n".join(lines)
