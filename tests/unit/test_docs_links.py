"""Every link from one of our pages to another, to a heading, a file or a picture leads somewhere."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(page for name in ("docs", "docker", ".github") for page in (ROOT / name).rglob("*.md"))]
)
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)|^\[[^\]]+\]: +(\S+)", re.MULTILINE)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:")


def prose(text: str) -> str:
    """Without what stands in code."""
    return re.sub(r"`+[^`\n]*`+", "code", re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL))


def links(page: Path) -> list[str]:
    """The links of a page that stay within the project."""
    found = (inline or reference for inline, reference in _LINK.findall(prose(page.read_text())))
    return [link for link in found if not _ELSEWHERE.match(link)]


@cache
def anchors(page: Path) -> set[str]:
    """What `#...` may name: headings as GitHub writes them, https://github.com/gjtorikian/html-pipeline."""
    seen: Counter[str] = Counter()
    names = set()
    text = re.sub(r"^(```|~~~).*?^\1", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        names.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return names


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    wrong = []
    for link in links(page):
        path, _, anchor = unquote(link).partition("#")
        target = (ROOT / path[1:] if path.startswith("/") else page.parent / path) if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A `b`, c\n## Same\n## Same\n```\n# no heading\n```\n")
    page = tmp_path / "page.md"
    good = "[a](there.md) [b](there.md#a-b-c) [c](there.md#same-1) ![d](there.md) [e](https://x.example/y)"
    page.write_text(f"{good} `[f](no.md)` [g](#h)\n# H\n" + "```\n[i](no.md)\n```\n[j]: there.md\n")
    assert broken(page) == []
    page.write_text("[a](no.md) [b](there.md#no-heading) [c](#d) ![e](no.png)\n\n[f]: gone.md\n")
    assert broken(page) == ["no.md", "there.md#no-heading", "#d", "no.png", "gone.md"]


def test_all_pages_are_looked_at() -> None:
    assert {"README.md", "README.ja.md", "CHANGELOG.md", "operations.md", "compose.md"} <= {page.name for page in PAGES}
    assert sum(len(links(page)) for page in PAGES) > 50
