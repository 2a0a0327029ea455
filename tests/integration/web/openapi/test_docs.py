"""`/docs`: the reference page as it is served."""

from tests.support.api_routes import get_operations
from tests.support.http import Json
from tests.support.processes import Web


def test_page_needs_no_key_and_loads_nothing(web: Web, document: Json) -> None:
    response = web.call("GET", "/docs")
    assert (response.status, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert response.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    page = response.body.decode()
    for operation in get_operations(document).values():
        assert f'id="{operation["operationId"]}"' in page
    assert web.call("GET", "/docs").body == response.body
