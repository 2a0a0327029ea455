"""`/v1/callbacks` over real HTTP: access to raw data, explanations, and replay."""

import hmac
import json
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from receiver.domain.jobs import derive_job_id
from receiver.store.connections import Connection
from receiver.store.erase import erase_callbacks
from receiver.store.limits import ProviderCapacity
from receiver.store.requests import claim_requests
from receiver.web.problems import ProblemType
from tests.support.api_calls import UNKNOWN_ID, create_key, create_request, fetch_items, send
from tests.support.api_service import CONFIG, TOKEN_PROVIDER
from tests.support.http import Json, Server, build_report, build_reports, parse_problem, sign_callback
from tests.support.processes import ADMIN_KEY, Web, assert_ends_well, build_provider_toml, running_web, wait_for

OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


def find_newest_callback(api: Server, **filters: str) -> Json:
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    callback: Json = wait_for(lambda: send(api, "GET", f"/v1/callbacks?limit=1&{query}").json["items"])[0]
    return callback


def deliver_twice(api: Server, body: bytes) -> tuple[str, str]:
    """Deliver a callback twice; return the ids of the accepted callback and of its duplicate."""
    message = f"msg_{uuid4().hex}"
    for _ in range(2):
        assert api.call_back(body, webhook_id=message).status == 200
    first, second = (find_newest_callback(api, verdict=verdict) for verdict in ("accepted", "duplicate"))
    return first["id"], second["id"]


def find_refused_callback(api: Server, provider: str, body: bytes) -> Json:
    """Return the refused callback with this body; refused callbacks are stored in the background, a second later."""

    def find() -> Json | None:
        items = send(api, "GET", f"/v1/callbacks?limit=20&provider={provider}&verdict=refused").json["items"]
        return next((item for item in items if get_callback(api, item["id"])["body"] == body.decode()), None)

    return wait_for(find)


def get_callback(api: Server, callback_id: str, **headers: str) -> Json:
    return send(api, "GET", f"/v1/callbacks/{callback_id}", **headers).json


def test_callback_is_shown_as_received_with_its_jobs(api: Server) -> None:
    reference = f"ref-{uuid4().hex}"
    body = build_report(reference)
    assert api.call_back(body).status == 200
    callback = get_callback(api, find_newest_callback(api, provider="sandbox", verdict="accepted")["id"])
    assert (callback["body"], callback["method"], callback["target"]) == (body.decode(), "POST", "/callbacks/sandbox")
    assert callback["headers"]["content-type"] == "application/json"
    assert callback["jobs"] == [str(derive_job_id("sandbox", reference))]
    assert (callback["errors"], callback["actions"]) == (None, [])


def test_jobs_of_callback_do_not_depend_on_configuration(api: Server, connection: Connection) -> None:
    reference = f"ref-{uuid4().hex}"
    assert api.call_back(build_report(reference)).status == 200
    callback = find_newest_callback(api, provider="sandbox", verdict="accepted")["id"]
    connection.execute("UPDATE callbacks SET provider = 'long-gone', body = 'no JSON' WHERE id = %s", [UUID(callback)])
    assert get_callback(api, callback)["jobs"] == [str(derive_job_id("sandbox", reference))]


def test_large_callback_shows_first_jobs_and_lists_all_events(api: Server) -> None:
    references = [f"ref-{uuid4().hex}" for _ in range(230)]
    body = build_reports(*[{"id": name, "state": "SENT", "reason": f"for {name}"} for name in references])
    assert api.call_back(body).status == 200
    callback = find_newest_callback(api, provider="sandbox", verdict="accepted")["id"]
    job_ids = [str(derive_job_id("sandbox", name)) for name in references]
    assert get_callback(api, callback)["jobs"] == job_ids[:100]
    events = fetch_items(api, f"/v1/callbacks/{callback}/events", 100)
    assert [(item["position"], item["job_id"], item["reference"]) for item in events] == [
        *zip(range(230), job_ids, references, strict=True)
    ]
    assert {(item["status"], item["provider_status"], item["callback_id"]) for item in events} == {
        ("in_progress", "SENT", callback)
    }
    assert events[-1]["detail"] == f"for {references[-1]}"


def test_duplicate_has_events_of_first_delivery(api: Server) -> None:
    reference, message = f"ref-{uuid4().hex}", f"msg_{uuid4().hex}"
    for _ in range(2):
        assert api.call_back(build_report(reference), webhook_id=message).status == 200
    first = find_newest_callback(api, verdict="accepted")["id"]
    duplicate = find_newest_callback(api, verdict="duplicate")["id"]
    assert get_callback(api, duplicate)["jobs"] == [str(derive_job_id("sandbox", reference))]
    deliveries = get_callback(api, duplicate)["deliveries"]
    assert [delivery["verdict"] for delivery in deliveries] == ["accepted", "duplicate"]
    assert deliveries[1]["id"] == duplicate
    [event] = fetch_items(api, f"/v1/callbacks/{duplicate}/events", 50)
    assert event["callback_id"] == first
    assert fetch_items(api, f"/v1/callbacks/{first}/events", 50) == [event]


def test_refused_callback_has_no_events(api: Server) -> None:
    body = build_report(f"ref-{uuid4().hex}")
    assert api.call("POST", "/callbacks/sandbox", body, sign_callback(body, secret=OTHER_SECRET)).status == 401
    refused = find_refused_callback(api, "sandbox", body)["id"]
    assert get_callback(api, refused)["jobs"] == []
    assert fetch_items(api, f"/v1/callbacks/{refused}/events", 50) == []


@pytest.mark.parametrize("query", ["limit=0", "cursor=x", f"cursor={'f' * 72}", f"cursor={'0' * 45}", "provider=acme"])
def test_invalid_query_of_callback_events_is_400(api: Server, query: str) -> None:
    response = send(api, "GET", f"/v1/callbacks/{UNKNOWN_ID}/events?{query}")
    assert response.status == 400, response
    assert list(parse_problem(response)["errors"]) == [query.partition("=")[0]]


def test_raw_data_is_shown_to_admins_only(api: Server) -> None:
    assert api.call_back(build_report("a-reference-to-hide")).status in {200, 401}
    callback = find_newest_callback(api, provider="sandbox")["id"]
    response = send(api, "GET", f"/v1/callbacks/{callback}", key=create_key(api, scopes=["read"]))
    assert (response.json["target"], response.json["headers"], response.json["body"]) == (None, None, None)
    assert b"a-reference-to-hide" not in response.body
    assert response.json["explanation"]["causes"]


def test_restricted_key_does_not_see_other_providers_callbacks(api: Server) -> None:
    assert api.call_back(build_report(f"ref-{uuid4().hex}")).status == 200
    hidden = find_newest_callback(api, provider="sandbox")["id"]
    key = create_key(api, scopes=["admin"], providers=["another"])
    assert send(api, "GET", f"/v1/callbacks/{hidden}", key=key).status == 404
    assert send(api, "GET", f"/v1/callbacks/{hidden}/events", key=key).status == 404
    assert send(api, "POST", f"/v1/callbacks/{hidden}/replay", key=key).status == 404
    items = send(api, "GET", "/v1/callbacks?limit=500", key=key).json["items"]
    assert {item["provider"] for item in items} <= {"another"}


def test_events_of_unknown_callback_are_404(api: Server) -> None:
    assert send(api, "GET", f"/v1/callbacks/{UNKNOWN_ID}/events").status == 404


def test_erased_callback_is_shown_without_data_and_not_replayed(api: Server, web_connection: Connection) -> None:
    first, duplicate = deliver_twice(api, build_report(f"ref-{uuid4().hex}"))
    erase_callbacks(web_connection, [UUID(first), UUID(duplicate)])
    for callback_id in (first, duplicate):
        callback = get_callback(api, callback_id)
        assert [callback[name] for name in ("target", "headers", "body", "caller_address")] == [None] * 4
        assert callback["erased_at"] is not None
        assert "retention" in callback["explanation"]["causes"][0]
        response = send(api, "POST", f"/v1/callbacks/{callback_id}/replay")
        assert "was erased" in parse_problem(response, ProblemType.STATE_CONFLICT)["detail"]


def test_replay_of_unknown_callback_is_404(api: Server) -> None:
    assert send(api, "POST", f"/v1/callbacks/{UNKNOWN_ID}/replay").status == 404


def test_replay_of_accepted_callback_only_records_action(api: Server) -> None:
    reference = f"ref-{uuid4().hex}"
    assert api.call_back(build_report(reference)).status == 200
    callback = find_newest_callback(api, provider="sandbox")["id"]
    job = f"/v1/jobs/{derive_job_id('sandbox', reference)}"
    before = send(api, "GET", job).json
    response = send(api, "POST", f"/v1/callbacks/{callback}/replay", {"reason": "to see"})
    assert (response.status, response.json["verdict"]) == (200, "accepted")
    assert [(action["action"], action["actor"], action["reason"]) for action in response.json["actions"]] == [
        ("replay", "bootstrap", "to see")
    ]
    assert send(api, "GET", job).json == before


@pytest.fixture
def restarted(web_dsn: str, tmp_path: Path) -> Iterator[Server]:
    """A web process in whose configuration the provider has a further secret."""
    config = CONFIG.replace(build_provider_toml("sandbox", more="deadline = 600"), "") + build_provider_toml(
        "sandbox"
    ).replace('secrets = ["', f'secrets = ["{OTHER_SECRET}", "')
    with socket.create_server(("127.0.0.1", 0)) as listener, running_web(tmp_path, web_dsn, config, listener) as web:
        yield Server(web.host, web.port, headers={"authorization": f"Bearer {ADMIN_KEY}"})
        assert_ends_well(web)


def test_refused_callback_is_replayed_as_of_its_receive_time(
    api: Server, restarted: Server, web_connection: Connection
) -> None:
    reference = f"ref-{uuid4().hex}"
    body = build_report(reference)
    assert api.call("POST", "/callbacks/sandbox", body, sign_callback(body, secret=OTHER_SECRET)).status == 401
    callback = find_refused_callback(api, "sandbox", body)
    still = send(api, "POST", f"/v1/callbacks/{callback['id']}/replay")
    assert still.status == 409
    assert "still refused" in parse_problem(still)["detail"]
    assert send(api, "GET", f"/v1/jobs/{derive_job_id('sandbox', reference)}").status == 404
    web_connection.execute(
        "UPDATE callbacks SET received_at = received_at - interval '90 seconds' WHERE id = %s", [callback["id"]]
    )
    response = send(restarted, "POST", f"/v1/callbacks/{callback['id']}/replay")
    assert (response.status, response.json["verdict"], response.json["id"]) == (200, "accepted", callback["id"])
    (job_event,) = send(api, "GET", f"/v1/jobs/{derive_job_id('sandbox', reference)}").json["events"]
    assert (job_event["status"], job_event["callback_id"]) == ("succeeded", callback["id"])
    assert job_event["received_at"] == response.json["received_at"]
    assert datetime.fromisoformat(job_event["received_at"]) < datetime.fromisoformat(callback["received_at"])
    again = restarted.call("POST", "/callbacks/sandbox", body, sign_callback(body, secret=OTHER_SECRET))
    assert again.status == 200


def test_replay_of_invalid_callback_with_accepted_twin(api: Server, web_connection: Connection) -> None:
    reference = f"ref-{uuid4().hex}"
    body, message = build_report(reference), f"msg_{uuid4().hex}"
    assert api.call_back(body, webhook_id=message).status == 200
    accepted = find_newest_callback(api, provider="sandbox", verdict="accepted")["id"]
    # As if it had been parsed with a wrong mapping, and was delivered again after the correction.
    [(invalid,)] = web_connection.execute(
        """INSERT INTO callbacks (id, identity, provider, received_at, verdict, method, target, headers, body, errors)
        SELECT gen_random_uuid(), identity, provider, received_at - interval '1 minute', 'invalid', method, target,
            headers, body, '{"id": ["wrong path"]}' FROM callbacks WHERE id = %s RETURNING id""",
        [accepted],
    )
    response = send(api, "POST", f"/v1/callbacks/{invalid}/replay")
    assert (response.status, response.json["verdict"], response.json["errors"]) == (200, "duplicate", None)
    assert json.loads(response.json["body"]) == json.loads(body)
    (job_event,) = send(api, "GET", f"/v1/jobs/{derive_job_id('sandbox', reference)}").json["events"]
    assert job_event["received_at"] == response.json["received_at"]


def test_replay_of_duplicate_processes_first_delivery(api: Server) -> None:
    first, second = deliver_twice(api, build_report(f"ref-{uuid4().hex}"))
    response = send(api, "POST", f"/v1/callbacks/{second}/replay")
    assert (response.status, response.json["id"], response.json["verdict"]) == (200, first, "accepted")


def test_duplicate_with_large_headers_is_stored_without_them(api: Server, web_connection: Connection) -> None:
    body, message = build_report(f"ref-{uuid4().hex}"), f"msg_{uuid4().hex}"
    headers = sign_callback(body, webhook_id=message) | {f"x-{number}": "x" * 4_000 for number in range(15)}
    for _ in range(2):
        assert api.call("POST", "/callbacks/sandbox?a=1", body, headers).status == 200
    first, second = (
        get_callback(api, find_newest_callback(api, provider="sandbox", verdict=verdict)["id"])
        for verdict in ("accepted", "duplicate")
    )
    for name in ("target", "headers", "body", "secret_fingerprint"):
        assert second[name] == first[name]
    assert first["headers"]["webhook-id"] == message
    size = "SELECT pg_column_size(target) + pg_column_size(headers) + coalesce(length(body), 0) FROM callbacks"
    ((stored,),) = web_connection.execute(f"{size} WHERE id = %s".encode(), [second["id"]]).fetchall()
    assert stored < 1_500
    assert sum(map(len, first["headers"].values())) < 64 << 10


def test_replay_of_wrong_token_or_address_is_refused(api: Server, web: Web, web_connection: Connection) -> None:
    assert TOKEN_PROVIDER in CONFIG
    token = "/callbacks/tokened/an-unguessable-end-of-the-url"
    assert (
        web.call("POST", token, build_report(f"ref-{uuid4().hex}"), {"content-type": "application/json"}).status == 200
    )
    callback = find_newest_callback(api, provider="tokened", verdict="accepted")["id"]
    for target, errors in (("/callbacks/tokened/guess", {"token": ["x"]}), (token, {"address": ["x"]})):
        web_connection.execute(
            "UPDATE callbacks SET verdict = 'refused', target = %s, errors = %s::jsonb WHERE id = %s",
            [target, json.dumps(errors), callback],
        )
        assert send(api, "POST", f"/v1/callbacks/{callback}/replay").status == 409


def test_duplicates_follow_a_callback_with_a_new_identity(api: Server, web_connection: Connection) -> None:
    body = build_report(f"ref-{uuid4().hex}")
    first, second = deliver_twice(api, body)
    # As if both had been stored when the identity of a callback was computed in another way.
    web_connection.execute("UPDATE callbacks SET identity = gen_random_uuid() WHERE id = %s", [first])
    web_connection.execute(
        "UPDATE callbacks SET identity = (SELECT identity FROM callbacks WHERE id = %s) WHERE id = %s", [first, second]
    )
    assert send(api, "POST", f"/v1/callbacks/{first}/replay").status == 200
    assert get_callback(api, second)["body"] == body.decode()
    assert send(api, "POST", f"/v1/callbacks/{second}/replay").json["id"] == first
    web_connection.execute("UPDATE callbacks SET identity = gen_random_uuid() WHERE id = %s", [second])
    assert send(api, "POST", f"/v1/callbacks/{second}/replay").status == 409


def create_unknown_attempt(api: Server, connection: Connection) -> tuple[str, UUID]:
    """Submit a request and make it unknown after an attempt without response; return both ids."""
    request = create_request(api, provider="by-attempt")["id"]
    (attempt,) = [
        attempt
        for attempt in claim_requests(connection, [ProviderCapacity("by-attempt", 500)], {"by-attempt": 60.0})
        if str(attempt.request_id) == request
    ]
    connection.execute(
        "UPDATE requests SET status = 'unknown', leased_until = NULL, ambiguous = true WHERE id = %s", [UUID(request)]
    )
    return request, attempt.id


def test_attempt_token_resolves_request_and_is_redacted(api: Server, web_connection: Connection) -> None:
    request, token = create_unknown_attempt(api, web_connection)
    body = build_report(f"ref-{uuid4().hex}")
    target = f"/callbacks/by-attempt?region=eu&request={token}"
    assert api.call("POST", target, body, sign_callback(body)).status == 200
    detail = send(api, "GET", f"/v1/requests/{request}").json
    assert (detail["status"], [job["status"] for job in detail["jobs"]]) == ("accepted", ["succeeded"])
    callback = find_newest_callback(api, provider="by-attempt")["id"]
    for key in (None, create_key(api, scopes=["read"])):
        response = send(api, "GET", f"/v1/callbacks/{callback}", key=key)
        assert str(token).encode() not in response.body
    assert get_callback(api, callback)["target"] == "/callbacks/by-attempt?region=eu&request=[redacted]"


def test_replay_uses_attempt_token(api: Server, web_connection: Connection) -> None:
    request, token = create_unknown_attempt(api, web_connection)
    reference = f"ref-{uuid4().hex}"
    body = build_report(reference)
    assert api.call("POST", "/callbacks/by-attempt", body, sign_callback(body)).status == 200
    callback = find_newest_callback(api, provider="by-attempt")["id"]
    assert send(api, "GET", f"/v1/requests/{request}").json["status"] == "unknown"
    # As if the token had not been parsed on arrival.
    target = f"/callbacks/by-attempt?request={token}"
    web_connection.execute("UPDATE callbacks SET target = %s WHERE id = %s", [target, UUID(callback)])
    assert send(api, "POST", f"/v1/callbacks/{callback}/replay").status == 200
    detail = send(api, "GET", f"/v1/requests/{request}").json
    assert (detail["status"], [job["reference"] for job in detail["jobs"]]) == ("accepted", [reference])


@pytest.mark.parametrize("query", ["request=", "request=%00", f"request={UNKNOWN_ID}", "request=%FF&request=7", "&&=&"])
def test_invalid_attempt_token_is_ignored(api: Server, query: str) -> None:
    reference = f"ref-{uuid4().hex}"
    body = build_report(reference)
    assert api.call("POST", f"/callbacks/by-attempt?{query}", body, sign_callback(body)).status == 200
    job = send(api, "GET", f"/v1/jobs/{derive_job_id('by-attempt', reference)}").json
    assert (job["status"], job["unmatched"]) == ("succeeded", True)


@pytest.mark.parametrize("end", ["?", "/?"])
def test_explanation_does_not_reveal_url_token(api: Server, end: str) -> None:
    body, token = build_report(f"ref-{uuid4().hex}"), str(uuid4())
    path, query = "/callbacks/signing-urls/an-unguessable-end", f"key=1&request={token}"
    target = f"{path}?{query}"
    signed_bytes = f"http://receiver.example{path}{end}{query}".encode() + body
    signature = hmac.new(b"a secret of theirs", signed_bytes, "sha256").hexdigest()
    assert api.call("POST", target, body, {"content-type": "application/json", "x-signature": signature}).status == 401
    refused = find_refused_callback(api, "signing-urls", body)["id"]
    as_reader = send(api, "GET", f"/v1/callbacks/{refused}", key=create_key(api, scopes=["read"]))
    assert any(
        "http://receiver.example/callbacks/signing-urls" in cause for cause in as_reader.json["explanation"]["causes"]
    )
    assert b"unguessable" not in as_reader.body
    assert b"key=1" not in as_reader.body
    for response in (as_reader, send(api, "GET", f"/v1/callbacks/{refused}")):
        assert b"unguessable" not in response.body
        assert token.encode() not in response.body
