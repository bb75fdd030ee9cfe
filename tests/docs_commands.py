"""What the documentation tells people to write and to run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("README*.md")])
_SETTING = re.compile(r"`([A-Z][A-Z_]+)(?:=([^`]*))?`")
_RUNS = re.compile(r"(ExecStart=|(?:[A-Z_]+=\S+ )*)(?:\S*/)?(rectbot (?:bot|failover run)\b.*)")


@dataclass(frozen=True)
class Shown:
    """A command that starts a bot, with the settings that stand beside it."""

    where: str
    settings: dict[str, str]
    words: tuple[str, ...]  # after `rectbot`


def env_table(page: str, heading: str) -> dict[str, str]:
    """The names of the table of `.env` in a section; each with its value, or an empty one where only prose tells it."""
    text = (ROOT / "docs" / page).read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {match[1]: match[2] or "" for row in rows for match in _SETTING.finditer(row)}


def shown_commands() -> list[Shown]:
    """Every command of every page that starts a bot, from its code blocks."""
    return [shown for page in PAGES for shown in _commands(page)]


def _commands(page: Path) -> Iterator[Shown]:
    for number, block in _blocks(page.read_text().splitlines()):
        unit: dict[str, str] = {}
        for line in block:
            if line.startswith("Environment="):
                unit |= dict(word.split("=", 1) for word in shlex.split(line.removeprefix("Environment=")))
        for line in block:
            if match := _RUNS.fullmatch(line):
                beside = dict(word.split("=", 1) for word in match[1].removeprefix("ExecStart=").split())
                words = shlex.split(match[2], comments=True)
                yield Shown(f"{page.name}:{number}", unit | beside, tuple(words[1:]))


def _blocks(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """The first line's number and the lines of each code block, fenced or indented."""
    block: list[str] = []
    fenced = False
    for number, line in enumerate([*lines, ""], 1):
        fence = line.startswith("```")
        if not fence and (fenced or line.startswith("    ")):
            block.append(line.strip())
            continue
        if block:
            yield number - len(block), block
        block, fenced = [], fenced ^ fence
