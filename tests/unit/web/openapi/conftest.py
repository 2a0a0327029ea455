"""OpenAPI documents of several configurations."""

import pytest

from tests.support.http import Json
from tests.support.openapi import CONFIGURATIONS, NOTIFY, build_json_document


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def document(request: pytest.FixtureRequest) -> Json:
    """The document of each configuration."""
    return build_json_document(CONFIGURATIONS[request.param], NOTIFY if request.param == "all" else None)
