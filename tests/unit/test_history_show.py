"""A report in its forms: numbers as people quote them, and hostile text as text."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser

import pytest

from rectbot.history.causes import Outage
from rectbot.history.figures import Day, Report
from rectbot.history.page import as_html
from rectbot.history.show import as_csv, as_json, as_message, as_text, length, percent, summary
from rectbot.history.story import Span

HOSTILE = "</title><script>alert(1)</script> @everyone \x1b[31m\u202e =cmd() https://evil.example \"'"


def _report(cause: str = "why", site: str = "xserver", alert: str = "Alert") -> Report:
    span = Span(1_764_547_200_000, 1_764_806_400_000)  # 2025-12-01 to 12-04
    return Report(
        span=span,
        first=span.start,
        counted=259_200_000,
        outages=[Outage(Span(span.start + 5_000, span.start + 11_200), cause)],
        planned=1,
        unplanned=3,
        leads={site: 200_000_000},
        logins=4,
        days=[Day("2025-12-01", 0.5), Day("2025-12-02", None), Day("2025-12-03", 1.0)],
        alerts={alert: 2},
    )


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (1, "100.00 %"),
        (0.9995, "99.95 %"),
        (0.0, "0.00 %"),
        (0.99999, "99.999 %"),
        (1 - 1e-9, "99.9999999 %"),
        (1 - 1e-12, "more than 99.9999999 %"),
    ],
)
def test_a_share_is_not_rounded_up_to_all(share: float, shown: str) -> None:
    assert percent(share) == shown


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (0, "0.0 s"),
        (6_200, "6.2 s"),
        (59_400, "59.4 s"),
        (59_600, "1 min"),
        (93_000, "1 min 33 s"),
        (3_600_000, "1 h"),
        (12_345_678, "3 h 25 min"),
        (2 * 86_400_000 + 4 * 3_600_000, "2 d 4 h"),
    ],
)
def test_a_length(ms: int, shown: str) -> None:
    assert length(ms) == shown


def test_the_summary_is_what_people_quote() -> None:
    assert summary(_report()) == "99.998 %, 3 failovers, 1 planned move, longest gap 6.2 s"


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def test_hostile_text_is_text_in_the_page_and_nothing_is_fetched() -> None:
    page = as_html(_report(HOSTILE, HOSTILE, HOSTILE))
    parsed = _Page()
    parsed.feed(page)
    assert "script" not in parsed.tags
    assert not {"src", "href", "onload", "onerror"} & {name for name, _ in parsed.attributes}
    assert not {"img", "link", "iframe", "object", "use", "image"} & set(parsed.tags)
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert parsed.tags.count("rect") == 2, "a bar for each day of which something is known"
    assert "default-src 'none'" in page
    assert "url(" not in page


def test_hostile_text_moves_no_terminal_no_spreadsheet_and_nobody_in_discord() -> None:
    text = "\n".join(as_text(_report(HOSTILE, HOSTILE, HOSTILE)))
    assert "\x1b" not in text
    for start in "=+-@":
        rows = list(csv.reader(io.StringIO(as_csv(_report(f'{start}cmd, "x"\n')))))
        assert rows[0] == ["from", "until", "seconds", "cause"]
        assert rows[1][:3] == ["2025-12-01T00:00:05.000Z", "2025-12-01T00:00:11.200Z", "6.2"]
        assert rows[1][3].startswith(f"'{start}cmd")
    message = as_message(_report(HOSTILE))
    assert "@everyone" not in message
    assert "https://evil" not in message
    assert "\n- 2025-12-01T00:00Z, 6.2 s: " in message
    assert json.loads(as_json(_report(HOSTILE)))["outages"][0]["seconds"] == 6.2


def test_a_time_of_which_nothing_is_known_says_so() -> None:
    empty = Report(Span(0, 86_400_000), None, 0, [], 0, 0, {}, 0, [Day("1970-01-01", None)], {})
    found = json.loads(as_json(empty))
    assert (found["availability"], found["days"]) == (None, [{"date": "1970-01-01", "availability": None}])
    assert (found["down_s"], found["longest_gap_s"], found["mean_time_to_recover_s"]) == (0, 0, None)
    assert found["switches"] == {"planned": 0, "unplanned": 0}
    for text in ("\n".join(as_text(empty)), as_html(empty), as_message(empty)):
        assert "nothing is known" in text
    assert as_csv(empty) == "from,until,seconds,cause"
