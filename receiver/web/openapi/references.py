"""References within the OpenAPI document."""

from collections.abc import Mapping
from typing import Any


def build_reference(component: str) -> str:
    """Return the reference to a schema among the components."""
    return f"#/components/schemas/{component}"


def replace_references(value: Any, targets: Mapping[str, str]) -> Any:
    """Return a copy of a document in which references to a key of `targets` point to its value."""
    if isinstance(value, Mapping):
        copied = {key: replace_references(inner, targets) for key, inner in value.items()}
        if isinstance(copied.get("$ref"), str):
            copied["$ref"] = targets.get(copied["$ref"], copied["$ref"])
        return copied
    return [replace_references(inner, targets) for inner in value] if isinstance(value, list | tuple) else value
