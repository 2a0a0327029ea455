"""Accounts of a provider over real HTTP: requests, callbacks, filters, restricted keys, pauses."""

import socket
from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import pytest

from receiver.devtools.scratch import scratch_database
from receiver.store.connections import Connection, connect
from tests.support.api_calls import build_submission, create_key, create_request, send, submit
from tests.support.factories import SECRET
from tests.support.http import Json, Response, Server, build_report
from tests.support.processes import ADMIN_KEY, Web, assert_ends_well, build_provider_toml, running_web

OTHER_SECRET = "whsec_bm90IHNvIHNlY3JldCBhZnRlciBhbGw="
CONFIG = f"""
{build_provider_toml("acme")}
[providers.acme.accounts.north]
signature = {{ secrets = ["{OTHER_SECRET}"], token = "token-of-account-north" }}
[providers.acme.accounts.south]
max_concurrency = 2

[providers.chain]
kind = "sandbox"
base_url = "http://127.0.0.1:9"
signature = {{ scheme = "standard-webhooks" }}
[providers.chain.accounts.first]
auth = {{ scheme = "bearer", secret = "key" }}
signature = {{ secrets = ["{SECRET}"] }}
{build_provider_toml("plain")}
"""


@pytest.fixture(scope="module")
def accounts_dsn(server: str, template: str) -> Iterator[str]:
    """The DSN of the database of `accounts_web`."""
    with scratch_database(server, template=template) as scratch_dsn:
        yield scratch_dsn


@pytest.fixture(scope="module")
def accounts_web(accounts_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A web process whose providers have accounts."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_web(tmp_path_factory.mktemp("web"), accounts_dsn, CONFIG, listener) as running,
    ):
        yield running
        assert_ends_well(running)


@pytest.fixture
def accounts_api(accounts_web: Web) -> Server:
    """The web process, called with the bootstrap key."""
    return Server(accounts_web.host, accounts_web.port, headers={"authorization": f"Bearer {ADMIN_KEY}"})


@pytest.fixture
def accounts_connection(accounts_dsn: str) -> Iterator[Connection]:
    """A connection to the database of `accounts_web`."""
    with closing(connect(accounts_dsn)) as connection:
        yield connection


def submit_to(api: Server, provider: str, account: str | None) -> Response:
    return submit(api, build_submission(provider=provider, account=account))


def fetch_names(api: Server, query: str = "", key: str | None = None) -> list[tuple[str, str | None]]:
    items = send(api, "GET", f"/v1/providers{query}", key=key).json["items"]
    return [(item["name"], item["account"]) for item in items]


def test_request_shows_provider_and_account(accounts_api: Server, accounts_connection: Connection) -> None:
    request = create_request(accounts_api, provider="acme", account="north")
    assert (request["provider"], request["account"]) == ("acme", "north")
    [(stored,)] = accounts_connection.execute("SELECT provider FROM requests WHERE id = %s", [request["id"]])
    assert stored == "acme/north"
    without = create_request(accounts_api, provider="acme")
    assert (without["provider"], without["account"]) == ("acme", None)


@pytest.mark.parametrize(
    ("provider", "account", "field", "part"),
    [
        ("acme", "nort", "account", "Must be one of: north, south."),
        ("acme", "elsewhere", "account", "Must be one of: north, south."),
        ("chain", None, "account", "Missing data for required field. Must be one of: first."),
        ("plain", "north", "account", "The provider plain has no accounts."),
        ("acme/north", None, "provider", "Must be one of: acme, chain, plain."),
        ("nobody", "north", "provider", "Must be one of: acme, chain, plain."),
    ],
)
def test_wrong_account_is_refused_with_the_remedy(
    accounts_api: Server, provider: str, account: str | None, field: str, part: str
) -> None:
    response = submit_to(accounts_api, provider, account)
    assert response.status == 400
    assert part in response.json["errors"][field][0]


def test_batch_takes_accounts(accounts_api: Server) -> None:
    submissions = [build_submission(provider="acme", account=name) for name in ("north", "south", None)]
    response = send(accounts_api, "POST", "/v1/requests/batch", {"requests": submissions})
    assert [item["account"] for item in response.json["items"]] == ["north", "south", None]


def test_filter_by_provider_includes_its_accounts(accounts_api: Server) -> None:
    ids = {name: create_request(accounts_api, provider="acme", account=name)["id"] for name in (None, "north", "south")}
    ids["first"] = create_request(accounts_api, provider="chain", account="first")["id"]

    def find(query: str) -> set[str | None]:
        items = send(accounts_api, "GET", f"/v1/requests?limit=500&{query}").json["items"]
        found = {item["id"] for item in items}
        return {name for name, request_id in ids.items() if request_id in found}

    assert find("provider=acme") == {None, "north", "south"}
    assert find("provider=acme&account=north") == {"north"}
    assert find("provider=chain") == {"first"}
    assert send(accounts_api, "GET", "/v1/requests?account=north").status == 400
    assert send(accounts_api, "GET", "/v1/requests?provider=acme/north").status == 400


@pytest.mark.slow
def test_tail_shows_and_filters_accounts(accounts_web: Web, accounts_api: Server) -> None:
    cursor = send(accounts_api, "GET", "/v1/tail").json["cursor"]
    for provider, name in (("acme", None), ("acme", "south"), ("chain", "first")):
        create_request(accounts_api, provider=provider, account=name)
    assert accounts_web.call_back(build_report(f"ref-{uuid4().hex}"), "acme/a/south").status == 200

    def find(query: str) -> list[tuple[str, str, str | None]]:
        items = send(accounts_api, "GET", f"/v1/tail?cursor={cursor}{query}").json["items"]
        return sorted({(item["kind"], item["provider"], item["account"]) for item in items}, key=str)

    south = [("callback", "acme", "south"), ("job", "acme", "south"), ("request", "acme", "south")]
    base, chain = ("request", "acme", None), ("request", "chain", "first")
    assert find("&provider=acme&account=south") == south
    assert find("&provider=acme") == sorted([*south, base], key=str)
    assert find("&provider=chain&account=other") == []
    assert find("") == sorted([*south, base, chain], key=str)
    assert send(accounts_api, "GET", f"/v1/tail?cursor={cursor}&account=south").status == 400


def test_callback_of_an_account_ends_its_own_job(accounts_web: Web, accounts_api: Server) -> None:
    reference = f"ref-{uuid4().hex}"
    delivered = [
        ("acme/a/north/token-of-account-north", OTHER_SECRET, "DELIVERED"),
        ("acme/a/south", SECRET, "UNDELIVERED"),
        ("acme", SECRET, "DELIVERED"),
    ]
    for path, secret, state in delivered:
        assert accounts_web.call_back(build_report(reference, state), path, secret=secret).status == 200
    page = send(accounts_api, "GET", f"/v1/jobs?provider=acme&reference={reference}").json
    statuses = {item["account"]: item["status"] for item in page["items"]}
    assert statuses == {"north": "succeeded", "south": "failed", None: "succeeded"}
    [job] = send(accounts_api, "GET", f"/v1/jobs?provider=acme&account=south&reference={reference}").json["items"]
    assert job["account"] == "south"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("acme/a/north", 404),
        ("acme/a/north/token-of-another", 404),
        ("acme/a/nobody/token-of-account-north", 404),
        ("acme/a/south/token-of-account-north", 404),
        ("acme/token-of-account-north", 404),
        ("acme/a/", 404),
        ("acme/a", 404),
        ("acme%2Fnorth/token-of-account-north", 404),
        ("chain", 404),
        ("plain/a/north", 404),
        ("acme/a/north/token-of-account-north", 401),
    ],
)
def test_callback_to_a_wrong_account_is_refused(accounts_web: Web, path: str, status: int) -> None:
    assert accounts_web.call_back(build_report("ref-1"), path).status == status


def test_refused_callback_of_an_account_is_explained_without_its_token(accounts_web: Web, accounts_api: Server) -> None:
    path = "acme/a/north/token-of-account-north"
    assert accounts_web.call_back(build_report("forged"), path).status == 401
    query = "/v1/callbacks?provider=acme&account=north&verdict=refused&limit=1"
    accounts_web.wait_until(lambda: bool(send(accounts_api, "GET", query).json["items"]))
    [item] = send(accounts_api, "GET", query).json["items"]
    shown = send(accounts_api, "GET", f"/v1/callbacks/{item['id']}")
    assert shown.json["target"] == "/callbacks/acme/a/north/[redacted]"
    assert b"token-of-account" not in shown.body
    replayed = send(accounts_api, "POST", f"/v1/callbacks/{item['id']}/replay")
    assert (replayed.status, "still refused" in replayed.json["detail"]) == (409, True)


def test_key_of_a_provider_includes_its_accounts(accounts_api: Server) -> None:
    whole = create_key(accounts_api, providers=["acme"], scopes=["submit", "read"])
    narrow = create_key(accounts_api, providers=["acme/north"], scopes=["submit", "read"])
    assert fetch_names(accounts_api, key=whole) == [("acme", None), ("acme", "north"), ("acme", "south")]
    assert fetch_names(accounts_api, key=narrow) == [("acme", "north")]
    statuses = {}
    for account in ("north", "south", None):
        body = build_submission(provider="acme", account=account)
        statuses[account] = [
            send(accounts_api, "POST", "/v1/requests", body, key=key).status for key in (whole, narrow)
        ]
    assert statuses == {"north": [202, 202], "south": [202, 403], None: [202, 403]}
    listed = send(accounts_api, "GET", "/v1/requests?provider=acme", key=narrow).json["items"]
    assert {item["account"] for item in listed} == {"north"}
    assert send(accounts_api, "GET", "/v1/requests?provider=chain", key=narrow).json["items"] == []


def test_key_of_an_unknown_account_is_refused(accounts_api: Server) -> None:
    body = {"name": "shop", "scopes": ["read"], "providers": ["acme/nobody"]}
    assert send(accounts_api, "POST", "/v1/keys", body).status == 400


def test_providers_are_listed_by_page(accounts_api: Server) -> None:
    names = [("acme", None), ("acme", "north"), ("acme", "south"), ("chain", "first"), ("plain", None)]
    assert fetch_names(accounts_api) == names
    assert fetch_names(accounts_api, "?provider=acme&account=south") == [("acme", "south")]
    page = send(accounts_api, "GET", "/v1/providers?limit=2").json
    assert [item["account"] for item in page["items"]] == [None, "north"]
    assert fetch_names(accounts_api, f"?limit=3&cursor={page['next_cursor']}") == names[2:]


def test_account_shows_its_callback_url(accounts_api: Server) -> None:
    [item] = send(accounts_api, "GET", "/v1/providers?provider=acme&account=north").json["items"]
    assert item["callback_url"].endswith("/callbacks/acme/a/north/token-of-account-north")


def find_paused(api: Server) -> set[tuple[str, str | None]]:
    items = send(api, "GET", "/v1/providers").json["items"]
    return {(item["name"], item["account"]) for item in items if item["paused"]}


def act(api: Server, action: str, name: str, **body: str) -> Json:
    response = send(api, "POST", f"/v1/providers/{name}/{action}", body)
    assert response.status == 200, response
    return response.json


def test_pause_covers_all_accounts_or_one(accounts_api: Server) -> None:
    assert act(accounts_api, "pause", "acme", reason="outage")["account"] is None
    assert find_paused(accounts_api) == {("acme", None), ("acme", "north"), ("acme", "south")}
    assert act(accounts_api, "resume", "acme", account="south")["account"] == "south"
    assert find_paused(accounts_api) == {("acme", None), ("acme", "north")}
    act(accounts_api, "resume", "acme")
    assert act(accounts_api, "pause", "chain")["account"] == "first"
    assert find_paused(accounts_api) == {("chain", "first")}
    act(accounts_api, "resume", "chain")
    assert find_paused(accounts_api) == set()
    assert send(accounts_api, "POST", "/v1/providers/acme/pause", {"account": "nobody"}).status == 404


def test_stats_are_by_account(accounts_api: Server) -> None:
    create_request(accounts_api, provider="chain", account="first")
    stats = send(accounts_api, "GET", "/v1/stats?provider=chain").json
    [item] = stats["providers"]
    assert (item["name"], item["account"]) == ("chain", "first")
    assert item["requests"]["queued"] >= 1
