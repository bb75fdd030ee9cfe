"""A report as one HTML file: a chart, tables, and nothing that a browser would have to fetch, or could run."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from html import escape

from foundation.terminal import one_line
from rectbot.failover.events import iso
from rectbot.history.figures import Report
from rectbot.history.show import length, percent, summary

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--back:#fff;--line:#d0d7de;--dim:#57606a}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--back:#0d1117;--line:#30363d;--dim:#8b949e}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);max-width:60rem;margin:2rem auto;
padding:0 1rem}
h1{font-size:1.4rem}.big{font-size:1.6rem;margin:.2rem 0 1rem}.dim{color:var(--dim)}
table{border-collapse:collapse;width:100%;margin:1rem 0}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
td.n{text-align:right;white-space:nowrap}svg{width:100%;height:auto}
"""
_WIDTH, _HEIGHT = 900, 160
_SCALE = (  # the lower end of the chart, by the worst day
    (0.999, "99.9 %"),
    (0.99, "99 %"),
    (0.9, "90 %"),
    (0.0, "0 %"),
)


def as_html(report: Report) -> str:
    """The whole file. Times in it are in UTC."""
    return "\n".join(_parts(report)) + "\n"


def _parts(report: Report) -> Iterator[str]:
    title = f"{_date(report.span.start)} to {_date(report.span.end - 1)}"
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    yield f"<title>rectbot: {title}</title><style>{_STYLE}</style></head><body>"
    yield f'<h1>rectbot: {title} <span class="dim">(UTC)</span></h1><p class="big">{_text(summary(report))}</p>'
    if report.availability is not None:
        yield _chart(report)
        yield from _numbers(report)
        yield from _outages(report)
    yield "</body></html>"


def _chart(report: Report) -> str:
    """A bar for each day; what it says when it is pointed at, too."""
    known = [day.availability for day in report.days if day.availability is not None]
    floor, word = next(step for step in _SCALE if min(known, default=1) >= step[0])
    step = _WIDTH / max(1, len(report.days))
    bars = []
    for place, day in enumerate(report.days):
        if day.availability is None:
            continue
        high = max(2.0, (day.availability - floor) / (1 - floor) * _HEIGHT)
        shown = f"{day.date}: {percent(day.availability)}"
        bars.append(
            f'<rect x="{place * step:.1f}" y="{_HEIGHT - high:.1f}" width="{max(1, step - 2):.1f}" height="{high:.1f}"'
            f' fill="{_colour(day.availability)}"><title>{shown}</title></rect>'
        )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 24}" role="img" aria-label="Availability of each day">{"".join(bars)}'
        f'<text x="0" y="{_HEIGHT + 18}" font-size="13" fill="currentColor">each day, from {word} to 100 %</text></svg>'
    )


def _colour(share: float) -> str:
    return "#2da44e" if share >= 0.999 else "#bf8700" if share >= 0.99 else "#cf222e"


def _numbers(report: Report) -> Iterator[str]:
    yield "<table>"
    rows = [("down", f"{length(report.down)} in {len(report.outages)} outages")]
    if report.outages:
        rows.append(("mean time to recover", length(report.down / len(report.outages))))
    if report.unknown:
        rows.append(("not recorded", f"{length(report.unknown)}, which count neither way"))
    rows.append(("switches", f"{report.planned} planned, {report.unplanned} not"))
    rows.append(("logins", str(report.logins)))
    for site, ms in sorted(report.leads.items()):
        rows.append((f"{site} led", f"{length(ms)} ({percent(ms / report.counted)})"))
    for name, count in report.alerts.items():
        rows.append((f"alert {name}", str(count)))
    for name, value in rows:
        yield f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>"
    yield "</table>"


def _outages(report: Report) -> Iterator[str]:
    if not report.outages:
        return
    yield "<table><thead><tr><th>from</th><th>for</th><th>why</th></tr></thead><tbody>"
    for each in report.outages:
        start = iso(each.span.start)[:19].replace("T", " ")
        yield f'<tr><td>{start}</td><td class="n">{length(each.seconds * 1000)}</td><td>{_text(each.cause)}</td></tr>'
    yield "</tbody></table>"


def _date(ms: int) -> str:
    return iso(ms)[:10]


@lru_cache(maxsize=1024)
def _text(text: str) -> str:
    return escape(one_line(text))
