"""The parameters that every list's statement takes."""

from collections.abc import Mapping
from typing import Any

from receiver.domain.paging import Cursor


def build_page_parameters(cursor: Cursor | None, limit: int) -> Mapping[str, Any]:
    """Give a statement's parameters for a page; it reads one item more, to know whether the list goes on."""
    return {"before": cursor and cursor.time, "before_id": cursor and cursor.id, "limit": limit + 1}
