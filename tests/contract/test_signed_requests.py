"""Requests and polls that an entry of the catalog signs, as the vendor documents it."""

import hmac
import json
from base64 import b64encode

from receiver.providers.capabilities import OutgoingRequest
from receiver.providers.catalog.entries import load_entry
from tests.contract.catalog import TIME, build_entry_provider
from tests.support.capabilities import poller_of, sender_of
from tests.support.factories import attempt


def compute_mac(secret: str, content: str) -> bytes:
    return hmac.digest(secret.encode(), content.encode(), "sha256")


def compose_poll(name: str, reference: str) -> OutgoingRequest:
    return poller_of(build_entry_provider(load_entry(name))).compose_at([reference], None, TIME)


def test_veriff_poll_signs_the_session() -> None:
    outgoing = compose_poll("veriff", "session-1")
    assert outgoing.headers["x-auth-client"] == "veriff-api-key"
    assert outgoing.headers["x-hmac-signature"] == compute_mac("veriff-shared-secret", "session-1").hex()


def test_sumsub_poll_signs_time_method_and_path() -> None:
    outgoing = compose_poll("sumsub", "applicant-1")
    seconds = str(int(TIME.timestamp()))
    expected = compute_mac("sumsub-app-secret", f"{seconds}GET/resources/applicants/applicant-1/status").hex()
    assert outgoing.target == "/resources/applicants/applicant-1/status"
    assert outgoing.headers["x-app-access-ts"] == seconds
    assert outgoing.headers["x-app-access-sig"] == expected


def test_smile_id_signs_requests_and_polls() -> None:
    entry = load_entry("smile-id")
    sent = attempt(operation="verify", payload=entry.examples.payloads["verify"])
    request = json.loads(sender_of(build_entry_provider(entry)).compose(sent, "https://callbacks.example").body)
    poll = json.loads(compose_poll("smile-id", "job-1").body)
    for body in (request, poll):
        expected = compute_mac("smile-id-api-key", f"{body['timestamp']}1234sid_request")
        assert body["signature"] == b64encode(expected).decode()
    assert request["partner_params"] == {
        "job_type": 5,
        "job_id": str(sent.request_id),
        "user_id": str(sent.request_id),
    }
    assert (poll["job_id"], poll["user_id"]) == ("job-1", "job-1")
