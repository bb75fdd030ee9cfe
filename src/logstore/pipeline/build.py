"""From the stages of the syntax tree to what runs on each line."""

from __future__ import annotations

from collections.abc import Sequence

from logstore.logql import ast
from logstore.logql.errors import ParseError
from logstore.logql.regex import byte_pattern
from logstore.pipeline import labels, parsers
from logstore.pipeline.entry import ERROR, Entry, Stage
from logstore.pipeline.lines import line_filter
from logstore.pipeline.meter import Check, never
from logstore.pipeline.template import TemplateError, compile_template

_COLOUR = byte_pattern(
    rb"(?:\x1b|\xc2\x9b)[\[\]()#;?]*(?:(?:(?:[a-zA-Z\d]*(?:;[a-zA-Z\d]*)*)?\x07)"
    rb"|(?:(?:\d{1,4}(?:;\d{0,4})*)?[\dA-PRZcf-ntqry=><~]))"
)


def _line_filter(tree: ast.LineFilter) -> Stage:
    matches = line_filter(tree)
    return lambda entry: matches(entry.line)


def _line_format(template: str, check: Check) -> Stage:
    render = compile_template(template, check=check)

    def stage(entry: Entry) -> bool:
        try:
            entry.line = render(entry.everything(), entry.line, entry.time).encode(errors="replace")
        except (TemplateError, ValueError) as error:
            entry.fail("TemplateFormatErr", str(error))
        return True

    return stage


def _rename(target: str, source: str) -> Stage:
    def stage(entry: Entry) -> bool:
        value = entry.labels.get(source)
        if value is not None:
            entry.assign(target, value)
            entry.drop(source)
        return True

    return stage


def _label_format(tree: ast.LabelFormat, check: Check) -> Stage:
    for target, _, _ in tree.assignments:
        if target == ERROR:
            raise ParseError(f"{target} cannot be formatted")
    renames_and_templates = [
        (target, compile_template(source, "label", check=check) if is_template else None, _rename(target, source))
        for target, source, is_template in tree.assignments
    ]

    def stage(entry: Entry) -> bool:
        seen: dict[str, str] | None = None
        for target, render, rename in renames_and_templates:
            if render is None:
                rename(entry)
                continue
            seen = dict(entry.everything()) if seen is None else seen
            try:
                entry.assign(target, render(seen, entry.line, entry.time))
            except (TemplateError, ValueError) as error:
                entry.fail("TemplateFormatErr", str(error))
        return True

    return stage


def _decolorize(entry: Entry) -> bool:
    if b"\x1b" in entry.line or b"\xc2\x9b" in entry.line:
        entry.line = _COLOUR.sub(b"", entry.line)
    return True


def build_stage(tree: ast.Stage, check: Check = never) -> Stage:  # noqa: PLR0911 - one return per kind
    """The function of one stage. Raises ParseError for templates, patterns and addresses that are none."""
    match tree:
        case ast.LineFilter():
            return _line_filter(tree)
        case ast.LabelFilter():
            return labels.condition(tree.condition)
        case ast.LineFormat():
            return _line_format(tree.template, check)
        case ast.LabelFormat():
            return _label_format(tree, check)
        case ast.Decolorize():
            return _decolorize
        case ast.Drop():
            return labels.drop(tree.names)
        case ast.Keep():
            return labels.keep(tree.names)
        case _:
            return parsers.parser(tree)


def build(stages: Sequence[ast.Stage], check: Check = never) -> list[Stage]:
    """The functions of all stages, in order; `check` is called by those that may take long, and raises to end them."""
    return [build_stage(stage, check) for stage in stages]
