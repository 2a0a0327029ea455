"""The routes of the app, and the operations that its OpenAPI document describes."""

import re
from typing import NamedTuple

from tests.support.api_calls import UNKNOWN_ID
from tests.support.http import Json

AUTOMATIC = {"HEAD", "OPTIONS"}
"""Flask answers these by itself."""


class Route(NamedTuple):
    """A method of a path, as OpenAPI writes it."""

    method: str
    path: str

    @property
    def target(self) -> str:
        """The path with values for its variables."""
        return re.sub(r"\{\w+_id\}", UNKNOWN_ID, self.path).replace("{name}", "sandbox")


def get_operations(document: Json) -> dict[Route, Json]:
    return {
        Route(method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
