"""What all operations have in common: keys and scopes, queries and ids."""

from collections.abc import Collection
from urllib.parse import quote

import pytest

from receiver.domain.access import Scope
from tests.support.api_calls import UNKNOWN_ID, create_key, send
from tests.support.api_routes import Route, get_operations
from tests.support.declared_operations import OPERATIONS, assert_invalid, build_target
from tests.support.http import Json, Server, parse_problem
from tests.support.processes import ADMIN_KEY, Web

QUERIES = [
    (name, parameter["name"])
    for name, (_, _, operation) in OPERATIONS.items()
    for parameter in operation["parameters"]
    if parameter["in"] == "query"
]
HOSTILE_VALUES = {
    "NUL": "%00",
    "NUL within": "a%00b",
    "no UTF-8": "%FF",
    "half a character": "%C3",
    "a lone surrogate": "%ED%A0%80",
    "an overlong form": "%C0%AF",
    "a huge number": "9" * 1_001,
    "a huge text": quote("🚀" * 501),
}
PUBLIC = {"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"}


@pytest.mark.parametrize(("name", "parameter"), QUERIES)
@pytest.mark.parametrize("value", HOSTILE_VALUES.values(), ids=HOSTILE_VALUES)
def test_hostile_query_value_is_named(api: Server, name: str, parameter: str, value: str) -> None:
    method, path = build_target(name)
    query_name = "metadata.order" if parameter == "metadata" else parameter
    if parameter == "reference" and value == HOSTILE_VALUES["a huge text"]:
        value = "x" * 1_001  # a reference may be longer than any other text
    response = api.call(method, f"{path}?{query_name}={value}")
    assert response.status == 400, response
    assert {parameter, "_query"} & parse_problem(response)["errors"].keys()


@pytest.mark.parametrize("name", OPERATIONS)
def test_malformed_query_is_named(api: Server, name: str) -> None:
    method, path = build_target(name)
    for query, field in {
        "limit=1&limit=1": "limit",
        "a=1&a=2": "a",
        "%00=1": "\0",
        "%FF=1": "_query",
        "=1": "",
        "nothing=of-the-kind": "nothing",
    }.items():
        assert_invalid(api.call(method, f"{path}?{query}", b"{}", {"content-type": "application/json"}), field)


@pytest.mark.parametrize(
    "name", ["metadata", "metadata.", f"metadata.{'x' * 101}", "metadata.%00", "metadata.%ED%A0%80"]
)
def test_invalid_metadata_key_in_query_is_refused(api: Server, name: str) -> None:
    response = api.call("GET", f"/v1/requests?{name}=1")
    assert response.status == 400
    assert {"metadata", "metadata.KEY", "_query"} & parse_problem(response)["errors"].keys()


@pytest.mark.parametrize(
    "part",
    ["not-an-id", "%00", "%FF", "%2F", "..", UNKNOWN_ID[:-1], f"{UNKNOWN_ID}0", UNKNOWN_ID.replace("-", ""), "9" * 400],
)
@pytest.mark.parametrize("name", [name for name, (_, path, _) in OPERATIONS.items() if "{" in path])
def test_malformed_id_is_404(api: Server, name: str, part: str) -> None:
    method, path = build_target(name)
    response = api.call(
        method, path.replace(UNKNOWN_ID, part).replace("sandbox", part), b"{}", {"content-type": "application/json"}
    )
    assert response.status in {404, 405}, response
    parse_problem(response)


def test_only_public_routes_require_no_key(web: Web, document: Json, routes: Collection[Route]) -> None:
    for route in routes:
        operation = get_operations(document)[route]
        for headers in ({}, {"authorization": f"Bearer {ADMIN_KEY}x"}):
            response = web.call(route.method, route.target, b"", headers)
            if route.path in PUBLIC:
                assert (response.status, operation["security"]) == (200, []), route
            else:
                assert (response.status, parse_problem(response)["status"]) == (401, 401), route
                assert response.headers["www-authenticate"].lower().startswith("bearer")
                assert operation["security"] == [{"key": [operation["x-scope"]]}]


@pytest.fixture(scope="module")
def keys(web: Web) -> dict[frozenset[Scope], str]:
    """A key of each set of scopes."""
    api = Server(web.host, web.port, headers={"authorization": f"Bearer {ADMIN_KEY}"})
    sets = [{Scope.READ}, {Scope.SUBMIT}, {Scope.READ, Scope.SUBMIT}, {Scope.ADMIN}]
    return {frozenset(scopes): create_key(api, scopes=[scope.value for scope in sorted(scopes)]) for scopes in sets}


def test_every_route_requires_its_scope(
    api: Server, document: Json, routes: Collection[Route], keys: dict[frozenset[Scope], str]
) -> None:
    for route in routes:
        if route.path in PUBLIC:
            continue
        operation = get_operations(document)[route]
        required, own = Scope(operation["x-scope"]), operation.get("x-own-scope")
        for scopes, key in keys.items():
            # Without effect: no operation accepts the body, and no object has the id.
            response = send(api, route.method, f"{route.target}?nothing=of-the-kind", b"{", key=key)
            if {required, own, Scope.ADMIN} & scopes:
                assert response.status == 400, (route, scopes, response)
            else:
                assert response.status == 403, (route, scopes, response)
                assert required in parse_problem(response)["detail"]
