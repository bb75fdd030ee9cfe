"""Writes docs/reference/*.md from what they are about: the settings, the metrics, the alert rules, the commands.

With --check it writes nothing, and fails where a page is not what the code says.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import click
import yaml

from rectbot.cli import main
from rectbot.push.measure import ALERT_METRIC, METRICS
from rectbot.settings import Settings
from rectbot.stack.env_file import as_written

ROOT = Path(__file__).resolve().parents[1]
_NOTE = "*Made by `make reference` from {}; a test compares it. Change it there.*"
_HEADING = re.compile(r"# --- (.*?) -+$")
_KINDS = {
    "Gauge": "gauge",
    "GaugeMetricFamily": "gauge",
    "_gauge": "gauge",
    "_by_site": "gauge",
    "CounterMetricFamily": "counter",
    "HistogramMetricFamily": "histogram",
}


def pages() -> dict[str, str]:
    """Each page's text, by its name."""
    made = {"settings.md": _settings(), "metrics.md": _metrics(), "alerts.md": _alerts(), "commands.md": _commands()}
    return {name: "\n".join(lines) + "\n" for name, lines in made.items()}


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


# --- settings


def _settings() -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield _NOTE.format("[.env.example](../../.env.example) and `src/rectbot/settings.py`")
    yield ""
    yield "From the environment, which wins, or from `.env`. An empty value counts as unset. A length of time may have"
    yield "units: `10s`, `1m30s`, `2h`; a number alone is in the unit that the name ends in. Names in one row share"
    yield "what is said of them."
    before: list[str] = []
    names: list[str] = []
    for line in [*(ROOT / ".env.example").read_text().splitlines(), "#"]:
        if match := re.match(r"([A-Z][A-Z0-9_]*)=", line):
            names.append(match[1])
            continue
        if names and (line.startswith("#") or not line):
            yield _row(names, before)
            before, names = [], []
        if heading := _HEADING.fullmatch(line):
            yield from ("", f"## {heading[1]}", "", "| setting | default | |", "|---|---|---|")
            before = []
        elif line.startswith("#"):
            before.append(line.removeprefix("#").strip())


def _row(names: list[str], comment: list[str]) -> str:
    shown = "<br>".join(f"`{name}`" for name in names)
    defaults = "<br>".join(_default(name) for name in names)
    return f"| {shown} | {defaults} | {_cell(' '.join(comment))} |"


def _default(name: str) -> str:
    field = Settings.model_fields.get(name.lower())
    if field is None or field.default is None or field.default in ("", Path()):
        return ""
    return f"`{as_written(field.default)}`"


# --- metrics


class _Metric(NamedTuple):
    name: str
    kind: str
    text: str
    labels: str


def _metrics() -> Iterator[str]:
    yield "# Metrics"
    yield ""
    yield _NOTE.format("the code that shows them")
    yield ""
    yield "Those of the servers beside rectbot (Prometheus, Redis, nginx, ...) are in their own documentation."
    pushed = [_Metric(name, "gauge", text, "") for name, text in [*METRICS.items(), ALERT_METRIC]]
    yield from _table("Pushed by each site's host (`rectbot push`)", pushed)
    yield from _table("The hub's, on port 9464", _found(sorted((ROOT / "src/rectbot/hub").glob("*.py"))))
    yield from _table(
        "The log store's, on port 3100", _found([ROOT / "src/logstore/server/exposition.py"], "rectbot_logs_")
    )


def _table(title: str, metrics: list[_Metric]) -> Iterator[str]:
    yield from ("", f"## {title}", "", "| metric | kind | labels | |", "|---|---|---|---|")
    for each in sorted(set(metrics)):
        yield f"| `{each.name}` | {each.kind} | {each.labels} | {_cell(each.text)} |"


def _found(files: Iterable[Path], prefix: str = "") -> list[_Metric]:
    """The metrics that these modules define. With a prefix also those that are a dict's keys, which lack it."""
    found: list[_Metric] = []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            found += _called(node) or _named(node) or _listed(node, prefix)
    return found


def _texts(nodes: list[ast.expr]) -> list[str]:
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def _metric(name: str, kind: str, text: str, labels: str = "") -> list[_Metric]:
    if not name.startswith(("rectbot_", "loki_")):
        return []
    return [_Metric(f"{name}_total" if kind == "counter" else name, kind, text, labels)]


def _called(node: ast.AST) -> list[_Metric]:
    """Kind("name", "text", labels=[...])"""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in _KINDS:
        return []
    texts = _texts(node.args[:2])
    given = [
        label for word in node.keywords if word.arg == "labels" for label in _texts(getattr(word.value, "elts", []))
    ]
    labels = ["site"] if node.func.id == "_by_site" else given
    shown = ", ".join(f"`{label}`" for label in labels)
    return _metric(texts[0], _KINDS[node.func.id], texts[1], shown) if len(texts) == 2 else []


def _named(node: ast.AST) -> list[_Metric]:
    """name, text = "name", "text", which a gauge is made of afterwards."""
    texts = _texts(node.elts) if isinstance(node, ast.Tuple) else []
    return _metric(texts[0], "gauge", texts[1]) if len(texts) == 2 else []


def _listed(node: ast.AST, prefix: str) -> list[_Metric]:
    """counters = {"name": ("text", value)}"""
    if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and prefix):
        return []
    kind = {"counters": "counter", "gauges": "gauge"}[ast.unparse(node.targets[0])]
    rows = zip(_texts([key for key in node.value.keys if key]), node.value.values, strict=True)
    return [
        each for name, value in rows for each in _metric(prefix + name, kind, _texts(getattr(value, "elts", []))[0])
    ]


# --- alerts


def _alerts() -> Iterator[str]:
    yield "# Alerts"
    yield ""
    yield _NOTE.format("`docker/monitoring/prometheus/alerts/`")
    yield ""
    yield "What to do when one fires: [operations.md](../operations.md#when-an-alert-fires)."
    for file in sorted((ROOT / "docker/monitoring/prometheus/alerts").glob("*.yml")):
        for group in yaml.safe_load(file.read_text())["groups"]:
            rules = [rule for rule in group["rules"] if "alert" in rule]
            if rules:
                yield from ("", f"## {group['name']}", "", "| alert | severity | for | says |", "|---|---|---|---|")
            for rule in rules:
                name, runbook = rule["alert"], rule["annotations"].get("runbook_url", "")
                shown = f"[{name}](../{runbook.removeprefix('docs/')})" if runbook.startswith("docs/") else f"`{name}`"
                summary = _cell(rule["annotations"]["summary"])
                yield f"| {shown} | {rule['labels']['severity']} | {rule.get('for', '')} | {_code(summary)} |"


def _code(text: str) -> str:
    """A template as what it is, so that no page's reader takes its braces for something."""
    return re.sub(r"\{\{.*?\}\}", lambda match: f"`{match[0]}`", text)


# --- commands


def _commands() -> Iterator[str]:
    yield "# Commands"
    yield ""
    yield _NOTE.format("the commands themselves: `rectbot COMMAND --help`")
    yield ""
    yield _paragraphs(main.help)
    yield from _below(main, ["rectbot"])


def _below(group: click.Group, path: list[str]) -> Iterator[str]:
    context = click.Context(group, info_name=path[-1])
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        where = [*path, name]
        if isinstance(command, click.Group):
            yield from _below(command, where)
            continue
        inner = click.Context(command, info_name=name)
        usage = " ".join(piece for piece in command.collect_usage_pieces(inner) if piece != "[OPTIONS]")
        yield from (
            "",
            f"## {' '.join(where)}",
            "",
            f"`{' '.join([*where, usage]).strip()}`",
            "",
            _paragraphs(command.help),
        )
        options = [param for param in command.params if isinstance(param, click.Option)]
        records = [record for option in options if (record := option.get_help_record(inner))]
        if records:
            yield from ("", "| option | |", "|---|---|")
            yield from (f"| `{_cell(record[0])}` | {_cell(record[1])} |" for record in records)


def _paragraphs(text: str | None) -> str:
    parts = re.split(r"\n\s*\n", (text or "").strip())
    return "\n\n".join(" ".join(part.split()) for part in parts)


def run(check: bool) -> int:
    """Writes the pages, or says which of them differ. Returns the exit code."""
    folder = ROOT / "docs" / "reference"
    wrong = 0
    for name, text in pages().items():
        path = folder / name
        if path.exists() and path.read_text() == text:
            continue
        wrong += 1
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        sys.stdout.write(
            f"{path.relative_to(ROOT)}: {'is not what the code says: make reference' if check else 'written'}\n"
        )
    return 1 if check and wrong else 0


if __name__ == "__main__":
    sys.exit(run("--check" in sys.argv[1:]))
