"""Which messages were sent, read from two counters and from when alerts fired."""

from __future__ import annotations

import pytest

from rectbot.console.messages import counts, deliveries, edges

METRICS = """
# TYPE alertmanager_notifications_total counter
alertmanager_notifications_total{integration="discord"} 4
alertmanager_notifications_total{integration="webhook"} 40
alertmanager_notifications_total{integration="email",receiver_name="x"} 1
alertmanager_notifications_failed_total{integration="discord"} 1
alertmanager_notifications_failed_total{integration="webhook"} 40
alertmanager_notification_requests_total{integration="discord"} 9
"""


def test_only_messages_to_people_count() -> None:
    assert counts(METRICS) == (5, 1)
    assert counts("") == (0, 0)


def test_a_message_is_told_with_the_alerts_that_had_just_changed() -> None:
    sent = [(0.0, 0.0), (60.0, 0.0), (120.0, 1.0), (180.0, 1.0), (600.0, 3.0)]
    failed = [(0.0, 0.0), (120.0, 0.0), (600.0, 1.0)]
    found = deliveries(sent, failed, [(60.0, "A"), (540.0, "A"), (540.0, "B"), (2000.0, "C")])
    assert [(each.at, each.names, each.sent, each.failed) for each in found] == [
        (600.0, ("A", "B"), 2, 1),
        (120.0, ("A",), 1, 0),
    ]


@pytest.mark.parametrize(
    ("points", "sent"),
    [
        ([(0.0, 5.0), (60.0, 5.0)], []),
        ([(0.0, 5.0), (60.0, 0.0), (120.0, 1.0)], [1]),  # it was started anew
        ([(0.0, 5.0), (60.0, 2.0)], [2]),  # likewise, and has sent two since
        ([], []),
    ],
)
def test_a_counter_that_begins_anew_counts_from_there(points: list[tuple[float, float]], sent: list[int]) -> None:
    assert [each.sent for each in deliveries(points, [], [])] == sent


def test_an_alert_begins_and_ends_where_it_is_not_seen_for_a_step() -> None:
    assert edges([60.0, 120.0, 180.0, 600.0]) == [60.0, 240.0, 600.0, 660.0]
    assert edges([]) == []
