"""Sites and jobs have the names that the settings give them: none is built in but as a default, or in alerts' names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rectbot.lists import parse_jobs

ROOT = Path(__file__).resolve().parents[2]
_NAMES = re.compile(r"xserver|\boci\b", re.IGNORECASE)
_ALERT = re.compile(r"Xserver(?:Push|High)[A-Za-z.*]*")
# What may stand there: the defaults, and examples in what people read.
_DEFAULTS = {
    ("failover/config.py", "xserver"), ("failover/config.py", "oci"),
    ("settings.py", "xserver"), ("settings.py", "oci"),
    ("stack/env_file.py", "xserver,oci"), ("stack/container_secrets.py", "oci"),
}  # fmt: skip
_EXAMPLE = re.compile(r"for example |--site (?:xserver|oci)|ssh oci |https://HOST|job=\"bot\"|\bprofile redis-tls\b")


def _texts(path: Path) -> Iterator[str]:
    """The strings of a module, without its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value


def test_no_module_has_a_site_s_name_built_in() -> None:
    source = ROOT / "src" / "rectbot"
    found = {
        (path.relative_to(source).as_posix(), text)
        for path in source.rglob("*.py")
        for text in _texts(path)
        if _NAMES.search(_ALERT.sub("", text)) and not _EXAMPLE.search(text)
    }
    assert found - _DEFAULTS == set()
    assert found >= _DEFAULTS, "what is a default no more is no exception either"


def test_the_stack_s_own_jobs_are_nobody_s() -> None:
    for job in ("pushes-expected", "pushes", "hub"):
        with pytest.raises(ValueError, match="another's"):
            parse_jobs(f"alpha:{job}", ("alpha",))
