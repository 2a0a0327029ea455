"""Functions that read the most frequent JMESPaths, such as `id`, `data.status` and `results[]`.

The interpreter of jmespath walks the tree of an expression for each value, and takes ten times as long.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Getter = Callable[[Any], Any]
"""Returns the value at a path of a document or an item, None if there is none."""


def build_getter(expression: Any) -> Getter | None:
    """Build the function for a compiled JMESPath; None for an expression that is more than names and `[]`."""
    return _build(expression.parsed)


def _build(node: Mapping[str, Any]) -> Getter | None:
    names = _find_names(node)
    if names is not None:
        return _build_lookup(names)
    if node["type"] != "projection" or node["children"][0]["type"] != "flatten":
        return None
    flatten, element = node["children"]
    get_list, names = _build(flatten["children"][0]), _find_names(element)
    if get_list is None or names is None:
        return None
    return _build_projection(get_list, _build_lookup(names))


def _find_names(node: Mapping[str, Any]) -> Sequence[str] | None:
    """Return the names of members that an expression goes through, one after the other; None for any other one."""
    if node["type"] == "identity":
        return ()
    if node["type"] == "field":
        return (node["value"],)
    if node["type"] != "subexpression":
        return None
    names: list[str] = []
    for child in node["children"]:
        child_names = _find_names(child)
        if child_names is None:
            return None
        names += child_names
    return names


def _build_lookup(names: Sequence[str]) -> Getter:
    if len(names) == 1:
        (name,) = names
        return lambda value: value.get(name) if isinstance(value, dict) else None

    def get(value: Any) -> Any:
        for name in names:
            if not isinstance(value, dict):
                return None
            value = value.get(name)
        return value

    return get


def _build_projection(get_list: Getter, get_element: Getter) -> Getter:
    """Build the function for `list[].element`: elements that are lists are replaced by their own elements."""

    def get(value: Any) -> Any:
        elements = get_list(value)
        if not isinstance(elements, list):
            return None
        flat: list[Any] = []
        for element in elements:
            if isinstance(element, list):
                flat += element
            else:
                flat.append(element)
        return [found for element in flat if (found := get_element(element)) is not None]

    return get
