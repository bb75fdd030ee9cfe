"""Who may ask a server of ours: programs, and its own pages; not the pages of others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.webguard import Guard, guard_of

SERVICE = Guard(frozenset({"logs.example.org"}))
PAGE = guard_of("https://console.example.org/", None, dotless=False, pages=True)
HOSTS = (
    "127.0.0.1:3100",
    "localhost:3100",
    "LOCALHOST",
    "localhost.",
    "[::1]:3100",
    "10.0.0.7:3100",
    "[fe80::1%25eth0]",
)
STRANGE = (
    *(
        "evil.example:3100",
        "localhost.evil.example",
        "127.0.0.1.evil.example:3100",
        "evil.example.",
        "a b",
        "x@localhost",
    ),
    *(
        "evil.example@",
        "http://localhost",
        "127.0.0.1:3100:3100.evil.example",
        "[::1",
        "[evil.example]",
        "\\localhost",
        "[loki]",
        "loki:",
        ".",
    ),
)


def status(guard: Guard, method: str, *headers: tuple[str, str], socket: bool = False) -> int:
    refusal = guard.refusal(method, headers, socket=socket)
    return refusal.status if refusal else 200


@pytest.mark.parametrize("host", [*HOSTS, "loki:3100", "log_store", "logs.example.org:3100", "Logs.Example.Org.", ""])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_program_is_served_under_each_name_of_the_server(host: str, method: str) -> None:
    assert status(SERVICE, method, ("Host", host)) == 200
    assert status(SERVICE, method, ("host", host), ("User-Agent", "curl/8")) == 200


@pytest.mark.parametrize("host", STRANGE)
@pytest.mark.parametrize("guard", [SERVICE, PAGE])
def test_a_name_that_anybody_can_own_is_refused(guard: Guard, host: str) -> None:
    assert status(guard, "GET", ("Host", host)) == 421
    assert status(guard, "GET", ("Host", host), ("Origin", f"http://{host}")) == 421, "DNS rebinding"


def test_two_hosts_or_origins_are_refused_since_others_may_take_the_other_one() -> None:
    assert status(SERVICE, "GET", ("Host", "localhost"), ("Host", "evil.example")) == 421
    assert status(SERVICE, "GET", ("Host", "a"), ("Origin", "http://a"), ("origin", "http://evil.example")) == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:8000", "https://", "file://", "[", "x"]
)
@pytest.mark.parametrize(("method", "socket"), [("GET", False), ("POST", False), ("DELETE", False), ("GET", True)])
def test_another_origin_is_refused_whatever_it_asks(origin: str, method: str, socket: bool) -> None:
    for guard in (SERVICE, PAGE):
        assert status(guard, method, ("Host", "127.0.0.1:3100"), ("Origin", origin), socket=socket) == 403


@pytest.mark.parametrize("origin", ["http://127.0.0.1:3100", "https://127.0.0.1:3100", "HTTP://127.0.0.1:3100"])
def test_the_own_origin_is_served(origin: str) -> None:
    for guard in (SERVICE, PAGE):
        assert status(guard, "POST", ("Host", "127.0.0.1:3100"), ("Origin", origin)) == 200


def test_a_form_that_hides_its_origin_is_told_by_its_referer() -> None:
    host = ("Host", "127.0.0.1:3100")
    assert status(SERVICE, "POST", host, ("Referer", "https://evil.example/page")) == 403
    assert status(SERVICE, "POST", host, ("Referer", "http://127.0.0.1:3100/page")) == 200
    assert status(SERVICE, "GET", host, ("Referer", "https://wiki.example/runbook")) == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "new-word"])
def test_what_a_browser_says_is_embedded_elsewhere_is_refused(site: str) -> None:
    host = ("Host", "127.0.0.1:3100")
    fetch = ("Sec-Fetch-Site", site)
    link = (("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"))
    assert status(SERVICE, "GET", host, fetch) == 403
    assert status(PAGE, "GET", host, fetch) == 403
    assert status(SERVICE, "GET", host, fetch, *link) == 403, "nobody reads it by a link"
    assert status(PAGE, "GET", host, fetch, *link) == 200
    assert status(PAGE, "GET", host, fetch, link[0], ("Sec-Fetch-Dest", "iframe")) == 403


def test_pages_are_for_browsers_who_say_where_they_are() -> None:
    assert status(PAGE, "POST", ("Host", "console.example.org")) == 403
    assert status(PAGE, "GET", ("Host", "console.example.org"), socket=True) == 403
    assert status(PAGE, "POST", ("Host", "console.example.org"), ("Origin", "https://console.example.org")) == 200
    assert status(PAGE, "GET", ("Host", "console"), ("Origin", "http://console")) == 421
    assert status(PAGE, "GET") == 421


@given(st.lists(st.tuples(st.sampled_from(["Host", "Origin", "Referer", "Sec-Fetch-Site"]), st.text()), max_size=6))
def test_no_header_makes_it_fail(headers: list[tuple[str, str]]) -> None:
    for guard in (SERVICE, PAGE):
        assert status(guard, "POST", *headers) in (200, 403, 421)


@given(st.text(), st.sampled_from(["http", "https", "ftp", ""]))
def test_only_the_host_itself_is_the_same_origin(origin: str, scheme: str) -> None:
    asked = status(SERVICE, "POST", ("Host", "127.0.0.1:3100"), ("Origin", f"{scheme}://{origin}"))
    assert asked == 403 or origin.partition("/")[0].partition("?")[0].partition("#")[0] == "127.0.0.1:3100"
