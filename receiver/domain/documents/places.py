"""Places in a document of objects, lists and texts, at which a value is set."""

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from receiver.domain.documents.nested import parse_text

EVERY_ITEM = -1
"""The step to every item of a list."""

Step = str | int

_STEP = re.compile(r'(?:^|\.)(?:([A-Za-z_][A-Za-z0-9_]*)|"([^"\\]+)")|\[(\*|[0-9]?)\]')


def parse_plain_path(path: str) -> Sequence[Step] | None:
    """Return the steps of a JMESPath that consists of names and `[]`, `[*]` or `[0]`; None for any other path."""
    steps: list[Step] = []
    position = 0
    while path != "@" and position < len(path):
        match = _STEP.match(path, position)
        if match is None:
            return None
        name, quoted, index = match.groups()
        steps.append(name or quoted or (int(index) if index.isdecimal() else EVERY_ITEM))
        position = match.end()
    return steps


def set_at(node: Any, steps: Sequence[Step], value: Any) -> Any:
    """Return a copy of a document with a value at the end of the steps.

    What is missing on the way is created: of a list, the next item. A text that is JSON, or the base64 of JSON, is
    written anew with the value in it.
    """
    if not steps:
        return value
    if isinstance(node, str) and (document := parse_text(node)) is not node:
        text = json.dumps(set_at(document, steps, value))
        return text if node.lstrip().startswith(("{", "[")) else b64encode(text.encode()).decode()
    step, rest = steps[0], steps[1:]
    if isinstance(step, str):
        members = dict(node) if isinstance(node, Mapping) else {}
        return {**members, step: set_at(members.get(step), rest, value)}
    items = list(node) if isinstance(node, list) else []
    if step == EVERY_ITEM:
        return [set_at(item, rest, value) for item in items or [None]]
    return [*items[:step], set_at(items[step] if step < len(items) else None, rest, value), *items[step + 1 :]]
