"""The `errors` of a problem document, nested like the body that they are about."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def flatten_errors(errors: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path of each field with messages, such as `payload.to.1`, and each of its messages as it stands."""
    if isinstance(errors, Mapping):
        for name, nested in errors.items():
            yield from flatten_errors(nested, f"{path}.{name}" if path else str(name))
    elif isinstance(errors, Sequence) and not isinstance(errors, str):
        for nested in errors:
            yield from flatten_errors(nested, path)
    else:
        yield path, errors
