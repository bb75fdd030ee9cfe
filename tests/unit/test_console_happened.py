"""What the live page tells of the past: sentences, and shares of the time."""

from __future__ import annotations

import re

import pytest

from rectbot.console.happened import Happened, happened, length, percent, told
from rectbot.console.words import Words
from rectbot.history.known import Recorded, known
from rectbot.history.period import DAY_MS
from rectbot.history.story import Told

NOW = 1_800_000_000_000
MINUTE = 60_000


def _events(*given: tuple[int, str, str, int] | tuple[int, str, str, int, str]) -> list[Told]:
    """Each as milliseconds before NOW, kind, site, epoch, and why."""
    return [
        Told(NOW - ago, kind, site, f"{site}-process", epoch, why[0] if why else "")
        for ago, kind, site, epoch, *why in given
    ]


FAILOVER = _events(
    (10 * DAY_MS, "acquired", "xserver", 1),
    (10 * DAY_MS, "ready", "xserver", 1),
    (60 * MINUTE, "expired", "xserver", 1),
    (60 * MINUTE, "acquired", "oci", 2),
    (60 * MINUTE - 5_900, "ready", "oci", 2),
    (56 * MINUTE, "handed-over", "oci", 2),
    (56 * MINUTE, "acquired", "xserver", 3),
    (56 * MINUTE - 400, "ready", "xserver", 3),
)


def _happened(events: list[Told], gone: int | None = None) -> Happened:
    """As the store's journal tells it, of which all is there."""
    return happened(known(Recorded(), events, NOW, looked=NOW, gone=gone), NOW)


def _sentences(events: list[Told], language: str = "en") -> list[str]:
    moves = _happened(events).moves
    return [re.sub("\1.*?\1", "AT", told(Words(language), move)) for move in moves]


def test_a_failover_and_its_failback_are_one_sentence_with_cause_and_gap() -> None:
    assert _sentences(FAILOVER) == [
        "AT xserver stopped answering; oci took over after 5.9 s without the bot; back on xserver after 4 min."
    ]
    (sentence,) = _sentences(FAILOVER, "ja")
    assert re.match("AT xserver が.*、oci が 5.9 秒.*、4 分 後に xserver へ戻りました。", sentence)


@pytest.mark.parametrize(
    ("events", "says"),
    [
        (
            _events(
                (9000, "acquired", "xserver", 1),
                (8000, "switch", "oci", 1),
                (7000, "handed-over", "xserver", 1, "switch by me"),
                (6900, "acquired", "oci", 2),
                (6500, "ready", "oci", 2),
            ),
            "oci-process moved the lead from xserver to oci; oci took over after 0.5 s",
        ),
        (
            _events(
                (9000, "acquired", "oci", 1),
                (8000, "workload-failed", "oci", 1, "exit code 3"),
                (3000, "acquired", "oci", 2),
                (2000, "ready", "oci", 2),
            ),
            "the bot at oci failed (exit code 3); it was back after 6.0 s",
        ),
        (
            _events(
                (9000, "acquired", "xserver", 1), (8000, "renew-failed", "xserver", 1), (7000, "acquired", "oci", 2)
            ),
            "could not renew its lease and logged out; oci took over, and its bot never logged in",
        ),
    ],
)
def test_each_cause_has_its_words(events: list[Told], says: str) -> None:
    (sentence,) = _sentences(events)
    assert says in sentence
    assert _sentences(events, "ja")


def test_shares_are_of_the_time_that_is_known() -> None:
    found = _happened(FAILOVER)
    away = 5_900 + 400
    assert found.windows[1] == pytest.approx(1 - away / DAY_MS)
    assert found.windows[7] == pytest.approx(1 - away / 7 / DAY_MS)
    assert found.windows[30] == pytest.approx(1 - away / 10 / DAY_MS), "twenty days of it are not known"
    assert [day.share for day in found.days[:20]] == [None] * 20
    assert [day.share for day in found.days[20:29]] == [1.0] * 9
    assert found.days[29].down == away


def test_nothing_is_known_of_an_empty_past() -> None:
    found = _happened([])
    assert (found.moves, found.known, set(found.windows.values())) == ((), None, {None})


def test_a_leader_that_is_gone_and_that_nobody_followed_is_not_counted_as_there() -> None:
    assert _happened(FAILOVER, gone=NOW - MINUTE).days[29].down == 5_900 + 400 + MINUTE


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, "-"), (1.0, "100 %"), (0.999999, "99.99 %"), (0.99951, "99.95 %"), (0.5, "50.00 %"), (0.0, "0.00 %")],
)
def test_a_share_is_never_rounded_up_to_all(share: float | None, text: str) -> None:
    assert percent(share) == text


def test_lengths_are_short() -> None:
    given = (0, 400, 59_900, MINUTE, 90 * MINUTE, 50 * 60 * MINUTE, 30 * DAY_MS)
    assert [length(Words("en"), each) for each in given] == [
        "0.0 s", "0.4 s", "59.9 s", "1 min", "1.5 h", "2.1 d", "30 d",
    ]  # fmt: skip
