"""Which labels a metric query needs: parsers find no others, stop when they have them, and then meet no errors.

This is visible: a line that is broken behind the labels that are asked for counts like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from logstore.logql import ast
from logstore.pipeline.templatetext import fields


@dataclass(frozen=True, slots=True)
class Hints:
    """`required` are the labels needed, all if it is empty, unless `nothing` is needed."""

    required: frozenset[str] = frozenset()
    nothing: bool = False
    errors_wanted: bool = False

    def wants(self, name: str) -> bool:
        return not self.required or name in self.required

    def satisfied(self, seen: AbstractSet[str]) -> bool:
        return self.nothing or (bool(self.required) and self.required <= seen)


ALL = Hints()


def _condition_names(tree: ast.LabelCondition) -> Iterator[str]:
    if isinstance(tree, ast.Combined):
        yield from _condition_names(tree.left)
        yield from _condition_names(tree.right)
    else:
        yield tree.name


def _names(stages: Sequence[ast.Stage]) -> Iterator[str]:
    for stage in stages:
        if isinstance(stage, ast.LabelFilter):
            yield from _condition_names(stage.condition)
        elif isinstance(stage, ast.LineFormat):
            yield from fields(stage.template)
        elif isinstance(stage, ast.LabelFormat):
            for _, source, is_template in stage.assignments:
                yield from fields(source) if is_template else (source,)


def hints_for(tree: ast.RangeAggregation, grouping: ast.Grouping | None) -> Hints:
    """What a range aggregation needs whose series are grouped like this."""
    single = grouping is not None and not grouping.without and not grouping.names
    no_labels = single or tree.op == "absent_over_time"
    if not no_labels and (grouping is None or grouping.without):
        return ALL
    after = tree.unwrap.filters if tree.unwrap else ()
    names = {*_names((*tree.logs.stages, *after)), *(grouping.names if grouping is not None else ())}
    if tree.unwrap is not None:
        names.add(tree.unwrap.name)
    required = frozenset(names | {name.removesuffix("_extracted") for name in names})
    return Hints(required, nothing=not required, errors_wanted="__error__" in required)
