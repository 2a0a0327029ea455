"""The callback endpoint by configuration: GET, handshakes, acknowledgements, trust, compressed bodies."""

import gzip
import hmac
import json
from base64 import b64encode

import pytest

from receiver.domain.jobs import derive_job_id
from receiver.store.connections import Connection
from tests.support.declared_service import (
    KEY,
    REWRITTEN_URL,
    TOKEN,
    build_state,
    find_status,
    hub_signature,
    post,
    sign_nonce,
)
from tests.support.processes import Web, wait_for


def test_get_callback_is_parsed_from_its_query(
    declared_web: Web, declared_connection: Connection, reference: str
) -> None:
    for state in ("RUNNING", "DONE"):
        response = declared_web.call("GET", f"/callbacks/getter/{TOKEN}?id={reference}&state={state}")
        assert response.status == 200
    assert find_status(declared_connection, "getter", reference) == "succeeded"
    assert post(declared_web, f"getter/{TOKEN}", build_state(reference)).status == 405


def test_acknowledgement_is_configured_by_provider(declared_web: Web, reference: str) -> None:
    response = post(declared_web, f"adyen/{TOKEN}", build_state(reference))
    assert (response.status, response.body) == (202, b"[accepted]")


def test_handshake_echoes_challenge(declared_web: Web) -> None:
    response = declared_web.call("GET", "/callbacks/meta?t=verify+me&c=1158201444")
    assert (response.status, response.body) == (200, b"1158201444")
    assert response.headers["content-type"].startswith("text/plain")
    assert declared_web.call("GET", "/callbacks/meta?t=verify&c=1").status == 401
    assert declared_web.call("GET", "/callbacks/meta").status == 401


REFUSED: dict[str, tuple[str, int, str, bytes, dict[str, str]]] = {
    "signature": ("POST", 401, "secret that is not configured", b"{}", {"x-hub-signature-256": f"sha256={'0' * 64}"}),
    "method": ("PUT", 405, "another method than", b"{}", {}),
    "media_type": ("POST", 415, "`callback.body`", b"<a/>", {"content-type": "text/xml"}),
    "too_large": ("POST", 413, "RECEIVER_MAX_BODY", b"", {"content-length": str(2 << 20)}),
    "unreadable": ("POST", 400, "not framed", b"x\r\n", {"transfer-encoding": "chunked"}),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refused_delivery_is_counted_and_explained(
    declared_web: Web, declared_connection: Connection, reason: str
) -> None:
    method, status, cause, body, headers = REFUSED[reason]
    caller = f"198.51.100.{list(REFUSED).index(reason)}"
    headers = {"content-type": "application/json", **headers, "x-forwarded-for": f"203.0.113.1, {caller}"}
    assert declared_web.call(method, "/callbacks/hub", body, headers).status == status
    query = "SELECT id FROM callbacks WHERE verdict = 'refused' AND caller_address = %s"
    [(callback_id,)] = wait_for(lambda: declared_connection.execute(query, [caller]).fetchall())
    admin = {"authorization": f"Bearer {KEY}"}
    shown = declared_web.call("GET", f"/v1/callbacks/{callback_id}", headers=admin).json
    assert shown["caller_address"] == caller
    assert cause in shown["explanation"]["causes"][0]
    [hub] = [
        item for item in declared_web.call("GET", "/v1/providers", headers=admin).json["items"] if item["name"] == "hub"
    ]
    refusals = {(item["reason"], item["caller_address"]): item["count"] for item in hub["refusals"]}
    assert refusals[reason, caller] == 1
    assert hub["attention"]["refused"] >= 1
    replayed = declared_web.call("POST", f"/v1/callbacks/{callback_id}/replay", b"", admin)
    assert (replayed.status, "still refused" in replayed.json["detail"]) == (409, True)


def test_delivery_to_unknown_url_is_not_counted(declared_web: Web, declared_connection: Connection) -> None:
    for path in ("/callbacks/nobody", f"/callbacks/hub/{TOKEN}"):
        assert declared_web.call("PUT", path, b"", {"x-forwarded-for": "198.51.100.99"}).status == 404
    query = "SELECT count(*) FROM callback_refusals WHERE caller_address = '198.51.100.99'"
    assert declared_connection.execute(query).fetchone() == (0,)


def test_address_of_an_accepted_callback_is_stored(
    declared_web: Web, declared_connection: Connection, reference: str
) -> None:
    headers = {"x-forwarded-for": "198.51.100.77"}
    assert post(declared_web, f"hook/{TOKEN}", build_state(reference), headers).status == 200
    query = "SELECT count(*) FROM callbacks WHERE caller_address = '198.51.100.77' AND verdict = 'accepted'"
    assert declared_connection.execute(query).fetchone() == (1,)


def test_callback_is_signed_by_the_public_url_of_its_provider(
    declared_web: Web, declared_connection: Connection, reference: str
) -> None:
    body = build_state(reference)
    mac = b64encode(hmac.digest(b"new secret", f"{REWRITTEN_URL}?a=1".encode() + body, "sha256")).decode()
    headers = {"content-type": "application/json", "x-square-hmacsha256-signature": mac}
    assert declared_web.call("POST", "/callbacks/rewritten?a=1", body, headers).status == 200
    assert find_status(declared_connection, "rewritten", reference) == "succeeded"
    assert declared_web.call("POST", "/callbacks/rewritten?a=2", body, headers).status == 401
    assert REWRITTEN_URL in list_callback_urls(declared_web)


def list_callback_urls(web: Web) -> list[str]:
    """Return the callback URLs that the API shows to `admin`."""
    items = web.call("GET", "/v1/providers", headers={"authorization": f"Bearer {KEY}"}).json["items"]
    return [item["callback_url"] for item in items]


def test_target_in_absolute_form_is_read_as_its_path(
    declared_web: Web, declared_connection: Connection, reference: str
) -> None:
    target = f"http://other.example:8080/callbacks/plivo?token={TOKEN}"
    body = build_state(reference)
    [origin] = [url.removesuffix("/callbacks/plivo") for url in list_callback_urls(declared_web) if "plivo" in url]
    headers = {"content-type": "application/json"} | sign_nonce(f"{origin}/callbacks/plivo", reference)
    assert declared_web.call("POST", target, body, headers).status == 200
    assert find_status(declared_connection, "plivo", reference) == "succeeded"
    query = "SELECT target FROM callbacks WHERE provider = 'plivo' AND target LIKE '%%token%%'"
    assert declared_connection.execute(query).fetchall() == [(f"/callbacks/plivo?token={TOKEN}",)]
    assert declared_web.call("POST", f"http://a.example/callbacks/hook/{TOKEN}", body, headers).status == 200
    assert declared_web.call("POST", "http://a.example/x/callbacks/plivo", body, headers).status == 404
    query = "SELECT DISTINCT target FROM callbacks WHERE provider = 'hook' AND target LIKE '%%example%%'"
    assert declared_connection.execute(query).fetchall() == []


@pytest.mark.parametrize("provider", ["asker", "thin"])
def test_unconfirmed_final_status_only_triggers_poll(
    declared_web: Web, declared_connection: Connection, reference: str, provider: str
) -> None:
    assert post(declared_web, f"{provider}/{TOKEN}", build_state(reference)).status == 200
    row = declared_connection.execute(
        "SELECT status, poll_at <= now() FROM jobs WHERE id = %s", [derive_job_id(provider, reference)]
    ).fetchone()
    assert row == ("accepted", True)
    event = declared_connection.execute(
        "SELECT verdict, provider_status FROM events JOIN callbacks ON callback_id = id WHERE job_id = %s",
        [derive_job_id(provider, reference)],
    ).fetchone()
    assert event == ("accepted", "DONE")


ONE_MIB_BYTES = 1 << 20
GZIP = {"content-encoding": "gzip"}


@pytest.mark.parametrize("is_compressed_first", [False, True])
def test_compressed_callback_is_signed_before_or_after(
    declared_web: Web, declared_connection: Connection, reference: str, is_compressed_first: bool
) -> None:
    body = build_state(reference).ljust(ONE_MIB_BYTES)
    compressed = gzip.compress(body)
    signature = hub_signature(compressed if is_compressed_first else body)
    assert post(declared_web, "hub", compressed, {**signature, **GZIP}).status == 200
    assert find_status(declared_connection, "hub", reference) == "succeeded"
    assert post(declared_web, "hub", gzip.compress(body, 1), {**hub_signature(body), **GZIP}).status == 200
    rows = declared_connection.execute("SELECT body, verdict FROM callbacks WHERE body = %s", [compressed]).fetchall()
    assert rows == [(compressed, "accepted")]
    events = "SELECT count(*) FROM events WHERE job_id = %s"
    assert declared_connection.execute(events, [derive_job_id("hub", reference)]).fetchone() == (1,)


@pytest.mark.parametrize(
    ("encoding", "body", "refusal"),
    [
        ("gzip", gzip.compress(b" " * (ONE_MIB_BYTES + 1), mtime=0), (413, "too_large")),
        ("x-gzip", gzip.compress(b" " * (100 * ONE_MIB_BYTES), mtime=0), (413, "too_large")),
        ("br", b"{}", (415, "media_type")),
        ("gzip", b"no gzip", (400, "_body")),
        ("gzip", gzip.compress(b"{}", mtime=0)[:-1], (400, "_body")),
    ],
    ids=["large", "bomb", "br", "no-gzip", "truncated"],
)
def test_compressed_body_is_bounded_and_must_be_whole(
    declared_web: Web, declared_connection: Connection, encoding: str, body: bytes, refusal: tuple[int, str]
) -> None:
    caller = f"198.51.101.{len(body) % 251}"
    headers = {**hub_signature(body), "content-encoding": encoding, "x-forwarded-for": caller}
    assert post(declared_web, "hub", body, headers).status == refusal[0]
    query = "SELECT errors, body FROM callbacks WHERE caller_address = %s"
    [(errors, sample)] = wait_for(lambda: declared_connection.execute(query, [caller]).fetchall())
    assert list(errors) == [refusal[1]]
    assert sample == (b"" if refusal[0] == 413 else body)


def test_body_is_bounded_before_its_media_type_is_checked(declared_web: Web) -> None:
    """Whatever is refused is decompressed again, to remove secrets from what is stored of it."""
    bomb = gzip.compress(b" " * (ONE_MIB_BYTES + 1), mtime=0)
    headers = {**hub_signature(bomb), **GZIP, "content-type": "image/png"}
    assert post(declared_web, "hub", bomb, headers).status == 413


@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(b"{}", mtime=0)])
def test_compressed_body_without_signature_is_401(declared_web: Web, body: bytes) -> None:
    assert post(declared_web, "hub", body, {**hub_signature(b"other"), **GZIP}).status == 401


def test_unreadable_time_is_noted_in_an_accepted_callback(
    declared_web: Web, declared_connection: Connection, reference: str
) -> None:
    body = json.dumps({"id": reference, "state": "DONE", "at": "soon"}).encode()
    assert post(declared_web, "timed", body, hub_signature(body)).status == 200
    assert find_status(declared_connection, "timed", reference) == "succeeded"
    query = "SELECT id, verdict FROM callbacks WHERE body = %s"
    [(callback_id, verdict)] = declared_connection.execute(query, [body]).fetchall()
    admin = {"authorization": f"Bearer {KEY}"}
    shown = declared_web.call("GET", f"/v1/callbacks/{callback_id}", headers=admin).json
    assert (verdict, list(shown["errors"])) == ("accepted", ["at"])
    assert "'soon'" in shown["errors"]["at"][0]
    assert "left out" in shown["explanation"]["causes"][1]
    replayed = declared_web.call("POST", f"/v1/callbacks/{callback_id}/replay", b"", admin)
    assert (replayed.status, replayed.json["verdict"]) == (200, "accepted")


def test_empty_batch_is_stored_without_events(
    declared_web: Web, declared_connection: Connection, reference: str
) -> None:
    body = json.dumps({"items": [], "entropy": reference}).encode()
    assert post(declared_web, "batch", body, hub_signature(body)).status == 200
    query = "SELECT verdict, errors FROM callbacks WHERE body = %s"
    assert declared_connection.execute(query, [body]).fetchall() == [("accepted", None)]


def test_multipart_without_boundary_is_415(declared_web: Web, declared_connection: Connection, reference: str) -> None:
    parts = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in (("id", reference), ("state", "DONE"))
    )
    body = f"{parts}--b--".encode()
    headers = {**hub_signature(body), "content-type": "multipart/form-data"}
    assert post(declared_web, "parts", body, headers).status == 415
    assert (
        post(declared_web, "parts", body, headers | {"content-type": "multipart/form-data; boundary=b"}).status == 200
    )
    assert find_status(declared_connection, "parts", reference) == "succeeded"
