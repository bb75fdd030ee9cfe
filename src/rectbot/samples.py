"""What a server tells of itself in Prometheus' text format, read by Prometheus' own client."""

from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from rectbot.errors import RectbotError


def samples(text: str, name: str) -> list[Sample]:
    """The samples of one name in the order of the text. Raises RectbotError where they cannot be read.

    Only their lines are parsed: a server tells of much else, and of that in forms which are no affair of ours.
    """
    begins = re.compile(rf"{re.escape(name)}[{{ \t]")
    lines = [line for line in text.split("\n") if begins.match(line)]
    try:
        families = list(text_string_to_metric_families("\n".join([*lines, ""])))
    except (ValueError, IndexError, KeyError) as error:
        raise RectbotError(f"{name} is told in another form than Prometheus' text format ({error})") from None
    return [sample for family in families for sample in family.samples if sample.name == name]
