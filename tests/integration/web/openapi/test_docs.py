"""`/docs`: the reference page as it is served."""

import json
import re

from tests.support.api_calls import create_key
from tests.support.api_routes import get_operations
from tests.support.api_service import NOTIFY_ENVIRON
from tests.support.http import Json, Server
from tests.support.processes import Web


def test_page_needs_no_key_and_loads_nothing(web: Web, document: Json) -> None:
    response = web.call("GET", "/docs")
    assert (response.status, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert response.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    page = response.body.decode()
    for operation in get_operations(document).values():
        assert f'id="{operation["operationId"]}"' in page
    assert web.call("GET", "/docs").body == response.body


def test_hosts_of_notifications_are_shown_with_a_valid_key_only(web: Web, api: Server) -> None:
    assert "shop.example" in NOTIFY_ENVIRON["RECEIVER_NOTIFY_HOSTS"]
    host = json.dumps(re.escape("shop.example"))[1:-1]
    bound = create_key(api, providers=["sandbox"])
    for path in ("/openapi.json", "/docs"):
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Bearer {bound}"}):
            response = web.call("GET", path, b"", headers)
            assert (response.status, response.headers["vary"]) == (200, "Authorization")
            assert host not in response.body.decode()
    assert host in api.call("GET", "/openapi.json").body.decode()
    assert api.call("GET", "/docs").status == 200
