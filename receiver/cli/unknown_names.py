"""Misspelt names of providers and operations in filters, for which the service only returns an empty list."""

from collections.abc import Mapping
from typing import Any

from receiver.cli.api import ApiError, Service
from receiver.cli.messages import print_message
from receiver.domain.suggestions import format_list_suggestion

_PAGE_SIZE = 500


def report_unknown_names(service: Service, filters: Mapping[str, Any]) -> None:
    """Print a message if the service has no provider, or its providers no operation, of the name in `filters`."""
    if not filters.get("provider") and not filters.get("operation"):
        return
    try:
        providers = service.get("providers", query={"limit": _PAGE_SIZE})["items"]
    except ApiError:  # such as for a key that may not list providers
        return
    names = {provider["name"] for provider in providers}
    operations = {name for provider in providers for name in provider["operations"]}
    for kind, choices in (("provider", names), ("operation", operations)):
        name = filters.get(kind)
        if name and name not in choices:
            listed = ", ".join(sorted(choices)) or "none"
            print_message(f"no {kind} has the name {name}; there are: {listed}.{format_list_suggestion(name, choices)}")
