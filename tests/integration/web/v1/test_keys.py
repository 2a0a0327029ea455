"""`/v1/keys`: creating, listing and revoking API keys."""

import pytest

from receiver.store.connections import Connection
from receiver.web.problems import ProblemType
from tests.support.api_calls import UNKNOWN_ID, create_key, create_request, send
from tests.support.http import Server, parse_problem


def test_key_is_shown_once_and_stored_hashed(api: Server, web_connection: Connection) -> None:
    response = send(api, "POST", "/v1/keys", {"name": "shop", "scopes": ["read"]})
    assert response.status == 201
    created = response.json
    assert len(created["key"]) > 40
    assert created["key"].startswith(created["prefix"])
    assert len(created["prefix"]) < 12
    stored = web_connection.execute("SELECT api_keys::text FROM api_keys WHERE id = %s", [created["id"]]).fetchone()
    assert created["key"] not in str(stored)
    (item,) = [item for item in send(api, "GET", "/v1/keys?limit=500").json["items"] if item["id"] == created["id"]]
    assert item == {name: value for name, value in created.items() if name != "key"}
    assert (item["scopes"], item["providers"], item["revoked_at"]) == (["read"], None, None)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"scopes": "read"}, "scopes"),
        ({"name": ""}, "name"),
        ({"name": "nul\0"}, "name"),
        ({"providers": []}, "providers"),
        ({"providers": ["nobody"]}, "providers"),
        ({"per_minute": 0}, "per_minute"),
        ({"per_minute": 10**12}, "per_minute"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"client": ""}, "client"),
        ({"client": "nul\0"}, "client"),
        ({"client": 7}, "client"),
        ({"client": "x" * 101}, "client"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_invalid_new_key_is_400_and_names_field(api: Server, fields: dict[str, object], field: str) -> None:
    response = send(api, "POST", "/v1/keys", {"name": "bad", "scopes": ["read"]} | fields)
    assert response.status == 400
    assert field in parse_problem(response)["errors"]


def test_restricted_key_cannot_administer_keys(api: Server) -> None:
    key = create_key(api, scopes=["admin"], providers=["another"])
    assert send(api, "GET", "/v1/keys", key=key).status == 403
    assert send(api, "POST", "/v1/keys", {"name": "more", "scopes": ["admin"]}, key=key).status == 403
    assert send(api, "POST", f"/v1/keys/{UNKNOWN_ID}/revoke", key=key).status == 403


def test_key_belongs_to_client_named_after_it_by_default(api: Server, web_connection: Connection) -> None:
    for fields, client in (({}, "shop-key"), ({"client": None}, "shop-key"), ({"client": "shop"}, "shop")):
        created = send(api, "POST", "/v1/keys", {"name": "shop-key", "scopes": ["submit", "read"], **fields}).json
        assert (created["name"], created["client"]) == ("shop-key", client)
        request = create_request(Server(api.host, api.port, headers={"authorization": f"Bearer {created['key']}"}))
        stored = web_connection.execute("SELECT client FROM requests WHERE id = %s", [request["id"]]).fetchone()
        assert stored == (client,)


def test_client_of_bootstrap_key_is_bootstrap(api: Server, web_connection: Connection) -> None:
    request = create_request(api)
    stored = web_connection.execute("SELECT client FROM requests WHERE id = %s", [request["id"]]).fetchone()
    assert stored == ("bootstrap",)


LOOK_ALIKES = [
    {"name": name}
    for name in ("boot strap", "boot-strap", "b00tstrap", "bооtstrap", "boot\u200bstrap", "ｂootstrap", "boötstrap.")
]


@pytest.mark.parametrize(
    "fields", [{"name": "bootstrap"}, {"client": "bootstrap"}, {"client": "BootStrap"}, *LOOK_ALIKES]
)
def test_bootstrap_is_reserved(api: Server, fields: dict[str, str]) -> None:
    response = send(api, "POST", "/v1/keys", {"name": "shop", "scopes": ["read"], **fields})
    errors = parse_problem(response, ProblemType.INVALID_REQUEST)["errors"]
    assert errors == {field: ["bootstrap is reserved for RECEIVER_ADMIN_KEY."] for field in fields}


@pytest.mark.parametrize("name", [" shop", "shop\t", "  ", "shop\u00a0", "shop\nshop", "shop\x7fshop"])
def test_key_name_and_client_have_no_hidden_characters(api: Server, name: str) -> None:
    for fields in ({"name": name}, {"name": "shop", "client": name}):
        response = send(api, "POST", "/v1/keys", {"scopes": ["read"], **fields})
        errors = parse_problem(response, ProblemType.INVALID_REQUEST)["errors"]
        error = "Must not begin or end with a space, and must not contain control characters."
        assert list(errors.values()) == [[error]]
