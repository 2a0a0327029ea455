"""The parameters that the statement of every list takes."""

from collections.abc import Mapping
from typing import Any

from receiver.domain.paging import Cursor


def build_page_parameters(cursor: Cursor | None, limit: int) -> Mapping[str, Any]:
    """Return the parameters for one page. The statement reads one item more, which shows whether the list continues."""
    return {"before": cursor and cursor.time, "before_id": cursor and cursor.id, "limit": limit + 1}
