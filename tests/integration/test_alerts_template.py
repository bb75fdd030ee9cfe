"""What Alertmanager writes in Discord, of any number of alerts with any texts: Discord takes it, and only shows it."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from rectbot.alerts.text import plain
from servers_monitoring import HTTP, Discord, alertmanager, local_discord, until

ALPHABETS = {
    "ascii": "abc ",
    "kanji": "日本語",
    "emoji": "😀🇯🇵👩‍👩‍👧",
    "markup": "*_~`|<>[]()#\\@:/-",
    "odd": "\u202e\u200b\x01\n\t\u2028\ue000",
    "ping": "@everyone ",
}


@dataclass
class Told:
    """A running Alertmanager, and what it tells of groups of alerts."""

    manager: int
    discord: Discord
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def group(self, texts: list[tuple[str, str]], name: str = "Group") -> tuple[str, str]:
        """Title and text of the message about one group; `texts` are summaries and descriptions."""
        number = next(self.numbers)
        mark = f"docs/operations.md#group{number}x"
        alerts = [
            {
                "labels": {"alertname": name, "area": str(number), "severity": "warning", "n": str(index)},
                "annotations": {"summary": summary, "description": text, "runbook_url": mark},
            }
            for index, (summary, text) in enumerate(texts)
        ]
        url = f"http://127.0.0.1:{self.manager}/api/v2/alerts"
        assert HTTP.request("POST", url, json=alerts).status == 200
        sent = until(lambda: [each for each in self.discord.received() if mark in str(each["payload"])], "it is told")[
            0
        ]
        assert sent["status"] < 300 or sent["status"] == 429, sent["payload"]
        (embed,) = sent["payload"]["embeds"]
        assert not sent["payload"].get("content")
        return embed["title"], embed["description"]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("template")
    # Long enough for a group to be complete, and for Discord's limit of five messages in two seconds.
    changes = {"group_wait: 10s": "group_wait: 700ms", "group_interval: 30s": "group_interval: 1h"}
    with local_discord(folder) as discord:
        discord.start_afresh()
        with alertmanager(folder / "alertmanager", discord.webhook_url, changes) as port:
            yield Told(port, discord)


def utf16(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def check(title: str, text: str, count: int) -> int:
    """The message is within Discord's limits however it counts; gives how many alerts are shown."""
    assert 0 < utf16(title) <= 256
    assert 0 < utf16(text) <= 4096
    assert utf16(title) + utf16(text) <= 6000
    shown = text.count("What to do: ")
    more = re.search(r"\nand (\d+) more$", text)
    assert shown >= 1
    assert shown + (int(more[1]) if more else 0) == count
    return shown


@pytest.mark.parametrize("count", [1, 15, 16, 17, 60, 300])
def test_any_number_of_alerts_fits_into_a_message(count: int, told: Told) -> None:
    description = "The bot of xserver does not run, or does not reach Redis. It cannot take the lead."
    shown = check(*told.group([(f"site {index} sends no heartbeat", description) for index in range(count)]), count)
    assert shown >= min(count, 10), "most of what people get is shown"


@pytest.mark.parametrize("alphabet", ALPHABETS)
@pytest.mark.parametrize("length", [0, 99, 650, 5000])
def test_any_text_fits(alphabet: str, length: int, told: Told) -> None:
    text = (ALPHABETS[alphabet] * length)[:length]
    check(*told.group([(text, text)] * 16, name=f"N{text}"), 16)


def test_random_groups_fit(told: Told) -> None:
    dice = random.Random(26)
    letters = "".join(ALPHABETS.values())
    for _ in range(8):
        count = dice.choice([1, 2, 5, 16, 40])
        texts = [
            tuple(
                "".join(dice.choices(letters, k=dice.choice([0, 1, 40, 100, 101, 599, 600, 601, 2000]))) for _ in "ab"
            )
            for _ in range(count)
        ]
        check(*told.group(texts), count)  # type: ignore[arg-type]


HOSTILE = [
    "@everyone",
    "@here now",
    "<@123456789012345678>",
    "<@&123456789012345678>",
    "<#123456789012345678>",
    "[pay here](https://evil.example/x)",
    "https://evil.example",
    "steam://run/1",
    "discord.gg/abcdef",
    "https://discord.com/invite/abcdef",
    "DISCORDAPP.COM/invite/a",
    "**bold** __under__ ~~gone~~ ||hidden||",
    "`code` ```block```",
    "one\ntwo\r\n# heading\n> quote\n- list",
    "a\u202egnp.exe",
    "\\*not escaped twice\\\\",
    "<t:1618953630:R> </ban:1> <a:x:1>",
]


def is_harmless(text: str) -> bool:
    """Nothing in it that Discord would act on: each mark is escaped, each link and mention is broken."""
    assert "\n" not in text
    assert not re.search(r"[\u202a-\u202e\u2066-\u2069\x00-\x1f]", text)
    unescaped = re.sub(r"\\[\\*_~`|<>\[\]#]", "", text)
    return (
        not re.search(r"[\\*_~`|<>\[\]#]", unescaped)
        and not re.search(r"@(?!\u200b)", text)
        and "://" not in text
        and not re.search(r"(?i)(discord(app)?\.com|\.gg)/", text)
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_label_says_is_shown_and_not_acted_on(text: str, told: Told) -> None:
    title, message = told.group([(f"is {text}", f"It is {text}.")], name=text)
    summary, description, _ = message.rstrip("\n").split("\n")
    assert summary.startswith("**is ")
    assert summary.endswith("**")
    for part in (title, summary[2:-2], description):
        assert is_harmless(part), part


@pytest.mark.parametrize("text", HOSTILE)
def test_our_own_messages_say_the_same(text: str, told: Told) -> None:
    message = told.group([("x", text)])[1]
    assert message.split("\n")[1].split() == plain(text, 600).split()
    assert is_harmless(plain(text * 50, 300))
